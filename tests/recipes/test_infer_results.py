"""What ``infer`` writes for each scan: on its own grid, of the values that are told, readable by others."""

import csv
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from scipy import ndimage

from prostate_uda.data.preprocessing import IMAGE
from prostate_uda.data.volumes import read_image
from prostate_uda.recipes import InferSettings, infer
from prostate_uda.recipes.bundle_reading import load_segmenter
from prostate_uda.recipes.scan_names import KEPT
from tests.conftest import MakeSeries
from tests.recipes.test_adapt import phantom_split

CPU = InferSettings(device="cpu")
BIAS = "network.heads.levels.1.branches.0.bias"
NAMES = ("pat", "second", "third", "series")


def finding(bundle: Path, out: Path) -> Path:
    """A copy of a tiny run's bundle whose network finds gland in a third of a phantom, not nowhere."""
    shutil.copytree(bundle, out)
    segmenter = load_segmenter(out, torch.device("cpu"))
    data = segmenter.preprocessing({IMAGE: phantom_split("phantom-1.5t").test[0].image})
    logits = segmenter.logits(data[IMAGE].as_tensor()[0]).flatten(1)
    weights = torch.load(out / "models" / "model.pt", weights_only=True)
    for zone in (1, 2):
        weights[BIAS][zone] -= torch.quantile((logits[zone] - logits[0])[::7], 0.8)
    torch.save(weights, out / "models" / "model.pt")
    return out


@pytest.fixture(scope="module")
def bundle(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finding(finished / "bundle", tmp_path_factory.mktemp("bundles") / "bundle")


@dataclass
class Results:
    """Scans, and what was written of them."""

    scans: dict[str, Path]
    out: Path
    labels: tuple[Path, ...]
    report: Path

    def volume(self, name: str, kind: str = "zones") -> nib.Nifti1Image:
        return nib.load(self.out / f"{name}_{kind}.nii.gz")

    def label(self, name: str) -> np.ndarray:
        return np.asarray(self.volume(name).dataobj)


def blobs(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    drawn = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), (4, 4, 1))
    return np.round(500 + 150 * drawn / drawn.std()).clip(0, 2000)


@pytest.fixture(scope="module")
def results(bundle: Path, tmp_path_factory: pytest.TempPathFactory, make_series: MakeSeries) -> Results:
    folder = tmp_path_factory.mktemp("results")
    phantom = phantom_split("phantom-1.5t").test[0].image
    shutil.copy(phantom, folder / "pat.nii.gz")
    turned = sitk.DICOMOrient(sitk.ReadImage(str(phantom)), "RAI")[:70, ::-1, :]
    sitk.WriteImage(turned, str(folder / "second.nrrd"))
    sitk.WriteImage(sitk.PermuteAxes(turned, (2, 0, 1)), str(folder / "third.mha"))
    make_series(folder / "series", blobs((100, 90, 5)))
    scans = dict(
        zip(NAMES, (folder / name for name in ("pat.nii.gz", "second.nrrd", "third.mha", "series")), strict=True)
    )
    done = infer(list(scans.values()), bundle, folder / "out", CPU)
    assert done.failures == {}
    assert done.report is not None
    return Results(scans, folder / "out", done.labels, done.report)


def test_all_that_is_promised_and_nothing_else(results: Results) -> None:
    endings = ("_zones.nii.gz", "_uncertainty.nii.gz", "_probabilities.nii.gz", "_zones.seg.nrrd")
    expected = {f"{name}{ending}" for name in NAMES for ending in endings} | {"series.dcm", KEPT}
    expected |= {"report.json", "report.csv", "report.html", "itksnap_labels.txt"}
    assert {path.name for path in results.out.iterdir()} == expected
    assert [path.name for path in results.labels] == [f"{name}_zones.nii.gz" for name in NAMES]
    assert results.report == results.out / "report.html"


