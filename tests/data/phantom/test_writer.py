"""Data sets on disk."""

import json

import nibabel
import numpy as np
import pytest
from monai.data import load_decathlon_datalist

from prostate_uda.data.phantom import PROTOCOLS, make_case, write_dataset
from prostate_uda.data.phantom.writer import TEST_FIRST_INDEX
from prostate_uda.errors import SettingsError

PROTOCOL = PROTOCOLS["phantom-1.5t"]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    done = []
    out = tmp_path_factory.mktemp("phantom") / "set"
    write_dataset(PROTOCOL, out, train=2, test=1, seed=4, size="small", progress=done.append)
    assert done == [1, 2, 3]
    return out


def test_monai_reads_the_layout(dataset):
    training = load_decathlon_datalist(dataset / "dataset.json", is_segmentation=True, data_list_key="training")
    test = load_decathlon_datalist(dataset / "dataset.json", is_segmentation=True, data_list_key="test")
    assert (len(training), len(test)) == (2, 1)
    for entry in (*training, *test):
        image, label = nibabel.load(entry["image"]), nibabel.load(entry["label"])
        assert image.shape == label.shape == (96, 96, 12)
        assert np.array_equal(image.affine, label.affine)
        assert image.header.get_xyzt_units()[0] == "mm"
        assert np.allclose(image.header.get_qform(), image.header.get_sform(), atol=1e-3)
        assert set(np.unique(label.dataobj)) == {0, 1, 2}


def test_description(dataset):
    content = json.loads((dataset / "dataset.json").read_text())
    assert content["labels"] == {"0": "background", "1": "PZ", "2": "TZ"}
    assert content["modality"] == {"0": "T2"}
    assert (content["numTraining"], content["numTest"]) == (2, 1)
    assert content["phantom"] == {"protocol": "phantom-1.5t", "seed": 4, "size": "small", "version": 1}


def test_files_hold_the_case_whatever_the_number_of_cases(dataset):
    for part, index in (("Tr", 1), ("Ts", TEST_FIRST_INDEX)):
        case = make_case(PROTOCOL, seed=4, index=index, size="small")
        name = f"phantom-1.5t_{index:05d}.nii.gz"
        assert np.array_equal(nibabel.load(dataset / f"images{part}" / name).get_fdata(), case.image)
        assert np.array_equal(nibabel.load(dataset / f"labels{part}" / name).get_fdata(), case.label)
        assert nibabel.load(dataset / f"images{part}" / name).affine == pytest.approx(case.affine, abs=1e-4)


def test_refuses_to_overwrite(dataset):
    before = sorted(dataset.rglob("*"))
    with pytest.raises(SettingsError, match="not an empty folder"):
        write_dataset(PROTOCOL, dataset, train=1, test=0, seed=4, size="small")
    assert sorted(dataset.rglob("*")) == before


@pytest.mark.parametrize(("train", "test"), [(0, 1), (1, -1), (TEST_FIRST_INDEX + 1, 0)])
def test_counts_are_checked(tmp_path, train, test):
    with pytest.raises(SettingsError, match="training"):
        write_dataset(PROTOCOL, tmp_path / "x", train=train, test=test, seed=0, size="small")


def test_an_interrupted_run_leaves_nothing(tmp_path):
    def stop(done):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_dataset(PROTOCOL, tmp_path / "set", train=1, test=0, seed=0, size="small", progress=stop)
    assert list(tmp_path.iterdir()) == []
