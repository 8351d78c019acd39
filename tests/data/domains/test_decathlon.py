import json

import nibabel as nib
import numpy as np
import pytest

from prostate_uda.data.domains.decathlon import DECATHLON
from prostate_uda.data.volumes import read_image
from prostate_uda.errors import DataError


@pytest.fixture
def task(tmp_path):
    """Task05 in miniature: gappy ids, 4D images, AppleDouble files in list and folder."""
    root = tmp_path / "Task05_Prostate"
    rng = np.random.default_rng(0)
    for part, names in {"Tr": ("prostate_16", "prostate_04", "prostate_35"), "Ts": ("prostate_08",)}.items():
        for name in names:
            for kind in ("images", "labels") if part == "Tr" else ("images",):
                folder = root / f"{kind}{part}"
                folder.mkdir(parents=True, exist_ok=True)
                shape = (6, 6, 3, 2) if kind == "images" else (6, 6, 3)
                nib.save(nib.Nifti1Image(rng.integers(0, 3, shape, np.uint8), np.eye(4)), folder / f"{name}.nii.gz")
                (folder / f"._{name}.nii.gz").write_bytes(b"junk")
    names = ("prostate_16", "prostate_04", "._prostate_04", "prostate_35")
    training = [{"image": f"./imagesTr/{n}.nii.gz", "label": f"./labelsTr/{n}.nii.gz"} for n in names]
    listed = {
        "name": "PROSTATE",
        "labels": {"0": "background", "1": "PZ", "2": "TZ"},
        "training": training,
        "test": ["./imagesTs/prostate_08.nii.gz"],
    }
    (root / "dataset.json").write_text(json.dumps(listed))
    return root


def change(task, **entries):
    path = task / "dataset.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


@pytest.mark.parametrize("above", [False, True])
def test_cases_are_those_of_the_list(task, above):
    found = DECATHLON.find(task.parent if above else task)
    assert [case.id for case in found.cases] == ["prostate_04", "prostate_08", "prostate_16", "prostate_35"]
    assert [case.label is not None for case in found.cases] == [True, False, True, True]
    assert found.declared_test == {"prostate_08"}
    assert read_image(found.cases[0].image, DECATHLON.channel).array.shape == (6, 6, 3)


def test_roles(task):
    source = DECATHLON.cases(task, role="source", seed=0)
    assert (len(source.train), len(source.test)) == (2, 1)
    target = DECATHLON.cases(task, role="target", seed=0)
    assert [case.id for case in target.train] == ["prostate_08"]
    assert len(target.test) == 3


def test_a_list_that_numbers_other_structures(task):
    change(task, labels={"0": "background", "1": "Anterior", "2": "Posterior"})
    with pytest.raises(DataError, match="label name 'Anterior'"):
        DECATHLON.find(task)


def test_a_list_that_numbers_tz_first_is_read_by_name(task):
    change(task, labels={"0": "background", "1": "TZ", "2": "PZ"})
    assert all(case.values == {0: 0, 1: 2, 2: 1} for case in DECATHLON.find(task).cases)


def test_a_listed_file_that_is_missing(task):
    (task / "labelsTr" / "prostate_35.nii.gz").unlink()
    with pytest.raises(DataError, match=r"prostate_35\.nii\.gz is listed in .* but missing"):
        DECATHLON.find(task)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", '{"training": {}}', '{"training": [5]}', '{"training": [{}]}']
)
def test_broken_lists_are_one_line(task, content):
    (task / "dataset.json").write_text(content)
    with pytest.raises(DataError, match=r"dataset\.json") as error:
        DECATHLON.find(task)
    assert "\n" not in str(error.value)


def test_separate_labels_are_refused(task):
    with pytest.raises(DataError, match="takes one folder"):
        DECATHLON.find(task, task / "labelsTr")
