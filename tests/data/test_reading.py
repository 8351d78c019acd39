"""Cases read once: from the files the first time, from the store after that, and alike in any number of threads."""

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms.transform import MapTransform

from prostate_uda.data.cache import Store
from prostate_uda.data.domains import Case
from prostate_uda.data.preprocessing import WorkingGrid, preprocessing
from prostate_uda.data.reading import CaseReader, Remembered
from prostate_uda.errors import DataError
from prostate_uda.transforms.normalization import zscore

GRID = WorkingGrid(spacing_mm=1.0, size=32)


@pytest.fixture
def cases(tmp_path: Path) -> list[Case]:
    rng = np.random.default_rng(0)
    made = []
    for name in ("a", "b", "c", "d"):
        for kind, array in (("image", rng.random((30, 34, 4), np.float32)), ("label", rng.integers(0, 3, (30, 34, 4)))):
            image = nib.Nifti1Image(array.astype(np.float32), np.diag((-1.0, -1.0, 3.0, 1.0)))
            nib.save(image, tmp_path / f"{name}_{kind}.nii.gz")
        made.append(Case(name, tmp_path / f"{name}_image.nii.gz", tmp_path / f"{name}_label.nii.gz"))
    return made


class Counting(MapTransform):
    """z-score that counts its calls."""

    def __init__(self) -> None:
        super().__init__("image")
        self.calls, self.inner = 0, zscore()

    def __call__(self, data):
        self.calls += 1
        return self.inner(data)


def test_a_second_read_comes_from_the_store(cases, tmp_path):
    counting = Counting()
    reader = CaseReader(preprocessing(GRID, counting), "zscore", Store(tmp_path / "store"))
    first, second = list(reader.each(cases)), list(reader.each(cases))
    assert counting.calls == len(cases)
    for (image, label), (again, label_again) in zip(first, second, strict=True):
        assert image.dtype == torch.float32
        assert label.dtype == torch.uint8
        assert torch.equal(image, again)
        assert torch.equal(label, label_again)


@pytest.mark.parametrize("change", ["image", "label", "values", "description", "no label"])
def test_whatever_changes_the_result_makes_it_be_read_again(cases, tmp_path, change):
    store, counting = Store(tmp_path / "store"), Counting()
    reader, case = CaseReader(preprocessing(GRID, counting), "zscore", store), cases[0]
    reader(case)
    if change == "values":
        case = replace(case, values={0: 0, 1: 2, 2: 1})
    elif change == "no label":
        case = replace(case, label=None)
    elif change == "description":
        reader = replace(reader, description="zscore of the body")
    else:
        case = replace(case, **{change: getattr(cases[1], change)})
    found = reader(case)
    assert counting.calls == 2
    fresh = CaseReader(preprocessing(GRID, zscore()))(case)
    assert all(torch.equal(one, other) for one, other in zip(found, fresh, strict=True))


def test_any_number_of_threads_reads_alike_and_in_order(cases):
    pre = preprocessing(GRID, zscore())
    alone = list(CaseReader(pre, workers=1).each(cases))
    together = list(CaseReader(pre, workers=4).each(cases))
    assert all(torch.equal(a, c) and torch.equal(b, d) for (a, b), (c, d) in zip(alone, together, strict=True))


def test_a_bad_case_is_told_as_it_is(cases):
    cases[2].image.write_bytes(cases[2].image.read_bytes()[:200])
    with pytest.raises(DataError, match=r"c_image\.nii\.gz"):
        list(CaseReader(preprocessing(GRID, zscore())).each(cases))


def test_a_remembered_transform_gives_the_same_with_the_same_history(tmp_path):
    counting = Counting()
    remembered = Remembered(counting, Store(tmp_path), "zscore")
    image = MetaTensor(torch.rand(1, 8, 8, 4), affine=torch.diag(torch.tensor([0.5, 0.5, 3.0, 1.0])))
    image.meta["filename_or_obj"] = "scan.nii.gz"
    image.push_applied_operation({"class": "Orientation"})
    first, second = (remembered({"image": image, "case": "a"}) for _ in range(2))
    assert counting.calls == 1
    assert torch.equal(first["image"].as_tensor(), second["image"].as_tensor())
    assert torch.equal(first["image"].affine, second["image"].affine)
    assert second["image"].meta["filename_or_obj"] == "scan.nii.gz"
    assert second["image"].applied_operations == first["image"].applied_operations
    assert second["case"] == "a"
    remembered({"image": image + 1})
    assert counting.calls == 2
    remembered({"image": MetaTensor(image.as_tensor(), affine=torch.diag(torch.tensor([1.0, 1.0, 3.0, 1.0])))})
    assert counting.calls == 3  # N4 and coil look at the spacing
