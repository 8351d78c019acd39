"""No file tells whose scan it was, but the DICOM SEG, and what ``--keep-identifiers`` asks for."""

import csv
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from prostate_uda.data.domains import get_domain
from prostate_uda.errors import SettingsError
from prostate_uda.recipes import (
    AdaptSettings,
    CompareSettings,
    InferSettings,
    Variant,
    adapt,
    compare,
    evaluate,
    infer,
    review,
)
from prostate_uda.recipes.identities import check_names, check_run
from prostate_uda.recipes.world import splits
from tests.conftest import MakeSeries
from tests.hostile.conftest import TINY
from tests.hostile.faults import save, scan, zones
from tests.privacy.planted import TAGS, itk, nifti, pydicom, study, telling
from tests.recipes.conftest import Heard

CPU, KEEPS = InferSettings(device="cpu"), InferSettings(device="cpu", keep_identifiers=True)


def test_the_search_finds_what_was_planted(tmp_path: Path, make_series: MakeSeries) -> None:
    study(tmp_path / "dicom", make_series)
    nifti(tmp_path / "a.nii.gz", scan())
    itk(tmp_path / "b.nrrd", scan())
    itk(tmp_path / "c.mha", scan())
    (tmp_path / "SECRETNAME").mkdir()
    assert telling(tmp_path) >= {"dicom/001.dcm", "a.nii.gz", "b.nrrd", "c.mha", "SECRETNAME"}
    save(tmp_path / "plain" / "a.nii.gz", scan())
    assert telling(tmp_path / "plain") == set()


def given(folder: Path, make_series: MakeSeries) -> list[Path]:
    """Folders as a PACS names them, of good and bad series, and files that were converted."""
    good = [
        study(folder / "SECRETNAME^HIDDENGIVEN", make_series, seed=1),
        study(folder / "prostate_idsecret 4711 (22.11.1933)", make_series, seed=2, series="dwi SECRETNAME b=800"),
        study(folder / "AccSecret99", make_series, seed=3),
        study(folder / "SECRETNAME HIDDENGIVEN" / "t2", make_series, seed=4),
    ]
    gap = study(folder / "gap SecretName", make_series, seed=5)
    (gap / "004.dcm").unlink()
    damaged = folder / "Secretname, damaged"
    damaged.mkdir()
    (damaged / "001.dcm").write_bytes(bytes(128) + b"DICM" + b"garbage" * 40)
    torn = folder / "SECRETNAME torn" / "torn.nrrd"
    torn.parent.mkdir()
    torn.write_bytes(b"no volume")
    files = [nifti(folder / "a.nii.gz", scan()), itk(folder / "b.nrrd", scan(6)), itk(folder / "c.mha", scan(7))]
    return [*good, gap, damaged, torn, *files]


@pytest.fixture(scope="module")
def inferred(finished: Path, tmp_path_factory: pytest.TempPathFactory, make_series: MakeSeries) -> tuple[Path, Heard]:
    folder, heard = tmp_path_factory.mktemp("inferred"), Heard()
    scans = given(folder / "in", make_series)
    done = infer(scans, finished, folder / "out", CPU, progress=heard)
    assert len(done.labels) == 7
    assert len(done.failures) == 3
    return folder / "out", heard


def test_infer_tells_of_nobody_but_in_dicom(inferred: tuple[Path, Heard]) -> None:
    out, _ = inferred
    assert (out / "failures.csv").is_file()
    assert len(list((out / ".cases").glob("*.json"))) == 10
    assert telling(out) == {path.name for path in out.glob("*.dcm")}
    assert all(
        path.name == "t2.dcm" or re.fullmatch(r"scan-[0-9a-f]{10}\.dcm", path.name) for path in out.glob("*.dcm")
    )


def test_the_terminal_alone_tells_which_pseudonym_is_whose(inferred: tuple[Path, Heard]) -> None:
    out, heard = inferred
    told = dict(note.split(": ")[0].split(" is ", 1) for note in heard.notes if "--keep-identifiers" in note)
    assert set(told.values()) == {
        *("SECRETNAME^HIDDENGIVEN", "prostate_idsecret 4711 (22.11.1933)", "AccSecret99"),
        *("gap SecretName", "Secretname, damaged"),
    }
    written = {path.name.removesuffix("_zones.nii.gz") for path in out.glob("*_zones.nii.gz")}
    with (out / "failures.csv").open(encoding="utf-8", newline="") as file:
        written |= {row["case"] for row in csv.DictReader(file)}
    assert written == {*told, "t2", "a", "b", "c", "torn"}
    other = [note for note in heard.notes if "--keep-identifiers" not in note and "secret" in note.lower()]
    assert other == []


