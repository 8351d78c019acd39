"""Floor 5: ``phantom make``."""

from pathlib import Path
from typing import Literal, cast

from prostate_uda.data.phantom import PROTOCOLS, write_dataset
from prostate_uda.engines.observers import Progress, Silent
from prostate_uda.errors import UnknownNameError
from prostate_uda.recipes.record import writing


def make_phantom(
    domain: str,
    out: Path,
    *,
    train: int = 16,
    test: int = 8,
    seed: int = 0,
    size: str = "small",
    progress: Progress | None = None,
) -> Path:
    """Write a phantom data set in the Decathlon layout, whole or not at all.

    Raises:
        UnknownNameError: no such phantom.
        SettingsError: ``out`` holds something already, or a count or size that is not allowed.
    """
    if domain not in PROTOCOLS:
        raise UnknownNameError("phantom", domain, PROTOCOLS)
    with writing(out), (progress or Silent()).task(f"making {domain}", train + test) as task:
        return write_dataset(
            PROTOCOLS[domain],
            out,
            train=train,
            test=test,
            seed=seed,
            size=cast("Literal['small', 'full']", size),
            progress=lambda _: task.advance(),
        )
