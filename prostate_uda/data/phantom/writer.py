"""Floor 2: phantom data sets on disk, in the layout of the Medical Segmentation Decathlon."""

import json
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
from numpy.typing import NDArray

from prostate_uda.data.generated import TEST_FIRST_INDEX, check_counts, whole_folder
from prostate_uda.data.phantom.case import PhantomCase, make_case
from prostate_uda.data.phantom.protocols import Protocol, Size

VERSION = 1
"""Raised whenever the same (protocol, seed, index, size) no longer gives the same bits; part of every cache path."""


def write_dataset(
    protocol: Protocol,
    out: Path,
    *,
    train: int,
    test: int,
    seed: int,
    size: Size,
    progress: Callable[[int], None] | None = None,
) -> Path:
    """Write a data set: ``imagesTr labelsTr imagesTs labelsTs dataset.json``; all of it or nothing; return ``out``.

    Args:
        protocol: The scanner.
        out: The folder to make; it may exist if it is empty.
        train: Number of training cases, indices 0 and up; at least 1.
        test: Number of test cases, indices :data:`TEST_FIRST_INDEX` and up, labelled too.
        seed: Names the cohort.
        size: ``"small"`` or ``"full"``.
        progress: Told the number of cases written after each of them.

    Raises:
        SettingsError: ``out`` holds something, a count is out of range, or the size is unknown.
    """
    check_counts(train, test, "phantoms")
    with whole_folder(out) as work:
        listed = _empty_parts(work)
        indices = [("Tr", i) for i in range(train)] + [("Ts", TEST_FIRST_INDEX + i) for i in range(test)]
        for done, (part, index) in enumerate(indices, start=1):
            case = make_case(protocol, seed=seed, index=index, size=size)
            listed[part].append(_write_case(case, work, part, f"{protocol.name}_{index:05d}"))
            if progress is not None:
                progress(done)
        _describe(work, protocol, listed, seed=seed, size=size)
    return out


def _empty_parts(work: Path) -> dict[str, list[dict[str, str]]]:
    """Make the four folders; return an empty data list."""
    listed: dict[str, list[dict[str, str]]] = {"Tr": [], "Ts": []}
    for part in listed:
        (work / f"images{part}").mkdir()
        (work / f"labels{part}").mkdir()
    return listed


def _write_case(case: PhantomCase, work: Path, part: str, name: str) -> dict[str, str]:
    """Write image and label; return their entry in the data list."""
    entry = {"image": f"./images{part}/{name}.nii.gz", "label": f"./labels{part}/{name}.nii.gz"}
    limits = np.iinfo(np.int16)
    _write(np.clip(case.image, 0, limits.max).astype(np.int16), case.affine, work / entry["image"])
    _write(case.label, case.affine, work / entry["label"])
    return entry


def _write(array: NDArray[np.int16] | NDArray[np.uint8], affine: NDArray[np.float64], path: Path) -> None:
    """Write one NIfTI file with the affine in both of its places."""
    file = nibabel.Nifti1Image(array, affine)
    file.set_sform(affine, code=1)
    file.set_qform(affine, code=1)
    file.header.set_xyzt_units("mm")
    nibabel.save(file, path)


def _describe(
    work: Path, protocol: Protocol, listed: dict[str, list[dict[str, str]]], *, seed: int, size: Size
) -> None:
    """Write ``dataset.json``."""
    content = {
        "name": protocol.name,
        "description": f"Procedural T2-weighted male pelvis, {protocol.field_tesla:g} T; no patient was scanned",
        "licence": "Apache-2.0",
        "tensorImageSize": "3D",
        "modality": {"0": "T2"},
        "labels": {"0": "background", "1": "PZ", "2": "TZ"},
        "numTraining": len(listed["Tr"]),
        "numTest": len(listed["Ts"]),
        "training": listed["Tr"],
        "test": listed["Ts"],
        "phantom": {"protocol": protocol.name, "seed": seed, "size": size, "version": VERSION},
    }
    (work / "dataset.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