@pytest.mark.parametrize("kind", ["zones", "uncertainty", "probabilities"])
def test_files_lie_where_their_scan_lies(results: Results, kind: str) -> None:
    theirs, mine = nib.load(results.scans["pat"]), results.volume("pat", kind)
    assert np.array_equal(mine.affine, theirs.affine)
    for name in NAMES:
        grid, found = read_image(results.scans[name]).grid, results.volume(name, kind)
        np.testing.assert_allclose(found.affine, grid.affine, atol=1e-4)
        assert found.shape[:3] == grid.shape
        assert found.shape[3:] == ((3,) if kind == "probabilities" else ())


@pytest.mark.parametrize("name", NAMES)
def test_labels_are_the_likeliest_classes(results: Results, name: str) -> None:
    image = results.volume(name)
    label, shares = np.asarray(image.dataobj), results.volume(name, "probabilities").get_fdata()
    assert image.get_data_dtype() == label.dtype == np.uint8
    assert {*np.unique(label)} <= {0, 1, 2}
    assert label.any()
    chosen = np.take_along_axis(shares, label[..., None].astype(int), axis=3)[..., 0]
    assert (chosen >= shares.max(axis=3) - 2 / 510 - 1e-6).all()
    total = shares.sum(axis=3)
    assert total.max() < 1.01
    assert (total[label > 0] > 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_uncertainty_is_a_share(results: Results, name: str) -> None:
    unsure = results.volume(name, "uncertainty").get_fdata()
    assert unsure.min() >= 0
    assert 0.05 < unsure.max() <= 1 + 1e-6


@pytest.mark.parametrize("name", NAMES)
def test_the_segmentation_is_the_label_map_for_slicer(results: Results, name: str) -> None:
    seg, label = (sitk.ReadImage(str(results.out / f"{name}_zones{end}")) for end in (".seg.nrrd", ".nii.gz"))
    again = sitk.Resample(seg, label, sitk.Transform(), sitk.sitkNearestNeighbor)
    assert np.array_equal(sitk.GetArrayFromImage(again), sitk.GetArrayFromImage(label))


def check_dicom_seg(results: Results, name: str) -> None:
    hd = pytest.importorskip("highdicom")
    seg = hd.seg.segread(results.out / f"{name}.dcm")
    volume = seg.get_volume(combine_segments=False)
    affine = np.diag((-1.0, -1.0, 1.0, 1.0)) @ volume.affine
    image = results.volume(name)
    to_mine = np.linalg.inv(image.affine) @ affine
    index = np.stack(np.meshgrid(*(np.arange(n) for n in volume.array.shape[:3]), indexing="ij"), axis=-1)
    mine = np.rint(index @ to_mine[:3, :3].T + to_mine[:3, 3]).astype(int)
    label = results.label(name)[tuple(np.moveaxis(mine, -1, 0))]
    assert volume.array.shape[:3] == label.shape
    meanings = [one.SegmentLabel.lower() for one in seg.SegmentSequence]
    assert len(meanings) == volume.array.shape[3] == 3
    for number, meaning in enumerate(meanings):
        zone = 1 if "peripheral" in meaning else 2 if "transition" in meaning else None
        assert np.array_equal(volume.array[..., number] > 0, label > 0 if zone is None else label == zone), meaning


def test_the_dicom_segmentation_is_the_label_map(results: Results) -> None:
    check_dicom_seg(results, "series")


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "report.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def content(out: Path) -> dict:
    return json.loads((out / "report.json").read_text(encoding="utf-8"))


def records(out: Path) -> dict[str, dict]:
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in (out / KEPT).glob("*.json")}


