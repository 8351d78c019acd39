"""Floor 2: the one layout that every prepared data set has: 3D NIfTI, our label values, a list that names everything.

``imagesTr/ID.nii.gz`` and ``labelsTr/ID.nii.gz`` to learn from, ``imagesTs`` and ``labelsTs`` where the data set
declares a test part; ``dataset.json`` is the Decathlon's list with our fields; ``prepare_report.json`` says how each
case was made. Labels are uint8: 0 background, 1 PZ, 2 TZ.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from prostate_uda.errors import DataError

Part = Literal["Tr", "Ts"]
DATASET, REPORT = "dataset.json", "prepare_report.json"
LABELS: Mapping[str, str] = {"0": "background", "1": "PZ", "2": "TZ"}
FINISHED = "finished"


def image_name(part: Part, case: str) -> str:
    """``imagesTr/ID.nii.gz``."""
    return f"images{part}/{case}.nii.gz"


def label_name(part: Part, case: str) -> str:
    """``labelsTr/ID.nii.gz``."""
    return f"labels{part}/{case}.nii.gz"


def check_finished(root: Path) -> None:
    """Check that a folder, if ``prepare`` made it, was prepared to the end.

    Raises:
        DataError: It was not; half a data set would be taken for a whole one.
    """
    path = root / REPORT
    if not path.is_file():
        return
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read ({error}); run the same prepare command again") from error
    if not isinstance(content, dict) or content.get("status") != FINISHED:
        raise DataError(f"{root} was not prepared to the end; run the same prepare command again")


def describe(
    name: str, cases: Mapping[str, Mapping[str, Any]], *, title: str, licence: str, source: str
) -> dict[str, Any]:
    """The content of ``dataset.json``, readable by MONAI's ``load_decathlon_datalist``.

    Args:
        name: Of the domain.
        cases: Case to its entry in the report: ``part``, ``image``, ``label`` or None, ``sha256`` by file.
        title: One line for people.
        licence: Of the data.
        source: Where they came from.
    """
    listed: dict[str, list[dict[str, str]]] = {"Tr": [], "Ts": []}
    checksums: dict[str, str] = {}
    for case in sorted(cases):
        entry = cases[case]
        files = {kind: f"./{entry[kind]}" for kind in ("image", "label") if entry[kind]}
        listed[entry["part"]].append(files)
        checksums |= entry["sha256"]
    return {
        "name": name,
        "description": title,
        "licence": licence,
        "source": source,
        "tensorImageSize": "3D",
        "modality": {"0": "T2"},
        "labels": dict(LABELS),
        "numTraining": len(listed["Tr"]),
        "numTest": len(listed["Ts"]),
        "training": listed["Tr"],
        "test": listed["Ts"],
        "sha256": checksums,
    }
