"""``evaluate --corrected``: every case is measured or told of, and a review's verdicts go with its masks."""

import csv
import json
import math
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from prostate_uda.data.dicom import choose_series
from prostate_uda.data.volumes import read_image, read_label
from prostate_uda.data.writing import write_label
from prostate_uda.errors import DataError, GeometryError, SettingsError
from prostate_uda.recipes import evaluate
from prostate_uda.recipes.corrections import CorrectionSettings, corrections
from prostate_uda.recipes.evaluate import label_maps
from prostate_uda.recipes.verdicts import FORMAT
from prostate_uda.review.seg_nrrd import write_seg_nrrd
from tests.recipes.conftest import Heard

AFFINE = np.diag((1.0, 1.0, 3.0, 1.0))


def zones() -> np.ndarray:
    """PZ behind TZ, 4 × 2 and 4 × 3 pixels on slices 1 and 2."""
    array = np.zeros((8, 8, 4), np.uint8)
    array[2:6, 1:3, 1:3], array[2:6, 3:6, 1:3] = 1, 2
    return array


def save(path: Path, array: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, affine), path)
    return path


def save_segmentation(path: Path, array: np.ndarray, origin: tuple[int, int, int] = (0, 0, 0)) -> None:
    """As Slicer would: cut, and with values of its own."""
    image = sitk.GetImageFromArray(np.array([0, 5, 9], np.uint8)[array].transpose(2, 1, 0))
    image.SetSpacing([1.0, 1.0, 3.0])
    image.SetDirection([-1, 0, 0, 0, -1, 0, 0, 0, 1])
    image.SetOrigin([-float(origin[0]), -float(origin[1]), 3.0 * origin[2]])
    for number, (name, value) in enumerate((("Peripheral zone", 5), ("Transition zone", 9))):
        image.SetMetaData(f"Segment{number}_Name", name)
        image.SetMetaData(f"Segment{number}_LabelValue", str(value))
        image.SetMetaData(f"Segment{number}_Layer", "0")
    sitk.WriteImage(image, str(path))


def said(*verdicts: tuple[str, str], **more: str) -> list[dict[str, str]]:
    return [{"case": case, "verdict": verdict, "comment": "", **more} for case, verdict in verdicts]


HEAD = f'{{"format": "{FORMAT}1", "cases": '