def test_a_dicom_segmentation_repeats_its_patient(inferred: tuple[Path, Heard]) -> None:
    """DICOM has it so: without it a PACS files the object under nobody."""
    pytest.importorskip("highdicom")
    out, _ = inferred
    header = pydicom.dcmread(out / "t2.dcm")
    for name in ("PatientName", "PatientID", "PatientBirthDate", "AccessionNumber", "StudyDescription"):
        assert str(header[name].value) == TAGS[name]
    for name in ("PatientAddress", "InstitutionName", "OperatorsName", "PatientComments"):
        assert name not in header


def test_identifiers_are_kept_where_that_is_asked_for(finished: Path, tmp_path: Path, make_series: MakeSeries) -> None:
    good = study(tmp_path / "SECRETNAME^HIDDENGIVEN", make_series, series="t2 SECRETNAME")
    gap = study(tmp_path / "gap SecretName", make_series, seed=5)
    (gap / "004.dcm").unlink()
    out = tmp_path / "out"
    infer([good, gap], finished, out, KEEPS)
    told = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert [one["case"] for one in told["cases"]] == ["SECRETNAME^HIDDENGIVEN"]
    assert told["cases"][0]["source"] == "SECRETNAME^HIDDENGIVEN: t2 SECRETNAME"
    assert told["settings"]["keep_identifiers"] is True
    record = json.loads((out / ".cases" / "SECRETNAME^HIDDENGIVEN.json").read_text(encoding="utf-8"))
    assert record["path"] == str(good.resolve())
    with (out / "failures.csv").open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["case"] == "gap SecretName"
    assert str(gap) in row["reason"]


def test_pseudonyms_stay_so_results_are_found_again(finished: Path, tmp_path: Path, make_series: MakeSeries) -> None:
    """``--resume`` keeps them, another place of the folder does not change them, and ``evaluate`` goes by them."""
    labels_only = InferSettings(device="cpu", review=False, resume=True)
    scan_ = study(tmp_path / "SECRETNAME", make_series)
    (first,) = infer([scan_], finished, tmp_path / "out", labels_only).labels
    before = first.stat().st_mtime_ns
    assert infer([scan_], finished, tmp_path / "out", labels_only).labels == (first,)
    assert first.stat().st_mtime_ns == before
    (tmp_path / "elsewhere").mkdir()
    moved = scan_.rename(tmp_path / "elsewhere" / "SECRETNAME")
    (again,) = infer([moved], finished, tmp_path / "other", labels_only).labels
    assert again.name == first.name
    with pytest.raises(SettingsError, match="the result of another scan") as caught:
        infer([moved], finished, tmp_path / "out", labels_only)
    assert str(tmp_path / "SECRETNAME") not in str(caught.value)
    (tmp_path / "truth").mkdir()
    save(tmp_path / "truth" / first.name, zones())
    rows, _ = evaluate(tmp_path / "out", tmp_path / "truth", out=tmp_path / "out" / "scores.csv")
    assert [row["case"] for row in rows] == [first.name.removesuffix("_zones.nii.gz")]
    assert telling(tmp_path / "out") == set()


def test_psa_goes_by_the_names_that_were_given(finished: Path, tmp_path: Path, make_series: MakeSeries) -> None:
    one, other = (study(tmp_path / name, make_series, seed=seed) for seed, name in enumerate(("SECRETNAME", "other")))
    (tmp_path / "psa.csv").write_text("case,psa\nSECRETNAME,4.5\nother,7\n", encoding="utf-8")
    settings = InferSettings(device="cpu", review=False, psa=str(tmp_path / "psa.csv"))
    infer([one, other], finished, tmp_path / "out", settings)
    with (tmp_path / "out" / "report.csv").open(encoding="utf-8", newline="") as file:
        psa = {row["case"]: float(row["psa"]) for row in csv.DictReader(file)}
    assert psa.pop("other") == 7
    assert list(psa.values()) == [4.5]
    assert telling(tmp_path / "out") == set()


def test_adapt_and_what_follows_it_tell_of_nobody(finished: Path, cache: Path, tmp_path: Path) -> None:
    assert json.loads((finished / "run.json").read_text(encoding="utf-8"))["cases"]["target"]["test"]
    assert telling(finished) == set()
    assert telling(cache) == set()
    done = review(finished, tmp_path / "review", CPU)
    assert done.failures == {}
    assert done.labels
    assert telling(tmp_path / "review") == {path.name for path in (tmp_path / "review").glob("*.dcm")}
    labels = Path(json.loads((finished / "run.json").read_text(encoding="utf-8"))["settings"]["target_root"]) / "labels"
    (tmp_path / "scores").mkdir()
    evaluate(finished / "predictions" / "adapted", labels, out=tmp_path / "scores" / "scores.csv")
    assert (tmp_path / "scores" / "scores.csv").is_file()
    assert telling(tmp_path / "scores") == set()


