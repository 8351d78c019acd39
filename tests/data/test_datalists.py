"""The list of scans that a bundle runs on, and the data lists of published protocols."""

import json
import runpy
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from prostate_uda.data.datalists import DataList, images_in
from prostate_uda.data.domains import DOMAINS, Case, Found, Split
from prostate_uda.data.domains.nci_isbi13 import TEST_PREFIXES
from prostate_uda.data.labels import ZONE_VALUES, values_by_name
from prostate_uda.data.listed import ListedCase, ListedDomain
from prostate_uda.errors import DataError, SettingsError


def touch(folder: Path, *names: str) -> None:
    for name in names:
        nib.save(nib.Nifti1Image(np.zeros((2, 2, 2), dtype=np.float32), np.eye(4)), folder / name)


def test_scans_without_their_labels(tmp_path: Path) -> None:
    touch(tmp_path, "b.nii.gz", "a.nii", "a_seg.nii")
    (tmp_path / "notes.txt").touch()
    assert images_in(str(tmp_path)) == [{"image": str(tmp_path / name)} for name in ("a.nii", "b.nii.gz")]


def test_mistakes_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no scan"):
        images_in(tmp_path)
    with pytest.raises(DataError, match="not a folder"):
        images_in(tmp_path / "none")
    touch(tmp_path, "1.2.nii.gz", "1.2.840.nii.gz")
    assert len(images_in(tmp_path)) == 2
    (tmp_path / "1.2.840.mha").touch()
    with pytest.raises(DataError, match="one name"):
        images_in(tmp_path)


def test_dicom_folders(shared_data: Path) -> None:
    scans = images_in(shared_data / "prostatex-siemens-3t" / "dicom")
    assert [Path(scan["image"]).name for scan in scans] == [f"ProstateX-000{number}" for number in range(4)]


REPOSITORY = Path(__file__).resolve().parents[2] / "data_lists"
LISTS = sorted(path.name for path in REPOSITORY.glob("*.json"))


def domain(*, labels: dict[str, str] | None = None, **splits: str) -> ListedDomain:
    """``domain(train="a b", test="c")``."""
    cases = {name.replace("_", "-"): tuple(map(ListedCase, ids.split())) for name, ids in splits.items()}
    return ListedDomain(domain="folder", licence="ours", splits=cases, labels=labels or {})


def paired(source: ListedDomain, target: ListedDomain) -> DataList:
    return DataList(name="pair", title="a pair", parts={"source": source, "target": target})


def found(*ids: str, labels: bool = True, values: dict[int, int] | None = None) -> Found:
    given = {} if values is None else {"values": values}
    return Found(tuple(Case(i, Path(i), Path(f"{i}_seg") if labels else None, **given) for i in ids))


def ids_of(split: Split) -> tuple[list[str], list[str]]:
    return [case.id for case in split.train], [case.id for case in split.test]


def test_the_repository_has_its_lists() -> None:
    assert LISTS == [
        "decathlon_folds.json",
        "decathlon_to_nci-isbi13.json",
        "nci-isbi13_folds.json",
        "nci-isbi13_to_decathlon.json",
    ]


@pytest.mark.parametrize("name", LISTS)
def test_a_list_of_the_repository_is_written_as_it_was_read(tmp_path: Path, name: str) -> None:
    listed = DataList.read(REPOSITORY / name)
    listed.write(tmp_path / "new" / name)
    assert (tmp_path / "new" / name).read_bytes() == (REPOSITORY / name).read_bytes()
    assert listed.name == name.removesuffix(".json")
    for part in listed.parts.values():
        assert DOMAINS[part.domain].licence == part.licence
        assert values_by_name(part.labels) == ZONE_VALUES
        assert part.ids_from
        assert part.origin


def test_the_protocol_has_its_counts() -> None:
    there = DataList.read(REPOSITORY / "decathlon_to_nci-isbi13.json")
    back = DataList.read(REPOSITORY / "nci-isbi13_to_decathlon.json")
    for pair, counts in ((there, (32, 0, 30, 10)), (back, (30, 10, 16, 32))):
        parts = (pair.parts["source"], pair.parts["target"])
        assert tuple(len(cases) for part in parts for cases in part.train_test()) == counts
    train, test = there.parts["target"].train_test()
    assert all(case.id.startswith("ProstateDx-01-") and case.label and case.series for case in train)
    assert [case.id for case in test] == [f"ProstateDx-0{s}-000{n}" for s in (2, 3) for n in range(1, 6)]
    assert {case.id for case in test} == {case.id for case in test if case.id.startswith(TEST_PREFIXES)}


def test_the_folds_come_from_their_command(tmp_path: Path) -> None:
    runpy.run_path(str(REPOSITORY / "make_folds.py"))["main"](tmp_path)
    written = sorted(path.name for path in tmp_path.iterdir())
    assert written == ["decathlon_folds.json", "nci-isbi13_folds.json"]
    for name in written:
        assert (tmp_path / name).read_bytes() == (REPOSITORY / name).read_bytes()


def test_a_list_selects_its_cases() -> None:
    pair = paired(domain(train="b a_0000", test=""), domain(train="C", test="d"))
    assert ids_of(pair.apply(found("a", "B", "x"), "source")) == (["B", "a"], [])
    target = pair.apply(found("d", "c_truth", "x"), "target")
    assert ids_of(target) == (["c_truth"], ["d"])
    assert target.train[0].label is None
    assert target.test[0].label is not None


