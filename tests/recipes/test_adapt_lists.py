"""``adapt`` by a data list, and label values by name."""

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest

from prostate_uda.data.datalists import DataList
from prostate_uda.data.listed import TEST, TRAIN, ListedCase, ListedDomain
from prostate_uda.errors import DataError, SettingsError
from prostate_uda.recipes import AdaptSettings, adapt, make_phantom
from tests.recipes.conftest import TINY, Heard


def listed(domain: str, train: tuple[str, ...], test: tuple[str, ...]) -> ListedDomain:
    splits = {name: tuple(ListedCase(case) for case in ids) for name, ids in ((TRAIN, train), (TEST, test))}
    return ListedDomain(domain=domain, licence="Apache-2.0", splits=splits)


@pytest.fixture
def pair_list(tmp_path: Path) -> Path:
    """The paper's form: all of the source is learned from, some of the target is left out."""
    source = listed("phantom-3t", ("phantom-3t_00000", "phantom-3t_00002"), ())
    target = listed("phantom-1.5t", ("phantom-1.5t_00001",), ("phantom-1.5t_10000",))
    DataList(name="pair", title="two by one", parts={"source": source, "target": target}).write(tmp_path / "pair.json")
    return tmp_path / "pair.json"


def test_a_run_follows_the_list(pair_list: Path, tmp_path: Path) -> None:
    record = adapt(AdaptSettings(**TINY, method="self-training", data_list=pair_list), tmp_path / "run")
    assert record["cases"]["source"] == {"train": ["phantom-3t_00000", "phantom-3t_00002"], "test": []}
    assert record["cases"]["target"] == {"train": ["phantom-1.5t_00001"], "test": ["phantom-1.5t_10000"]}
    assert record["results"]["source_only_on_source"]["WP"] is None
    assert "data_list" in record["hashes"]


def test_a_list_of_others_is_refused(pair_list: Path, tmp_path: Path) -> None:
    content = json.loads(pair_list.read_text().replace("phantom-3t_00002", "phantom-3t_00077"))
    pair_list.write_text(json.dumps(content))
    with pytest.raises(DataError, match="phantom-3t_00077"):
        adapt(AdaptSettings(**TINY, data_list=pair_list), tmp_path / "run")
    folds = {"fold-1": (ListedCase("a"),), "fold-2": (ListedCase("b"),)}
    alone = ListedDomain(domain="decathlon", licence="CC BY-SA 4.0", splits=folds)
    DataList(name="folds", title="folds", parts={"domain": alone}).write(tmp_path / "folds.json")
    with pytest.raises(SettingsError, match="lists neither"):
        adapt(AdaptSettings(**TINY, data_list=tmp_path / "folds.json", fold=1), tmp_path / "run")
    with pytest.raises(SettingsError, match="--data-list"):
        AdaptSettings(**TINY, fold=1)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("named", [False, True])
def test_exchanged_label_values_are_warned_of_and_named_right(tmp_path: Path, named: bool) -> None:
    """Prostate158 numbers TZ 1 and PZ 2; without a word the anatomy gives it away."""
    root = make_phantom("phantom-3t", tmp_path / "data", train=3, test=1)
    (root / "dataset.json").unlink()
    for path in sorted(root.glob("labels*/*.nii.gz")):
        image = nibabel.load(path)
        swapped = np.array([0, 2, 1], np.uint8)[np.asarray(image.dataobj)]
        nibabel.save(nibabel.Nifti1Image(swapped, image.affine, image.header), path)
    names = "1=TZ,2=PZ" if named else None
    settings = AdaptSettings(
        **TINY,
        method="source-only",
        source="folder",
        source_root=root,
        source_label_names=names,
        size=96,
        spacing_mm=1.5,
    )
    heard = Heard()
    adapt(settings, tmp_path / "run", progress=heard)
    assert any("PZ lies in front" in note for note in heard.notes) == (not named)


def test_whole_gland_labels_are_not_enough(tmp_path: Path) -> None:
    root = make_phantom("phantom-3t", tmp_path / "data", train=3, test=1)
    for path in sorted(root.glob("labels*/*.nii.gz")):
        image = nibabel.load(path)
        gland = (np.asarray(image.dataobj) > 0).astype(np.uint8)
        nibabel.save(nibabel.Nifti1Image(gland, image.affine, image.header), path)
    with pytest.raises(DataError, match="no label of the source holds TZ"):
        adapt(AdaptSettings(**TINY, source_root=root), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_same_scans_on_both_sides_are_told(tmp_path: Path) -> None:
    root = make_phantom("phantom-3t", tmp_path / "data", train=3, test=1)
    heard = Heard()
    settings = AdaptSettings(**TINY, method="source-only", source_root=root, target="phantom-3t", target_root=root)
    adapt(settings, tmp_path / "run", progress=heard)
    assert any("4 scans are in both source and target" in note for note in heard.notes)


def test_a_scan_that_is_learned_from_is_not_tested_on(tmp_path: Path) -> None:
    root = make_phantom("phantom-3t", tmp_path / "data", train=3, test=1)
    other = make_phantom("phantom-3t", tmp_path / "other", train=3, test=1, seed=1)
    for part in ("images", "labels"):
        learned, tested = sorted((root / f"{part}Tr").iterdir())[0], sorted((other / f"{part}Ts").iterdir())[0]
        tested.write_bytes(learned.read_bytes())
    settings = AdaptSettings(**TINY, source_root=root, target="phantom-3t", target_root=other)
    with pytest.raises(DataError, match="keep the two apart"):
        adapt(settings, tmp_path / "run")
