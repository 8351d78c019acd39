"""Pictures: the file, the convention, and that a contour lies where the label is."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from numpy.typing import NDArray
from PIL import Image

from prostate_uda.errors import GeometryError, SettingsError, ShapeError
from prostate_uda.review import StripCase, comparison_strip, contour_figure
from prostate_uda.review.canvas import COLOURS, OTHER_COLOURS

SPACING = (0.8, 1.25, 3.0)
DOTS_PER_INCH, HEAD, PANEL = 150, 0.45, 2.9


def box(low: tuple[int, int, int], high: tuple[int, int, int], zone: int) -> NDArray[np.uint8]:
    """Labels on a LPS grid of 50 × 40 × 7."""
    label = np.zeros((50, 40, 7), dtype=np.uint8)
    label[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = zone
    return label


def anatomy() -> tuple[NDArray[np.float32], dict[str, NDArray[np.uint8]]]:
    """Noise without any symmetry, and two glands."""
    image = np.random.default_rng(0).normal(size=(50, 40, 7)).astype(np.float32)
    truth = box((15, 10, 1), (35, 28, 6), 1)
    truth[20:30, 12:20, 2:5] = 2
    return image, {"truth": truth, "adapted": np.roll(truth, (2, -1), axis=(0, 1))}


def pixels(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as picture:
        picture.verify()
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def coloured(path: Path, colour: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns, within the first panel, of the pixels that have nearly this colour."""
    top, side = round(HEAD * DOTS_PER_INCH), round(PANEL * DOTS_PER_INCH)
    panel = pixels(path)[top : top + side, :side].astype(float) / 255
    return np.nonzero(np.abs(panel - to_rgb(colour)).max(axis=-1) < 0.1)


def test_a_picture_of_a_case(tmp_path: Path) -> None:
    image, labels = anatomy()
    path = tmp_path / "new" / "case.png"
    scores = {"adapted": {"PZ": 0.71, "TZ": 0.8, "WP": float("nan")}}
    contour_figure(image, labels, spacing_mm=SPACING, orientation="LPS", title="case_$1", path=path, scores=scores)
    height, width, _ = pixels(path).shape
    assert 900 < width < 1600
    assert 700 < height < 1400
    assert [entry.name for entry in path.parent.iterdir()] == ["case.png"]


@pytest.mark.parametrize("orientation", ["RAS", "LAS", "SPL", "AIR", "PSR"])
def test_the_same_anatomy_stored_otherwise_gives_the_same_picture(tmp_path: Path, orientation: str) -> None:
    image, labels = anatomy()
    turn = nib.orientations.ornt_transform(
        nib.orientations.axcodes2ornt("LPS"), nib.orientations.axcodes2ornt(orientation)
    )
    sizes = dict(zip("LPSRAI", SPACING * 2, strict=True))
    stored = {name: nib.apply_orientation(label, turn) for name, label in labels.items()}
    contour_figure(
        image, labels, spacing_mm=SPACING, orientation="LPS", title="t", path=tmp_path / "a.png", max_slices=2
    )
    contour_figure(
        nib.apply_orientation(image, turn),
        stored,
        spacing_mm=[sizes[code] for code in orientation],
        orientation=orientation,
        title="t",
        path=tmp_path / "b.png",
        max_slices=2,
    )
    assert np.array_equal(pixels(tmp_path / "a.png"), pixels(tmp_path / "b.png"))


def test_radiological_convention(tmp_path: Path) -> None:
    """The patient's right is at the left, anterior is up: LPS indices grow to the right and downwards."""
    labels = {
        "truth": box((5, 5, 3), (15, 12, 4), 1),  # right, anterior
        "adapted": box((35, 28, 3), (45, 35, 4), 1),  # left, posterior
    }
    path = tmp_path / "case.png"
    contour_figure(np.zeros((50, 40, 7)), labels, spacing_mm=SPACING, orientation="LPS", title="t", path=path)
    first, second = coloured(path, COLOURS["truth"]), coloured(path, COLOURS["adapted"])
    assert first[0].max() < second[0].min()
    assert first[1].max() < second[1].min()


def test_the_contour_lies_around_the_label_in_millimetres(tmp_path: Path) -> None:
    path = tmp_path / "case.png"
    spacing = (0.5, 1.0, 3.0)
    label = np.zeros((200, 100, 3), dtype=np.uint8)
    label[80:120, 35:65, 1] = 1  # 20 × 30 mm: the square around it, with 12 mm of margin, is 54 mm wide
    contour_figure(np.zeros(label.shape), {"truth": label}, spacing_mm=spacing, orientation="LPS", title="t", path=path)
    rows, columns = coloured(path, COLOURS["truth"])
    per_mm = PANEL * DOTS_PER_INCH / 54
    for found, size in ((columns, 20), (rows, 30)):
        assert np.ptp(found) == pytest.approx(size * per_mm, abs=6)
    left = 0.05 * DOTS_PER_INCH
    assert columns.mean() - left == pytest.approx(PANEL * DOTS_PER_INCH / 2, abs=4)
    assert rows.mean() == pytest.approx(PANEL * DOTS_PER_INCH / 2, abs=4)