def test_folders_named_after_patients_are_found_before_a_run(tmp_path: Path, make_series: MakeSeries) -> None:
    study(tmp_path / "case1", make_series, seed=1)
    study(tmp_path / "case2", make_series, seed=2)
    check_names(get_domain("folder").find(tmp_path).cases)
    study(tmp_path / "secretname_h", make_series, seed=3)
    with pytest.raises(SettingsError, match="secretname_h is named after its patient") as caught:
        check_names(get_domain("folder").find(tmp_path).cases)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["SECRETNAME^HIDDENGIVEN", "SecretnameH_2019", "idsecret-4711", "22.11.33"])
def test_a_root_named_after_a_patient_is_found_before_a_run(name: str, tmp_path: Path, make_series: MakeSeries) -> None:
    for number in range(2):
        study(tmp_path / name / "all" / f"case{number}", make_series, seed=number)
    cases = get_domain("folder").find(tmp_path / name / "all").cases
    check_names(cases)  # the names of the cases alone are harmless
    check_names(cases, [Path("/pacs/all"), Path("runs/mine")])
    with pytest.raises(SettingsError, match="names the patient of case0, and a run's records carry the path") as caught:
        check_names(cases, [Path("/pacs/all"), tmp_path / name / "all"])
    assert "rename it, or give --keep-identifiers" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.fixture
def rooted(finished: Path, tmp_path: Path) -> AdaptSettings:
    """A run on harmless folders below one that is named after their patient."""
    before = json.loads((finished / "run.json").read_text(encoding="utf-8"))["settings"]
    data = tmp_path / "DOE" / "SECRETNAME^HIDDENGIVEN"
    shutil.copytree(Path(before["target_root"]), data)
    roots = {"source_root": Path(before["source_root"]), "target_root": data}
    return AdaptSettings(**TINY, spacing_mm=1.5, source="folder", target="folder", **roots)


def test_a_run_on_a_root_named_after_a_patient_is_refused(rooted: AdaptSettings, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"'SECRETNAME\^HIDDENGIVEN' in .* names the patient of target0"):
        adapt(rooted, tmp_path / "out")
    assert not (tmp_path / "out" / "run.json").exists()
    harmless = replace(rooted, target_root=(tmp_path / "DOE").rename(tmp_path / "pacs") / "SECRETNAME^HIDDENGIVEN")
    plain = replace(harmless, target_root=harmless.target_root.rename(tmp_path / "pacs" / "ours"))
    with pytest.raises(SettingsError, match=r"'SECRETNAME' in .*SECRETNAME/lists\.json"):
        check_run(replace(plain, data_list=Path("SECRETNAME/lists.json")), splits(plain)[:2])
    check_run(plain, splits(plain)[:2])
    check_run(replace(plain, data_list=Path("SECRETNAME/lists.json"), keep_identifiers=True), splits(plain)[:2])


def test_a_comparison_tells_of_nobody(rooted: AdaptSettings, tmp_path: Path) -> None:
    common = replace(rooted, method="source-only")
    settings = CompareSettings(common=common, variants=(Variant("self-training", "self-training"),), seeds=(0,))
    with pytest.raises(SettingsError, match=r"'SECRETNAME\^HIDDENGIVEN' in .* names the patient of target"):
        compare(settings, tmp_path / "out")
    plain = replace(common, target_root=(tmp_path / "DOE" / "SECRETNAME^HIDDENGIVEN").rename(tmp_path / "ours"))
    with pytest.raises(SettingsError, match=r"'SECRETNAME' in .*SECRETNAME names the patient of target"):
        compare(replace(settings, common=plain), tmp_path / "SECRETNAME")
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "SECRETNAME").exists()


def test_a_run_on_folders_named_after_patients_is_refused(finished: Path, tmp_path: Path) -> None:
    before = json.loads((finished / "run.json").read_text(encoding="utf-8"))["settings"]
    data = Path(shutil.copytree(Path(before["target_root"]), tmp_path / "target"))
    (data / "images" / "target1").rename(data / "images" / "SECRETNAME")
    (data / "labels" / "target1.nii.gz").rename(data / "labels" / "SECRETNAME.nii.gz")
    roots = {"source_root": Path(before["source_root"]), "target_root": data}
    settings = AdaptSettings(**TINY, spacing_mm=1.5, source="folder", target="folder", **roots)
    with pytest.raises(SettingsError, match="named after its patient"):
        adapt(settings, tmp_path / "out")
    assert not (tmp_path / "out" / "run.json").exists()
    adapt(replace(settings, keep_identifiers=True), tmp_path / "out")
    assert "run.json" in telling(tmp_path / "out")
