"""Pictures of street scenes: the colours, the file, the legend, and that a label lies where it is."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from prostate_uda.errors import DataError, SettingsError, ShapeError
from prostate_uda.maths.losses import IGNORE
from prostate_uda.review.scenes import GAP, HEAD, HEIGHT, LINE, colour_label, overlay, scene_figure

COLOURS = ((128, 64, 128), (244, 35, 232), (70, 70, 70), (0, 0, 142))
NAMES = ("road", "sidewalk", "building", "car")
DOTS_PER_INCH = 150


def street() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A grey scene without symmetry, and a label of three classes and IGNORE."""
    image = np.random.default_rng(0).integers(60, 200, (40, 80, 3), dtype=np.uint8)
    label = np.full((40, 80), 2, dtype=np.uint8)
    label[20:], label[25:35, 10:30], label[:, 70:] = 0, 3, IGNORE
    return image, label


def pixels(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def panel(path: Path, place: int, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """One panel of a figure, brought to the label's size by taking the middle of each of its pixels."""
    dots = pixels(path)
    width = HEIGHT * shape[1] / shape[0]
    left = GAP + place * (width + GAP)
    rows = (HEAD + HEIGHT * (np.arange(shape[0]) + 0.5) / shape[0]) * DOTS_PER_INCH
    columns = (left + width * (np.arange(shape[1]) + 0.5) / shape[1]) * DOTS_PER_INCH
    return dots[np.floor(rows).astype(int)[:, None], np.floor(columns).astype(int)]


def test_a_label_in_its_colours() -> None:
    label = np.array([[0, 1], [3, IGNORE]], dtype=np.uint8)
    painted = colour_label(label, COLOURS)
    assert painted.dtype == np.uint8
    assert painted.tolist() == [[[128, 64, 128], [244, 35, 232]], [[0, 0, 142], [0, 0, 0]]]
    assert np.array_equal(colour_label(label.astype(np.int64), np.array(COLOURS)), painted)


def test_an_overlay_by_hand() -> None:
    image = np.full((1, 3, 3), 100, dtype=np.uint8)
    label = np.array([[0, 3, IGNORE]])
    assert overlay(image, label, COLOURS, 0.25)[0].tolist() == [[107, 91, 107], [75, 75, 110], [100, 100, 100]]


def test_an_overlay_goes_from_the_image_to_the_colours() -> None:
    image, label = street()
    before = image.copy()
    known = label != IGNORE
    assert np.array_equal(overlay(image, label, COLOURS, 0), image)
    whole = overlay(image, label, COLOURS, 1)
    assert np.array_equal(whole[known], colour_label(label, COLOURS)[known])
    assert np.array_equal(whole[~known], image[~known])
    half = overlay(image, label, COLOURS)
    mean = (image.astype(float) + colour_label(label, COLOURS)) / 2
    assert np.abs(half[known] - mean[known]).max() <= 0.5
    assert half.dtype == np.uint8
    assert np.array_equal(image, before)


def test_a_figure_shows_the_scene_and_each_label(tmp_path: Path) -> None:
    image, label = street()
    other = np.roll(label, 7, axis=1)
    path = tmp_path / "new" / "scene.png"
    scene_figure(image, {"truth": label, "adapted": other}, COLOURS, NAMES, path)
    assert [entry.name for entry in path.parent.iterdir()] == ["scene.png"]
    width = 3 * (HEIGHT * 2 + GAP) + GAP
    height = HEAD + HEIGHT + GAP + LINE + 0.1
    assert pixels(path).shape == (round(height * DOTS_PER_INCH), round(width * DOTS_PER_INCH), 3)
    assert np.array_equal(panel(path, 0, label.shape), image)
    assert np.array_equal(panel(path, 1, label.shape), colour_label(label, COLOURS))
    assert np.array_equal(panel(path, 2, label.shape), colour_label(other, COLOURS))


def legend(path: Path) -> set[tuple[int, ...]]:
    below = pixels(path)[round((HEAD + HEIGHT + GAP) * DOTS_PER_INCH) :]
    colours, counts = np.unique(below.reshape(-1, 3), axis=0, return_counts=True)
    return {tuple(colour) for colour, count in zip(colours.tolist(), counts, strict=True) if count > 300}


def test_the_legend_has_the_classes_that_are_there(tmp_path: Path) -> None:
    image, label = street()
    scene_figure(image, {"truth": label}, COLOURS, NAMES, tmp_path / "some.png")
    found = legend(tmp_path / "some.png")
    assert {COLOURS[0], COLOURS[2], COLOURS[3], (0, 0, 0)} <= found
    assert COLOURS[1] not in found
    scene_figure(image, {"truth": label, "other": np.ones_like(label)}, COLOURS, NAMES, tmp_path / "all.png")
    assert {*COLOURS, (0, 0, 0)} <= legend(tmp_path / "all.png")


def test_a_scene_without_labels_has_no_legend(tmp_path: Path) -> None:
    image, _ = street()
    scene_figure(image, {}, COLOURS, NAMES, tmp_path / "bare.png")
    assert pixels(tmp_path / "bare.png").shape[0] == round((HEAD + HEIGHT + GAP) * DOTS_PER_INCH)
    assert np.array_equal(panel(tmp_path / "bare.png", 0, image.shape), image)


def test_many_classes_go_to_several_lines(tmp_path: Path) -> None:
    image, label = street()
    label.flat[:40] = np.arange(40)
    colours = [(place, 255 - place, 6 * place) for place in range(40)]
    names = [f"a class of number {place}" for place in range(40)]
    scene_figure(image, {"truth": label}, colours, names, tmp_path / "many.png")
    assert {*colours, (0, 0, 0)} <= legend(tmp_path / "many.png")
    assert pixels(tmp_path / "many.png").shape[0] > (HEAD + HEIGHT + 5 * LINE) * DOTS_PER_INCH


def test_a_figure_as_a_vector(tmp_path: Path) -> None:
    image, label = street()
    scene_figure(image, {"truth $1": label}, COLOURS, NAMES, tmp_path / "scene.svg")
    assert (tmp_path / "scene.svg").read_text(encoding="utf-8").startswith("<?xml")


def test_nothing_is_left_of_a_figure_that_fails(tmp_path: Path) -> None:
    image, label = street()
    path = tmp_path / "scene.png"
    path.write_bytes(b"before")
    with pytest.raises(ShapeError, match=r"label 'adapted' of \(40, 79\) pixels over an image of \(40, 80\)"):
        scene_figure(image, {"truth": label, "adapted": label[:, :-1]}, COLOURS, NAMES, path)
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"image": np.zeros((40, 80), dtype=np.uint8)}, ShapeError, r"image of shape \(40, 80\)"),
        ({"image": np.zeros((40, 80, 3))}, ShapeError, "type float64"),
        (
            {"image": np.zeros((40, 81, 3), dtype=np.uint8)},
            ShapeError,
            r"\(40, 80\) pixels over an image of \(40, 81\)",
        ),
        ({"label": np.zeros((1, 40, 80), dtype=np.uint8)}, ShapeError, r"label of shape \(1, 40, 80\)"),
        ({"label": np.zeros((40, 80))}, ShapeError, "type float64"),
        ({"label": np.full((40, 80), 4)}, DataError, "class 4 has no colour; 0 to 3 and 255"),
        ({"label": np.full((40, 80), -1)}, DataError, "class -1 has no colour"),
        ({"label": np.full((40, 80), 300)}, DataError, "class 300 has no colour"),
        ({"colours": ((0, 0, 256),) * 4}, SettingsError, "from 0 to 255"),
        ({"colours": ((0.1, 0.2, 0.3),) * 4}, SettingsError, "from 0 to 255"),
        ({"alpha": 1.5}, SettingsError, r"alpha 1\.5; 0 to 1"),
        ({"alpha": float("nan")}, SettingsError, "alpha nan"),
    ],
)
def test_what_is_refused(change, error, words) -> None:
    image, label = street()
    given = {"image": image, "label": label, "colours": COLOURS, "alpha": 0.5} | change
    with pytest.raises(error, match=words) as raised:
        overlay(**given)
    assert "\n" not in str(raised.value)


def test_as_many_names_as_colours(tmp_path: Path) -> None:
    image, label = street()
    with pytest.raises(SettingsError, match="3 names for 4 colours"):
        scene_figure(image, {"truth": label}, COLOURS, NAMES[:3], tmp_path / "scene.png")