def write_review(path: Path, rows: list[dict[str, str]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        json.dumps({"format": "prostate-uda-review/1", "report": {"title": "x"}, "cases": rows}), encoding="utf-8"
    )
    return path


@pytest.fixture
def predicted(tmp_path: Path) -> Path:
    """A folder as ``infer`` writes it, cases a to e."""
    folder = tmp_path / "predicted"
    for case in "abcde":
        save(folder / f"{case}_zones.nii.gz", zones())
        save(folder / f"{case}_uncertainty.nii.gz", np.full((8, 8, 4), 0.25, np.float32))
        save(folder / f"{case}_probabilities.nii.gz", np.full((8, 8, 4, 3), 0.25, np.float32))
        save_segmentation(folder / f"{case}_zones.seg.nrrd", zones())
        (folder / f"{case}.dcm").write_bytes(b"x")
    (folder / "report.json").write_text('{"cases": []}', encoding="utf-8")
    (folder / "report.csv").write_text("case,WP_mL\na,1\n", encoding="utf-8")
    (folder / "report.html").write_text("<p>", encoding="utf-8")
    return folder


def test_a_correction_by_hand(tmp_path: Path, predicted: Path) -> None:
    """The TZ's last column, y = 5, is erased on slice 1 and a column y = 0 becomes PZ on slice 2."""
    after = zones()
    after[2:6, 5, 1] = 0
    after[2:6, 0, 2] = 1
    save(tmp_path / "corrected" / "a.nii.gz", after)
    found = corrections(predicted, tmp_path / "corrected")
    (row,) = found.rows
    assert (row["case"], row["outcome"], row["changed"], row["slices_touched"]) == ("a", "changed", True, 2)
    assert row["PZ_dice"] == pytest.approx(2 * 16 / (16 + 20))
    assert row["TZ_dice"] == pytest.approx(2 * 20 / (24 + 20))
    assert row["WP_dice"] == pytest.approx(2 * 36 / (40 + 40))
    assert [row[f"{zone}_{what}_mL"] for what in ("added", "removed") for zone in ("PZ", "TZ", "WP")] == pytest.approx(
        [0.012, 0.0, 0.012, 0.0, 0.012, 0.012]
    )
    # WP, slice 1: the contour is 4 × 4 pixels' 12, of which the 2 in the new last column's middle were inside;
    # slice 2: 4 × 6 pixels' 16, of which the 4 new ones are not old contour. Old ones stay contour on the sides.
    assert (row["WP_apl_mm"], row["WP_contour_mm"]) == (pytest.approx(2 + 4), pytest.approx(12 + 16))
    assert row["WP_apl_share"] == pytest.approx(6 / 28)
    assert row["WP_hd95_mm"] == pytest.approx(1.0)
    assert 0 < row["WP_assd_mm"] < 1
    assert found.counts == {"cases": 1, "unchanged": 0, "changed": 1, "rejected": 0, "waiting": 0}


def test_verdicts_are_joined_and_each_outcome_is_counted(tmp_path: Path, predicted: Path) -> None:
    after = zones()
    after[2:6, 0, 2] = 1
    folder = tmp_path / "corrected"
    save(folder / "a_zones.nii.gz", after)
    save(folder / "lost.nii.gz", after)
    rows = said(("b", "accept"), ("c_zones", "reject"), ("d", "correct"), ("e", ""), ("gone", "accept"))
    rows += said(("a", "correct"), comment="apex, Größe", reviewer="MK", reviewed_at="2026-11-26T10:00:00Z")
    write_review(folder / "review.json", [{**row, "comment": row.get("comment") or None} for row in rows])
    heard = Heard()
    found = corrections(predicted, folder, out=tmp_path / "out.csv", progress=heard)
    by_case = {row["case"]: row for row in found.rows}
    outcomes = {case: row["outcome"] for case, row in by_case.items()}
    assert outcomes == {"a": "changed", "b": "unchanged", "c": "rejected", "d": "waiting"}
    assert found.counts == {"cases": 4, "unchanged": 1, "changed": 1, "rejected": 1, "waiting": 1}
    assert (by_case["a"]["comment"], by_case["a"]["reviewer"]) == ("apex, Größe", "MK")
    assert (by_case["b"]["changed"], by_case["b"]["WP_dice"], by_case["b"]["WP_apl_mm"]) == (False, 1.0, 0.0)
    assert by_case["c"]["WP_dice"] == by_case["d"]["WP_dice"] == ""
    assert found.means["WP_dice"] == pytest.approx((1 + by_case["a"]["WP_dice"]) / 2)
    assert found.totals["PZ_added_mL"] == pytest.approx(by_case["a"]["PZ_added_mL"])
    path, contour = (sum(by_case[case][f"WP_{what}"] for case in "ab") for what in ("apl_mm", "contour_mm"))
    assert found.apl_share["WP"] == pytest.approx(path / contour)
    notes = "\n".join(heard.notes)
    for told in ("without a prediction are not compared: lost", "not counted: gone", "not counted: e", "mask yet: d"):
        assert told in notes
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        written = list(csv.DictReader(file))
    assert [row["case"] for row in written] == ["a", "b", "c", "d"]
    assert float(written[0]["WP_apl_mm"]) == pytest.approx(by_case["a"]["WP_apl_mm"])


def test_a_mask_outweighs_a_verdict_but_for_a_rejection(tmp_path: Path, predicted: Path) -> None:
    after = np.zeros_like(zones())
    for case in "ab":
        save(tmp_path / "corrected" / f"{case}.nii.gz", after)
    save(tmp_path / "corrected" / "c.nii.gz", zones())
    rows = said(("a", "accept"), ("b", "reject"), ("c", "correct"))
    heard = Heard()
    settings = CorrectionSettings(verdicts=write_review(tmp_path / "elsewhere.json", rows))
    found = corrections(predicted, tmp_path / "corrected", settings, progress=heard)
    assert [row["outcome"] for row in found.rows] == ["changed", "rejected", "unchanged"]
    assert found.rows[1]["WP_dice"] == 0
    assert found.rows[1]["WP_hd95_mm"] == math.inf
    assert found.means["WP_dice"] == pytest.approx(0.5)  # of a and c; the rejected one is apart
    assert found.totals["WP_removed_mL"] == pytest.approx(0.12)
    assert any("count as changed: a" in note for note in heard.notes)


@pytest.mark.parametrize("origin", [(0, 0, 0), (2, 1, 1)])
def test_slicers_segmentation_cut_and_with_its_own_values(tmp_path: Path, predicted: Path, origin) -> None:
    (tmp_path / "corrected").mkdir()
    cut = zones()[tuple(slice(start, None) for start in origin)].copy()
    cut[-1, -1, -1] = 2
    save_segmentation(tmp_path / "corrected" / "a_zones.seg.nrrd", cut, origin)
    found = corrections(predicted, tmp_path / "corrected")
    assert (found.rows[0]["TZ_added_mL"], found.rows[0]["WP_removed_mL"]) == (pytest.approx(0.003), 0.0)
    rows, _ = evaluate(predicted, tmp_path / "corrected")
    assert rows[0]["PZ"] == 1
    assert rows[0]["TZ"] == pytest.approx(2 * 24 / 49)


def test_our_own_segmentation_comes_back_unchanged(tmp_path: Path, oblique_affine: np.ndarray) -> None:
    """What ``infer`` writes for Slicer, oblique, against the label map that it writes beside it."""
    save(tmp_path / "predicted" / "a_zones.nii.gz", zones(), oblique_affine)
    write_seg_nrrd(tmp_path / "corrected" / "a_zones.seg.nrrd", zones(), oblique_affine)
    (row,) = corrections(tmp_path / "predicted", tmp_path / "corrected").rows
    assert (row["outcome"], row["PZ_dice"], row["TZ_dice"], row["slices_touched"]) == ("unchanged", 1, 1, 0)


def test_other_label_values_and_a_tolerance(tmp_path: Path, predicted: Path) -> None:
    after = zones()
    after[2:6, 0, 2] = 1
    save(tmp_path / "corrected" / "a.nii.gz", np.array([0, 2, 1], np.uint8)[after])
    found = corrections(predicted, tmp_path / "corrected", CorrectionSettings(label_names="1=TZ,2=PZ"))
    assert found.totals["WP_apl_mm"] == pytest.approx(4)
    settings = CorrectionSettings(label_names="1=TZ,2=PZ", tolerance_mm=1.0)
    assert corrections(predicted, tmp_path / "corrected", settings).totals["WP_apl_mm"] == 0


def test_json_and_csv_of_one_review_lie_side_by_side(tmp_path: Path, predicted: Path) -> None:
    rows = said(("a", "accept"), ("b", "reject"))
    folder = tmp_path / "corrected"
    write_review(folder / "review.json", rows)
    text = '\ufeffcase,verdict,comment,reviewer,reviewed_at\r\na,accept,,,\r\nb,reject,"two, and\r\nlines",,\r\n'
    (folder / "review.csv").write_bytes(text.encode())
    (folder / "measured.csv").write_text("case,outcome,verdict\na,changed,nonsense\n", encoding="utf-8")
    found = corrections(predicted, folder)
    assert found.counts == {"cases": 2, "unchanged": 1, "changed": 0, "rejected": 1, "waiting": 0}
    by_file = corrections(predicted, folder, CorrectionSettings(verdicts=folder / "review.csv"))
    assert by_file.rows[1]["comment"].splitlines() == ["two, and", "lines"]
    write_review(folder / "review2.json", said(("a", "reject")))
    with pytest.raises(DataError, match="say different of 'a'"):
        corrections(predicted, folder)


def test_the_table_may_lie_in_the_reviewers_folder(tmp_path: Path, predicted: Path) -> None:
    write_review(tmp_path / "corrected" / "review.json", said(("a", "accept"), ("b", "reject")))
    table = tmp_path / "corrected" / "corrections.csv"
    first = corrections(predicted, tmp_path / "corrected", out=table)
    assert corrections(predicted, tmp_path / "corrected", out=table).counts == first.counts


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        (
            "r.json",
            HEAD + '[{"case": "a", "verdict": "maybe"}]}',
            "accept, correct, reject are needed",
        ),
        ("r.json", HEAD + '[{"verdict": "accept"}]}', "a case's name"),
        ("r.json", HEAD + '["a"]}', "a case's name"),
        ("r.json", HEAD + "[", "cannot be read"),
        ("r.csv", "case,verdict\na,accept\na_zones,reject\n", "two verdicts of case 'a'"),
    ],
)
def test_verdicts_that_are_none(tmp_path: Path, predicted: Path, name: str, text: str, told: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "corrected").mkdir()
    with pytest.raises(DataError, match=told) as error:
        corrections(predicted, tmp_path / "corrected", CorrectionSettings(verdicts=tmp_path / name))
    assert name in str(error.value)
    assert "\n" not in str(error.value)


