"""``infer`` over many scans: the bad among the good, names of any kind, and several processes."""

import csv
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from prostate_uda.cli import main
from prostate_uda.errors import DataError, SettingsError
from prostate_uda.recipes import InferSettings, infer
from prostate_uda.recipes.reports import PER_PAGE, write_report
from prostate_uda.recipes.scan_names import KEPT
from tests.conftest import MakeSeries
from tests.recipes.conftest import Heard
from tests.recipes.test_adapt import phantom_split
from tests.recipes.test_adapt_processes import TORCHRUN, run
from tests.recipes.test_infer_results import blobs, content, finding, records, rows

LABELS = InferSettings(device="cpu", review=False)
AFFINE = np.diag((-1.5, -1.5, 3.0, 1.0))


@pytest.fixture(scope="module")
def bundle(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finding(finished / "bundle", tmp_path_factory.mktemp("bundles") / "bundle")


def save(path: Path, array: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array.astype(np.float32), affine), path)
    return path


def good(path: Path, seed: int = 0) -> Path:
    return save(path, blobs((96, 96, 3), seed))


def command(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Exit code of the command."""
    monkeypatch.setattr(sys, "argv", ["prostate-uda", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        main()
    return int(caught.value.code or 0)


def failures(out: Path) -> dict[str, str]:
    with (out / "failures.csv").open(newline="", encoding="utf-8") as file:
        return {row["case"]: row["reason"] for row in csv.DictReader(file)}


def bad_scans(folder: Path, make_series: MakeSeries) -> list[Path]:
    """One of each kind that people have."""
    array = blobs((40, 40, 3))
    folder.mkdir(parents=True)
    (folder / "garbage.nii.gz").write_bytes(b"no volume")
    (folder / "empty.nii").write_bytes(b"")
    (folder / "torn.nrrd").write_bytes(b"no volume")
    whole = save(folder / "cut.nii.gz", array)
    whole.write_bytes(whole.read_bytes()[:2000])
    save(folder / "constant.nii.gz", np.ones((40, 40, 3)))
    save(folder / "nan.nii.gz", np.where(array > 700, np.nan, array))
    save(folder / "flat.nii.gz", array[..., 0])
    save(folder / "sagittal.nii.gz", array, np.array([[0, 0, 3, 0], [1.5, 0, 0, 0], [0, 1.5, 0, 0], [0, 0, 0, 1.0]]))
    save(folder / "sheared.nii.gz", array, np.array([[1.5, 1, 0, 0], [0, 1.5, 0, 0], [0, 0, 3, 0], [0, 0, 0, 1.0]]))
    sitk.WriteImage(sitk.Compose([sitk.GetImageFromArray(array.T)] * 3), str(folder / "color.mha"))
    (folder / "nothing").mkdir()
    (folder / "notes").mkdir()
    (folder / "notes" / "readme.txt").write_text("hello", encoding="utf-8")
    make_series(folder / "gap", blobs((40, 40, 6)), leave_out=(2,))
    return sorted(folder.iterdir())


def test_bad_scans_among_good_ones(bundle: Path, tmp_path: Path, make_series: MakeSeries) -> None:
    bad = bad_scans(tmp_path / "bad", make_series)
    heard, out = Heard(), tmp_path / "out"
    done = infer(
        [good(tmp_path / "a.nii.gz"), *bad, good(tmp_path / "z.nii.gz", 1)], bundle, out, LABELS, progress=heard
    )
    names = [path.name.split(".")[0] for path in bad]
    assert [path.name for path in done.labels] == ["a_zones.nii.gz", "z_zones.nii.gz"]
    assert all(nib.load(path).get_fdata().any() for path in done.labels)
    told = failures(out)
    assert told == dict(done.failures)
    assert list(told) == sorted(names)
    assert all("\n" not in reason and len(reason) > 20 for reason in told.values())
    assert {row["case"] for row in rows(out)} == {"a", "z"}
    assert {one["case"] for one in content(out)["failures"]} == {*told}
    assert len([note for note in heard.notes if note.startswith("warning: ")]) == len(bad)


def test_odd_scans_are_segmented(bundle: Path, tmp_path: Path) -> None:
    """One slice, a few pixels, a large field, very fine or coarse pixels, several channels: nothing wrong with them."""
    scans = [
        save(tmp_path / "slice.nii.gz", blobs((60, 50, 1))),
        save(tmp_path / "small.nii.gz", blobs((3, 2, 2))),
        save(tmp_path / "wide.nii.gz", blobs((300, 40, 2))),
        save(tmp_path / "fine.nii.gz", blobs((60, 50, 2)), np.diag((0.05, 0.05, 3.0, 1.0))),
        save(tmp_path / "coarse.nii.gz", blobs((40, 30, 3)), np.diag((6.0, 6.0, 6.0, 1.0))),
        save(tmp_path / "channels.nii.gz", np.stack([blobs((60, 50, 2)), np.ones((60, 50, 2))], axis=3)),
        save(tmp_path / "negative.nii.gz", -1e6 * blobs((60, 50, 2))),
    ]
    done = infer(scans, bundle, tmp_path / "out", LABELS)
    assert dict(done.failures) == {}
    for scan, label in zip(scans, done.labels, strict=True):
        assert nib.load(label).shape == nib.load(scan).shape[:3]


def test_voxels_of_kilometres_do_not_stop_the_others(bundle: Path, tmp_path: Path) -> None:
    """A header in another unit: on the working grid it takes more memory than any machine has."""
    scans = [
        save(tmp_path / "a.nii.gz", blobs((60, 50, 4)), np.diag((1e6, 1e6, 3e6, 1.0))),
        good(tmp_path / "b.nii.gz"),
    ]
    done = infer(scans, bundle, tmp_path / "out", LABELS)
    assert list(done.failures) == ["a"]
    assert [path.name for path in done.labels] == ["b_zones.nii.gz"]


def test_exit_codes(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    fine, bad = good(tmp_path / "a.nii.gz"), tmp_path / "b.nii.gz"
    bad.write_bytes(b"no volume")
    shared = (f"--bundle={bundle}", "--device=cpu", "--labels-only")
    assert command(monkeypatch, "infer", fine, bad, *shared, f"--out={tmp_path / 'two'}") == 3
    said = capfd.readouterr()
    assert f"1 of 2 scans failed: {tmp_path / 'two' / 'failures.csv'}" in said.out
    assert "Traceback" not in said.err
    assert command(monkeypatch, "infer", bad, *shared, f"--out={tmp_path / 'one'}") == 2
    (line,) = capfd.readouterr().err.strip().splitlines()
    assert line.startswith("error:")
    assert "b.nii.gz" in line
    assert not list((tmp_path / "one").rglob("*.nii.gz"))
    assert command(monkeypatch, "infer", fine, *shared, f"--out={tmp_path / 'good'}") == 0
    assert command(monkeypatch, "infer", fine, *shared, "--uncertainty=none", f"--out={tmp_path / 'x'}") == 2
    assert not (tmp_path / "x").exists()


def test_labels_only_writes_labels_and_tables(bundle: Path, tmp_path: Path) -> None:
    done = infer([good(tmp_path / "a.nii.gz")], bundle, tmp_path / "out", LABELS)
    assert done.report is None
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"a_zones.nii.gz", "report.json", "report.csv", KEPT}
    assert records(tmp_path / "out")["a"]["page"] is None


def test_psa_gives_a_density(bundle: Path, tmp_path: Path) -> None:
    scans = [good(tmp_path / f"{name}.nii.gz", seed) for seed, name in enumerate("ab")]
    (tmp_path / "psa.csv").write_text("case,psa\nb,6.0\n", encoding="utf-8")
    infer(scans, bundle, tmp_path / "out", replace(LABELS, psa=str(tmp_path / "psa.csv")))
    found = {row["case"]: row for row in rows(tmp_path / "out")}
    assert float(found["b"]["WP_mL"]) > 0
    assert float(found["b"]["psa"]) == 6
    assert float(found["b"]["psa_density"]) == pytest.approx(6 / float(found["b"]["WP_mL"]), abs=1e-4)
    assert found["a"]["psa"] == found["a"]["psa_density"] == ""
    with pytest.raises(SettingsError, match="PSA 6 for 2 scans"):
        infer(scans, bundle, tmp_path / "other", replace(LABELS, psa="6"))
    assert not (tmp_path / "other").exists()


def test_results_are_no_scans_when_their_folder_is_given_again(bundle: Path, tmp_path: Path) -> None:
    """Either the scans alone are taken, or it is said; no result is segmented."""
    good(tmp_path / "in" / "a.nii.gz")
    infer([tmp_path / "in"], bundle, tmp_path / "in", InferSettings(device="cpu"))
    before = {path.name: path.read_bytes() for path in (tmp_path / "in").glob("*.nii.gz")}
    try:
        done = infer([tmp_path / "in"], bundle, tmp_path / "in", InferSettings(device="cpu"))
    except SettingsError as error:
        told = str(error)
    else:
        told = ""
        assert [path.name for path in done.labels] == ["a_zones.nii.gz"]
    assert told == "" or "give another folder with --out" in told
    assert {path.name: path.read_bytes() for path in (tmp_path / "in").glob("*.nii.gz")} == before


HOSTILE = (
    "a b",
    "[red]bold",
    "Jürgen 前列腺",
    "<b>",
    'it\'s & "quoted"',
    "100%",
    "--out",
    "=1+1",
    "a.b.c",
    "$HOME",
)


def test_hostile_names(bundle: Path, tmp_path: Path) -> None:
    scans = [good(tmp_path / "in" / f"{name}.nii.gz", seed) for seed, name in enumerate(HOSTILE)]
    bad = tmp_path / "in" / "<i>bad.nii.gz"
    bad.write_bytes(b"no volume")
    out = tmp_path / "out <x>"
    done = infer([*scans, bad], bundle, out, InferSettings(device="cpu"))
    assert [path.name for path in done.labels] == [f"{name}_zones.nii.gz" for name in HOSTILE]
    assert {row["case"].removeprefix("'") for row in rows(out)} == {*HOSTILE}
    assert list(failures(out)) == ["<i>bad"]
    assert done.report is not None
    page = done.report.read_text(encoding="utf-8")
    assert "<b>_zones" not in page
    assert "<i>bad" not in page
    assert "&lt;i&gt;bad" in page or "\\u003ci" in page


def test_a_folder_of_scans_through_the_command(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for seed, name in enumerate(("b", "a [1]")):
        good(tmp_path / "in" / f"{name}.nii.gz", seed)
    (tmp_path / "in" / "._b.nii.gz").write_bytes(b"mac")
    out = tmp_path / "out"
    assert command(monkeypatch, "infer", tmp_path / "in", f"--bundle={bundle}", f"--out={out}", "--device=cpu") == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[-3:] == [
        str(out / "a [1]_zones.nii.gz"),
        str(out / "b_zones.nii.gz"),
        f"{out / 'report.html'}: open it in a browser",
    ]


def test_no_scan_in_a_folder_is_said(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "._a.nii.gz").write_bytes(b"mac")
    with pytest.raises((DataError, SettingsError)):
        infer([tmp_path / "in"], bundle, tmp_path / "out", LABELS)
    assert not (tmp_path / "out" / "report.csv").exists()


def test_many_cases_are_on_several_pages(bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    infer([good(tmp_path / "a.nii.gz")], bundle, out, InferSettings(device="cpu"))
    record = records(out)["a"]
    for number in range(PER_PAGE):
        name = f"n{number:02d}"
        page = {**record["page"], "name": name} if "name" in record["page"] else record["page"]
        copy = {**record, "case": name, "attention": 100 + number, "page": page}
        (out / KEPT / f"{name}.json").write_text(json.dumps(copy), encoding="utf-8")
    provenance = {name: content(out)[name] for name in ("bundle", "settings", "versions")}
    write_report(out, out / KEPT, provenance, page=True)
    assert [row["case"] for row in rows(out)] == [*(f"n{n:02d}" for n in reversed(range(PER_PAGE))), "a"]
    assert sorted(path.name for path in out.glob("report*.html")) == ["report.html", "report_2.html"]
    first, second = (path.read_text(encoding="utf-8") for path in sorted(out.glob("report*.html")))
    assert "report_2.html" in first
    assert "report.html" in second
    assert '"n49"' in first
    assert '"n49"' not in second


@pytest.mark.slow
def test_two_processes_write_the_report_of_one(bundle: Path, tmp_path: Path) -> None:
    scans = [good(tmp_path / f"{name}.nii.gz", seed) for seed, name in enumerate("abc")]
    (tmp_path / "d.nii.gz").write_bytes(b"no volume")
    shutil.copy(phantom_split("phantom-1.5t").test[0].image, tmp_path / "e.nii.gz")
    scans += [tmp_path / "d.nii.gz", tmp_path / "e.nii.gz"]
    one, two = tmp_path / "one", tmp_path / "two"
    infer(scans, bundle, one, InferSettings(device="cpu"))
    flags = [f"--bundle={bundle}", f"--out={two}", "--device=cpu"]
    done = run([*TORCHRUN, "prostate_uda", "infer", *map(str, scans), *flags])
    assert "Traceback" not in done.stdout
    assert "exitcode  : 3" in done.stderr
    assert done.stdout.count("1 of 5 scans failed") == 1
    told = [{**content(out), "made": None} for out in (one, two)]
    assert told[0] == told[1]
    for name in ("report.csv", "failures.csv"):
        assert (one / name).read_text(encoding="utf-8") == (two / name).read_text(encoding="utf-8")
    assert {path.name for path in one.iterdir()} == {path.name for path in two.iterdir()}
    for path in one.glob("*.nii.gz"):
        assert np.array_equal(np.asarray(nib.load(path).dataobj), np.asarray(nib.load(two / path.name).dataobj))


@pytest.mark.slow
def test_two_processes_with_the_only_bad_scan_say_one_line(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "d.nii.gz").write_bytes(b"no volume")
    flags = [f"--bundle={bundle}", f"--out={tmp_path / 'out'}", "--device=cpu"]
    done = run([*TORCHRUN, "prostate_uda", "infer", str(tmp_path / "d.nii.gz"), *flags])
    assert done.returncode != 0
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert "d.nii.gz" in line
