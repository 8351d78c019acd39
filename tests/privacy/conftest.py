"""A finished run from NIfTI files to DICOM series, all of a patient with a name."""

from pathlib import Path

import pytest

from prostate_uda.recipes import AdaptSettings, adapt
from tests.conftest import MakeSeries
from tests.hostile.conftest import TINY
from tests.hostile.faults import scan, zones


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _own_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROSTATE_UDA_CACHE", str(cache))


@pytest.fixture(scope="session")
def finished(cache: Path, tmp_path_factory: pytest.TempPathFactory, make_series: MakeSeries) -> Path:
    """A finished run; not to be written to."""
    from tests.privacy.planted import nifti, study  # skips without pydicom

    folder = tmp_path_factory.mktemp("data")
    for case in range(3):
        nifti(folder / "source" / "images" / f"source{case}.nii.gz", scan(case))
        nifti(folder / "source" / "labels" / f"source{case}.nii.gz", zones())
        study(folder / "target" / "images" / f"target{case}", make_series, seed=10 + case)
        nifti(folder / "target" / "labels" / f"target{case}.nii.gz", zones())
    out = tmp_path_factory.mktemp("runs") / "finished"
    roots = {"source_root": folder / "source", "target_root": folder / "target"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROSTATE_UDA_CACHE", str(cache))
        adapt(AdaptSettings(**TINY, spacing_mm=1.5, source="folder", target="folder", **roots), out)
    return out