def test_the_transition_zone_is_drawn_dashed(tmp_path: Path) -> None:
    """A gland of TZ alone has its dashes on its solid line; inside PZ they stand alone and leave gaps."""
    whole, both = box((15, 10, 3), (35, 30, 4), 1), box((15, 10, 3), (35, 30, 4), 1)
    both[20:30, 15:25, 3] = 2
    counts = []
    for name, label in (("whole", whole), ("both", both)):
        path = tmp_path / f"{name}.png"
        contour_figure(
            np.zeros(label.shape),
            {"truth": label},
            spacing_mm=(1, 1, 3),
            orientation="LPS",
            title="",
            path=path,
        )
        counts.append(len(coloured(path, COLOURS["truth"])[0]))
    inner, outer = counts[1] - counts[0], counts[0]
    assert 0.2 * outer / 2 < inner < 0.8 * outer / 2  # half the length, minus the gaps


@pytest.mark.parametrize("labels", [{}, {"adapted": np.zeros((50, 40, 7), dtype=np.uint8)}])
def test_nothing_labelled_shows_the_middle(tmp_path: Path, labels: dict[str, NDArray[np.uint8]]) -> None:
    image, _ = anatomy()
    path = tmp_path / "case.png"
    contour_figure(image, labels, spacing_mm=SPACING, orientation="LPS", title="t", path=path, max_slices=2)
    assert np.ptp(pixels(path)[100:400, 100:400]) > 100
    assert coloured(path, COLOURS["adapted"])[0].size == 0


def test_truth_lies_beneath_in_whatever_order_labels_come(tmp_path: Path) -> None:
    image, labels = anatomy()
    for name, given in (("a", labels), ("b", dict(reversed(labels.items())))):
        path = tmp_path / f"{name}.png"
        contour_figure(image, given, spacing_mm=SPACING, orientation="LPS", title="t", path=path, max_slices=2)
    assert np.array_equal(pixels(tmp_path / "a.png"), pixels(tmp_path / "b.png"))


def test_other_names_and_ignored_voxels(tmp_path: Path) -> None:
    label = box((15, 10, 1), (35, 28, 6), 255)
    path = tmp_path / "case.png"
    contour_figure(
        np.zeros(label.shape),
        {"truth": label, "reader 2": np.where(label == 255, 1, 0)},
        spacing_mm=SPACING,
        orientation="LPS",
        title="t",
        path=path,
    )
    assert coloured(path, COLOURS["truth"])[0].size == 0
    assert coloured(path, OTHER_COLOURS[0])[0].size > 0


def test_a_strip_is_one_row(tmp_path: Path) -> None:
    image, labels = anatomy()
    case = StripCase(image, labels, SPACING, "LPS", "case 1")
    for count in (1, 3):
        comparison_strip([case] * count, path=tmp_path / f"{count}.png")
    one, three = pixels(tmp_path / "1.png"), pixels(tmp_path / "3.png")
    assert one.shape[0] == three.shape[0]
    assert three.shape[1] == pytest.approx(3 * one.shape[1], rel=0.1)


def test_an_interrupted_write_leaves_nothing_half(tmp_path: Path) -> None:
    image, labels = anatomy()
    taken = tmp_path / "case.png"
    taken.mkdir()
    with pytest.raises(OSError, match=r"case\.png"):
        contour_figure(image, labels, spacing_mm=SPACING, orientation="LPS", title="t", path=taken)
    assert list(tmp_path.iterdir()) == [taken]


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"orientation": "LPL"}, GeometryError, "one letter of each"),
        ({"orientation": "XYZ"}, GeometryError, "one letter of each"),
        ({"spacing_mm": (1.0, 0.0, 1.0)}, GeometryError, "three positive numbers"),
        ({"max_slices": 0}, SettingsError, "1 or more"),
    ],
)
def test_mistakes_are_told(tmp_path: Path, change, error, words) -> None:
    image, labels = anatomy()
    arguments = {"spacing_mm": SPACING, "orientation": "LPS", "title": "t", "path": tmp_path / "x.png"}
    with pytest.raises(error, match=words):
        contour_figure(image, labels, **(arguments | change))
    assert not list(tmp_path.iterdir())


def test_shapes_that_do_not_fit_are_told(tmp_path: Path) -> None:
    image, labels = anatomy()
    arguments = {"spacing_mm": SPACING, "orientation": "LPS", "title": "t", "path": tmp_path / "x.png"}
    with pytest.raises(ShapeError, match="pick one channel"):
        contour_figure(image[..., None], labels, **arguments)
    with pytest.raises(ShapeError, match="label 'truth'"):
        contour_figure(image, {"truth": labels["truth"][:-1]}, **arguments)
    with pytest.raises(SettingsError, match="strip of no case"):
        comparison_strip([], path=tmp_path / "x.png")