def test_nothing_to_compare(tmp_path: Path, predicted: Path) -> None:
    (tmp_path / "corrected").mkdir()
    with pytest.raises(DataError, match="name masks like predictions"):
        corrections(predicted, tmp_path / "corrected")
    for missing in ("none.json", "corrected"):
        with pytest.raises(DataError, match=r"downloaded from report\.html"):
            corrections(predicted, tmp_path / "corrected", CorrectionSettings(verdicts=tmp_path / missing))
    with pytest.raises(DataError, match=r"report\.json holds no verdicts"):
        corrections(predicted, tmp_path / "corrected", CorrectionSettings(verdicts=predicted / "report.json"))
    with pytest.raises(DataError, match="does not exist"):
        corrections(predicted, tmp_path / "nowhere")


def test_mistakes_are_told_before_the_work(tmp_path: Path, predicted: Path) -> None:
    (tmp_path / "corrected").mkdir()
    (tmp_path / "corrected" / "a.nii.gz").write_bytes(b"would be told first")
    with pytest.raises(SettingsError, match="cannot be written"):
        corrections(predicted, tmp_path / "corrected", out=tmp_path / "nodir" / "out.csv")
    for tolerance in (-1.0, math.nan, math.inf):
        with pytest.raises(SettingsError, match="tolerance"):
            corrections(predicted, tmp_path / "corrected", CorrectionSettings(tolerance_mm=tolerance))


