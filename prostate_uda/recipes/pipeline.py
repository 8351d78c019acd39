"""Floor 5: a run's preprocessing: taught by the source, named as its bundle will name it, and remembered on disk."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from monai.data import MetaTensor
from monai.transforms import Compose
from monai.transforms.transform import Transform

from prostate_uda.data.cache import Store, cache_folder, content_hash
from prostate_uda.data.domains import Case
from prostate_uda.data.preprocessing import IMAGE, WorkingGrid, as_acquired, preprocessing
from prostate_uda.data.reading import CaseReader, Remembered
from prostate_uda.engines.observers import Progress
from prostate_uda.recipes.bundle_folder import dotted, preprocessing_config
from prostate_uda.transforms import NORMALIZATIONS


@dataclass(frozen=True)
class Pipeline:
    """From a file to the working grid.

    Attributes:
        preprocessing: The transform.
        config: The same as a bundle names it, with everything that was learned.
        reader: Reads whole cases through it.
    """

    preprocessing: Compose
    config: dict[str, Any]
    reader: CaseReader


def build_pipeline(
    grid: WorkingGrid, normalize: str, teachers: Sequence[Case], progress: Progress, *, channel: int = 0
) -> Pipeline:
    """The preprocessing of a run.

    Args:
        grid: The working grid.
        normalize: Name in ``NORMALIZATIONS``.
        teachers: The source's training cases, whose images a preset may learn from.
        progress: Is told.
        channel: Which channel of a 4D image is T2.

    Raises:
        DataError: an image cannot be used.
    """
    store = open_store()
    learned = teach(normalize, teachers, store, progress, channel=channel)
    config = preprocessing_config(grid, normalize, learned, channel=channel)
    whole = preprocessing(grid, remembering(normalize, learned, store), channel=channel)
    return Pipeline(whole, config, CaseReader(whole, json.dumps(config, sort_keys=True), store))


def open_store() -> Store:
    """Where preprocessed cases are kept, cut down to its limit."""
    store = Store(cache_folder() / "preprocessed")
    store.trim()
    return store


def remembering(normalize: str, learned: Mapping[str, Any], store: Store) -> Transform:
    """The preset's transform; a slow one looks into the store first."""
    preset = NORMALIZATIONS[normalize]
    transform = preset.build(**learned)
    description = json.dumps([normalize, dict(learned)], sort_keys=True)
    return Remembered(transform, store, description) if preset.slow else transform


def teach(
    normalize: str, cases: Sequence[Case], store: Store, progress: Progress, *, channel: int = 0
) -> dict[str, Any]:
    """What the preset learns from these images, or learned from them before; nothing where it learns nothing.

    Raises:
        DataError: an image cannot be used.
    """
    learn = NORMALIZATIONS[normalize].learn
    if learn is None:
        return {}
    key = ("learned", dotted(learn), str(channel), *(content_hash(case.image) for case in cases))
    learned = store.get(*key)
    if learned is None:
        learned = learn(_images(normalize, cases, progress, channel))
        store.put(learned, *key)
    return learned


def _images(normalize: str, cases: Sequence[Case], progress: Progress, channel: int) -> Iterator[MetaTensor]:
    load = as_acquired(channel=channel)
    with progress.task(f"teaching {normalize}", len(cases)) as task:
        for case in cases:
            yield load({IMAGE: case.image})[IMAGE]
            task.advance()