def test_the_reports_agree(results: Results) -> None:
    told, table = content(results.out), rows(results.out)
    assert told["research_use_only"] is True
    assert told["failures"] == []
    assert not (results.out / "failures.csv").exists()
    assert len(table) == len(NAMES)
    for case, row in zip(told["cases"], table, strict=True):
        assert row.pop("flags") == ";".join(code for code, _ in case.pop("flags"))
        assert case.pop("scan")
        assert case.pop("bundle") == told["bundle"]
        assert case.pop("settings") == told["settings"]
        assert case.pop("versions").items() <= told["versions"].items()
        assert {name: "" if value is None else str(value) for name, value in case.items()} == row
    kept = records(results.out)
    urgency = [kept[row["case"]]["attention"] for row in table]
    assert urgency == sorted(urgency, reverse=True)


@pytest.mark.parametrize("name", NAMES)
def test_reported_volumes_are_those_of_the_files(results: Results, name: str) -> None:
    (row,) = [row for row in rows(results.out) if row["case"] == name]
    label, voxel = results.label(name), abs(np.linalg.det(results.volume(name).affine[:3, :3])) / 1000
    for zone, mask in (("WP", label > 0), ("PZ", label == 1), ("TZ", label == 2)):
        assert float(row[f"{zone}_mL"]) == pytest.approx(mask.sum() * voxel, abs=1e-3)
    axis = read_image(results.scans[name]).grid.slice_axis
    assert float(row["slices"]) == sum(one.any() for one in np.moveaxis(label, axis, 0) > 0)
    unsure = results.volume(name, "uncertainty").get_fdata()[label > 0].mean()
    assert float(row["uncertainty"]) == pytest.approx(unsure, abs=3e-3)
    assert row["psa"] == row["psa_density"] == ""


def test_the_page_holds_every_case(results: Results) -> None:
    page = results.report.read_text(encoding="utf-8")
    assert "Research use only" in page
    assert all(name in page for name in NAMES)
    assert 'src="http' not in page


def test_no_path_of_this_machine_is_told(results: Results) -> None:
    for path in (results.report, results.out / "report.json", results.out / "report.csv"):
        assert str(results.out.parent) not in path.read_text(encoding="utf-8")


def test_the_same_again(results: Results, bundle: Path, tmp_path: Path) -> None:
    infer([results.scans["pat"]], bundle, tmp_path, CPU)
    for kind in ("zones", "uncertainty", "probabilities"):
        mine = np.asarray(nib.load(tmp_path / f"pat_{kind}.nii.gz").dataobj)
        assert np.array_equal(mine, np.asarray(results.volume("pat", kind).dataobj))


def test_options_change_what_they_say(results: Results, bundle: Path, tmp_path: Path) -> None:
    settings = InferSettings(
        device="cpu", flips=True, keep_largest=True, tz_inside=True, doubt="levels", follow=False, batch_size=3
    )
    infer([results.scans["pat"]], bundle, tmp_path, settings)
    label = np.asarray(nib.load(tmp_path / "pat_zones.nii.gz").dataobj)
    assert ndimage.label(label > 0, structure=np.ones((3, 3, 3)))[1] == 1
    assert not np.array_equal(label, results.label("pat"))
    unsure = nib.load(tmp_path / "pat_uncertainty.nii.gz").get_fdata()
    assert not np.allclose(unsure, results.volume("pat", "uncertainty").get_fdata())
    told = content(tmp_path)["settings"]
    assert (told["uncertainty"], told["flips"], told["keep_largest"], told["tz_inside"]) == ("levels", True, True, True)


def test_a_real_series(bundle: Path, tmp_path: Path, shared_data: Path) -> None:
    scan = shared_data / "prostatex-siemens-3t" / "dicom" / "ProstateX-0001"
    done = infer([scan], bundle, tmp_path, CPU)
    assert done.report is not None
    found = Results({"ProstateX-0001": scan}, tmp_path, done.labels, done.report)
    image = found.volume("ProstateX-0001")
    np.testing.assert_allclose(image.affine, read_image(scan).grid.affine, atol=1e-4)
    check_dicom_seg(found, "ProstateX-0001")