def test_folds_are_tested_in_turn() -> None:
    listed = DataList(name="f", title="f", parts={"domain": domain(fold_1="a", fold_2="b c", fold_3="d")})
    for role in ("source", "target"):
        assert ids_of(listed.apply(found(*"abcd"), role, fold=2)) == (["a", "d"], ["b", "c"])
    for fold in (None, 0, 4):
        with pytest.raises(SettingsError, match="choose 1 to 3"):
            listed.apply(found(*"abcd"), "source", fold)
    with pytest.raises(SettingsError, match="leave the fold out"):
        paired(domain(train="a", test="b"), domain(train="c", test="d")).apply(found("a", "b"), "source", 1)
    with pytest.raises(SettingsError, match="unknown role"):
        listed.apply(found(*"abcd"), "both", 1)


def test_folds_concern_their_own_domain() -> None:
    alone = DataList(name="f", title="f", parts={"domain": domain(fold_1="a", fold_2="b")})
    assert alone.concerns("source", "folder")
    assert not alone.concerns("target", "decathlon")
    pair = paired(domain(train="a", test="b"), domain(train="c", test="d"))
    assert pair.concerns("target", "decathlon")


def test_what_cannot_be_selected_is_named() -> None:
    pair = paired(domain(train="a b", test="c"), domain(train="d", test="e"))
    with pytest.raises(DataError, match=r"names 2 of 3 source cases that are not there: a, c; give the whole"):
        pair.apply(found("b"), "source")
    with pytest.raises(DataError, match=r"two images of one listed patient: d and D_0000"):
        pair.apply(found("d", "D_0000", "e"), "target")
    with pytest.raises(DataError, match=r"3 source cases .* have no label: a, b, c"):
        pair.apply(found("a", "b", "c", labels=False), "source")
    assert ids_of(pair.apply(found("d", "e", labels=False), "target")) == (["d"], ["e"])


def test_label_values_come_from_the_list() -> None:
    names = {"1": "TZ", "2": "PZ"}
    pair = paired(domain(train="a", test="", labels=names), domain(train="b", test=""))
    assert pair.apply(found("a"), "source").train[0].values == {0: 0, 1: 2, 2: 1}
    assert pair.apply(found("a", values={0: 0, 1: 2, 2: 1}), "source").train[0].values == {0: 0, 1: 2, 2: 1}
    with pytest.raises(DataError, match="mend the list's 'labels'"):
        pair.apply(found("a", values={0: 0, 3: 1, 4: 2}), "source")


def test_a_patient_in_two_places_is_refused() -> None:
    for source, target in (
        (domain(train="a", test="A_truth"), domain(train="b", test="c")),
        (domain(train="a", test="b"), domain(train="A", test="c")),
    ):
        with pytest.raises(DataError, match="one patient is"):
            paired(source, target)


def test_checksums_are_filled_in(tmp_path: Path) -> None:
    pair = paired(domain(train="a", test="b"), domain(train="c", test=""))
    digest = "sha256:" + "0" * 64
    filled = pair.filled("source", {"a": {"image": digest, "label": digest}, "b": {"label": digest}})
    filled.write(tmp_path / "list.json")
    assert DataList.read(tmp_path / "list.json") == filled
    assert filled.parts["source"].cases == (ListedCase("a", digest, digest), ListedCase("b", None, digest))
    with pytest.raises(DataError, match="does not name"):
        pair.filled("target", {"z": {"image": digest}})
    with pytest.raises(DataError, match="checksum 'abc' of c"):
        pair.filled("target", {"c": {"image": "abc"}})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c.update(fmt=1), "the list has the unknown key 'fmt'"),
        (lambda c: c.pop("title"), "has no 'title'"),
        (lambda c: c.update(format="2"), "no data list"),
        (lambda c: c.pop("target"), "the parts source; allowed"),
        (lambda c: c.update(notes=[1]), "the list.notes holds a number"),
        (lambda c: c["source"].update(splits=[]), "source.splits is a list; an object is needed"),
        (lambda c: c["source"]["splits"].update(valid=[]), "allowed are train and test"),
        (lambda c: c["source"]["splits"].update(train="a"), "source.splits.train is a text"),
        (lambda c: c["source"]["splits"]["train"].append("a"), r"source.splits.train\[1\] is a text"),
        (lambda c: c["source"]["splits"]["train"][0].update(id=3), r"train\[0\].id is a number; a text is needed"),
        (lambda c: c["source"]["splits"]["train"][0].update(id=" "), r"train\[0\].id is empty"),
        (lambda c: c["source"]["splits"]["train"][0].update(image=3), "a text or null is needed"),
        (lambda c: c["source"]["splits"]["train"][0].update(md5="x"), "unknown key 'md5'"),
        (lambda c: c["source"]["splits"]["train"][0].update(label="x"), "checksum 'x' of a"),
        (lambda c: c["source"].update(labels={"1": "lesion"}), "label name 'lesion'"),
        (lambda c: c["source"].update(labels={"1": 2}), "source.labels holds a number"),
        (lambda c: c["source"].update(archives=[{"name": "x"}]), r"source.archives\[0\] has no 'url'"),
        (lambda c: c["target"]["splits"]["train"][0].update(id="A_seg"), "one patient is"),
        (lambda c: c["source"].update(splits={"fold-1": [], "fold-2": []}), "pairs two domains in folds"),
    ],
)
def test_a_list_of_another_form_says_where(tmp_path: Path, change, words: str) -> None:
    path = tmp_path / "list.json"
    paired(domain(train="a", test="b"), domain(train="c", test="d")).write(path)
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=words) as error:
        DataList.read(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_list_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "no.json").write_text("[")
    for name in ("no.json", "missing.json"):
        with pytest.raises(DataError, match="cannot be read as a data list"):
            DataList.read(tmp_path / name)