def test_another_grid_is_one_line(tmp_path: Path, predicted: Path) -> None:
    save(tmp_path / "corrected" / "a.nii.gz", zones(), np.diag((1.0, 1.0, 2.0, 1.0)))
    with pytest.raises(GeometryError, match="not on the grid"):
        corrections(predicted, tmp_path / "corrected")


def test_infers_other_maps_are_no_label_maps(predicted: Path) -> None:
    assert {case: path.name for case, path in label_maps(predicted, predicted=True).items()} == {
        case: f"{case}_zones.nii.gz" for case in "abcde"
    }
    with pytest.raises(DataError, match=r"a_zones\.nii\.gz and .*a_zones\.seg\.nrrd are both of 'a'"):
        label_maps(predicted)  # a reviewer may have changed either
    save(predicted / "a.nii.gz", zones())
    with pytest.raises(DataError, match=r"a\.nii\.gz and .*a_zones\.nii\.gz are both of 'a'"):
        label_maps(predicted, predicted=True)


def test_a_case_may_be_called_like_a_companion(tmp_path: Path) -> None:
    for name in ("a_uncertainty", "b", "b_probabilities_zones"):
        save(tmp_path / f"{name}.nii.gz", zones())
    assert set(label_maps(tmp_path)) == {"a_uncertainty", "b", "b_probabilities"}


def test_two_networks_labels_of_a_real_oblique_scan(shared_data: Path, tmp_path: Path) -> None:
    """One network's labels as predictions, another's as corrections of them, against SimpleITK's Dice."""
    folder = shared_data / "prostatex-siemens-3t"
    scan = sorted(path for path in (folder / "dicom").iterdir() if path.is_dir())[0]
    image = read_image(choose_series(scan))
    paths = {
        name: next(
            path for path in sorted((folder / "zones-ai" / name).iterdir()) if scan.name.split("_")[0] in path.name
        )
        for name in ("Yuan23", "HeviAI23")
    }
    labels = {name: read_label(path, {0: 0, 1: 1, 2: 2}) for name, path in paths.items()}
    for name, label in labels.items():
        assert label.grid.same_as(image.grid)
        write_label(tmp_path / name / "scan_zones.nii.gz", label.array, image)
    found = corrections(tmp_path / "Yuan23", tmp_path / "HeviAI23")
    oracle = sitk.LabelOverlapMeasuresImageFilter()
    oracle.Execute(*(sitk.GetImageFromArray(label.array) for label in labels.values()))
    (row,) = found.rows
    assert [row["PZ_dice"], row["TZ_dice"]] == pytest.approx([oracle.GetDiceCoefficient(zone) for zone in (1, 2)])
    assert 0 < row["WP_apl_share"] < 1
    assert row["WP_apl_mm"] < row["WP_contour_mm"]
    near = corrections(tmp_path / "Yuan23", tmp_path / "HeviAI23", CorrectionSettings(tolerance_mm=1.0)).rows[0]
    assert near["WP_apl_mm"] < 0.8 * row["WP_apl_mm"]
