"""Floor 2: Task05 of the Medical Segmentation Decathlon, from its archive to cases."""

from pathlib import Path

from prostate_uda.data.domains.decathlon import DECATHLON, TASK
from prostate_uda.data.preparing.convert import Gathered, Source
from prostate_uda.data.preparing.download import Checksum

ARCHIVE = f"{TASK}.tar"


def address(mirror: str | None = None) -> str:
    """Where the archive is: MONAI's address, or that of a mirror which holds it under its own name."""
    if mirror is not None:
        return f"{mirror.rstrip('/')}/{ARCHIVE}"
    from monai.apps import DecathlonDataset  # takes seconds, and only a download needs it

    return str(DecathlonDataset.resource[TASK])


def known_checksum() -> Checksum:
    """The archive's, as MONAI knows it."""
    from monai.apps import DecathlonDataset

    return Checksum("md5", str(DecathlonDataset.md5[TASK]))


def gather(root: Path) -> Gathered:
    """The cases that the data list names.

    Args:
        root: The unpacked ``Task05_Prostate``, or the folder it lies in.

    Raises:
        DataError: As :meth:`prostate_uda.data.domains.decathlon.Decathlon.find`.
    """
    found = DECATHLON.find(root)
    sources = tuple(
        Source(
            id=case.id,
            part="Ts" if case.id in found.declared_test else "Tr",
            image=case.image,
            label=case.label,
            values=case.values,
            channel=DECATHLON.channel,
        )
        for case in found.cases
    )
    return Gathered(sources)
