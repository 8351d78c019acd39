"""What the review page is given: pictures, contours and overlays lie where the voxels are."""

import itertools
import json
import re
from base64 import b64decode
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.path import Path as Curve
from nibabel import orientations
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import binary_dilation, binary_erosion

from prostate_uda.data.phantom import PROTOCOLS, make_case
from prostate_uda.errors import DataError, GeometryError, SettingsError, ShapeError
from prostate_uda.review.report_case import ReviewCase, contour_path, render_case

SHARED = Path(__file__).parents[3] / "shared/data/prostatex-siemens-3t"
AXES = ["".join(letters) for axes in itertools.permutations(("LR", "PA", "SI")) for letters in itertools.product(*axes)]


def a_case(shape: tuple[int, int, int] = (40, 32, 5), **changes: Any) -> ReviewCase:
    """A gradient with a bright corner at the patient's left, back and head; PZ behind TZ in the middle; LPS."""
    x, y, z = np.meshgrid(*(np.arange(size) for size in shape), indexing="ij")
    image = (20.0 + 0.1 * x + 0.2 * y + 3.0 * z).astype(np.float32)
    image[-8:, -8:, -1] = 200
    label = np.zeros(shape, dtype=np.uint8)
    label[15:25, 10:22, 1:4] = 1
    label[17:23, 10:15, 1:4] = 2
    made = {
        "name": "case 1",
        "image": image,
        "label": label,
        "uncertainty": None,
        "spacing_mm": (1.0, 1.5, 3.0),
        "orientation": "LPS",
        "measures": {"WP_mL": 30.0, "psa_density": None},
        "flags": [("high_entropy", "The network is unsure.")],
        "attention": 1.5,
        "source": "case_1.nii.gz",
    }
    return ReviewCase(**(made | changes))


def picture(encoded: str) -> NDArray[np.uint8]:
    """Pixels of a base64 picture, ``(rows, columns)`` or with channels."""
    opened = Image.open(BytesIO(b64decode(encoded)))
    return np.asarray(opened.convert("RGBA" if opened.format == "PNG" else "L"))


def filled(path: str, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """``(X, Y)`` pixels whose centre is inside a path, by the even-odd rule."""
    centres = np.stack(np.meshgrid(*(np.arange(size) + 0.5 for size in shape), indexing="ij"), axis=-1).reshape(-1, 2)
    inside = np.zeros(len(centres), dtype=bool)
    for part in re.findall(r"M([^Z]+)Z", path):
        corners = [[float(number) for number in pair.split()] for pair in part.split("L")]
        inside ^= Curve([*corners, corners[0]], closed=True).contains_points(centres)
    return inside.reshape(shape)


def stored(case: ReviewCase, axes: str) -> ReviewCase:
    """The same scan as a file with other axes would hold it."""
    turn = orientations.ornt_transform(orientations.axcodes2ornt("LPS"), orientations.axcodes2ornt(tuple(axes)))
    spacing = tuple(case.spacing_mm["LPSRAI".index(letter) % 3] for letter in axes)
    arrays = {name: getattr(case, name) for name in ("image", "label", "uncertainty")}
    turned = {name: orientations.apply_orientation(array, turn) for name, array in arrays.items()}
    return replace(case, **turned, spacing_mm=spacing, orientation=axes)


def test_left_is_right_and_back_is_down() -> None:
    top = picture(render_case(a_case())["slices"][-1]["whole"]).astype(int)
    assert top[-4:, -4:].min() > top[:-10, :-10].max() + 80
    below = picture(render_case(a_case())["slices"][-2]["whole"]).astype(int)
    assert below[-4:, -4:].max() < 100


@pytest.mark.parametrize("axes", AXES)
def test_storage_order_changes_nothing(axes: str) -> None:
    case = a_case()
    case = replace(case, uncertainty=np.clip((case.image - 20) / 100, 0, 1))
    assert render_case(stored(case, axes)) == render_case(case)


def test_contours_lie_where_the_mask_is() -> None:
    case = a_case()
    for place, one in enumerate(render_case(case)["slices"]):
        zones = case.label[:, :, place]
        for name, mask in (("PZ", zones == 1), ("TZ", zones == 2), ("WP", zones > 0)):
            np.testing.assert_array_equal(filled(one[name], mask.shape), mask)
        assert one["area"] == [float((zones == zone).sum() * 1.5) for zone in (1, 2)]


def test_a_hole_stays_a_hole() -> None:
    mask = np.zeros((20, 20), dtype=bool)
    mask[3:17, 4:15] = True
    mask[8:12, 7:11] = False
    np.testing.assert_array_equal(filled(contour_path(mask), mask.shape), mask)


@given(st.integers(0, 2**32 - 1), st.floats(0.1, 0.9))
def test_any_mask_is_drawn_to_half_a_pixel(seed: int, share: float) -> None:
    mask = np.random.default_rng(seed).random((12, 9)) < share
    inside = filled(contour_path(mask), mask.shape)
    around = np.ones((3, 3))
    assert not (binary_erosion(mask, around) & ~inside).any()
    assert not (inside & ~binary_dilation(mask, around)).any()


def test_a_lone_voxel_is_drawn() -> None:
    mask = np.zeros((9, 9), dtype=bool)
    mask[0, 8] = mask[4, 4] = True
    np.testing.assert_array_equal(filled(contour_path(mask), mask.shape), mask)


def test_the_sharp_part_has_the_gland_and_30_mm() -> None:
    shape = (300, 200, 2)
    label = np.zeros(shape, dtype=np.uint8)
    label[140:160, 90:110, 0] = 1
    label[150:152, 12:14, 1] = 2  # a stray island near the border counts, too
    image = np.random.default_rng(0).random(shape)
    one = render_case(a_case(image=image, label=label, spacing_mm=(0.5, 1.0, 3.0)))
    assert one["gland"] == [[140, 160], [12, 110]]
    assert one["crop"] == [80, 0, 140, 140]
    assert picture(one["slices"][0]["crop"]).shape == (140, 140)
    assert max(picture(one["slices"][0]["whole"]).shape) == 112
    assert one["pixel_mm"] == [0.5, 1.0]
    assert one["first"] == 0


def test_sharp_part_and_overview_show_the_same_place() -> None:
    shape = (160, 160, 1)
    x, y, _ = np.meshgrid(*(np.arange(size) for size in shape), indexing="ij")
    label = np.zeros(shape, dtype=np.uint8)
    label[70:90, 70:90] = 1
    one = render_case(a_case(image=(x + 2.0 * y), label=label, spacing_mm=(1.0, 1.0, 3.0)))
    across, down, width, height = one["crop"]
    assert [across, down, width, height] == [40, 40, 80, 80]
    whole = Image.open(BytesIO(b64decode(one["slices"][0]["whole"]))).convert("L").resize((160, 160))
    part = np.asarray(whole)[down : down + height, across : across + width].astype(int)
    assert np.abs(part - picture(one["slices"][0]["crop"])).mean() < 4


def test_grey_values_come_back_through_the_window() -> None:
    shape = (64, 64, 1)
    image = np.full(shape, 100.0)
    image[:, 32:] = 300.0
    image[32:, :32] = 200.0
    one = render_case(a_case(image=image, label=np.zeros(shape, dtype=np.uint8)))
    black, white = one["window"]
    shown = picture(one["slices"][0]["crop"])[[10, 50, 10], [10, 50, 50]] / 255
    np.testing.assert_allclose((shown - black) / (white - black), [0.0, 1.0, 0.5], atol=0.03)


def test_uncertainty_is_opaque_where_it_is_high() -> None:
    case = a_case()
    doubt = np.zeros(case.image.shape, dtype=np.float32)
    doubt[30:, :10, 2] = 1.0
    doubt[:10, :10, 2] = 0.5
    slices = render_case(replace(case, uncertainty=doubt))["slices"]
    assert [one["uncertainty"] is None for one in slices] == [True, True, False, True, True]
    opacity = picture(slices[2]["uncertainty"])[..., 3].astype(int)
    assert opacity.shape == (32, 40)
    assert opacity[5, 35] > 160
    assert 50 < opacity[5, 5] < opacity[5, 35]
    assert opacity[20:].max() == 0


def test_without_a_gland_the_middle_is_shown() -> None:
    shape = (300, 200, 3)
    one = render_case(a_case(image=np.random.default_rng(0).random(shape), label=np.zeros(shape, dtype=np.uint8)))
    assert one["gland"] is None
    assert one["first"] == 1
    assert one["crop"] == [90, 60, 120, 80]
    assert {one["slices"][0][zone] for zone in ("PZ", "TZ", "WP")} == {""}


def test_one_slice_and_a_constant_image() -> None:
    one = render_case(a_case((12, 10, 1), image=np.full((12, 10, 1), 7), label=np.ones((12, 10, 1), dtype=np.uint8)))
    assert len(one["slices"]) == 1
    assert one["crop"] == [0, 0, 12, 10]


def test_the_result_is_strict_json() -> None:
    odd = {"WP_mL": float("nan"), "TZ_mL": np.float32(3.5), "x": float("inf"), "none": None}
    one = render_case(a_case(measures=odd, attention=np.float64(2)))
    assert json.loads(json.dumps(one, allow_nan=False)) == one
    assert one["measures"] == {"WP_mL": None, "TZ_mL": 3.5, "x": None, "none": None}


def test_the_digest_follows_what_is_judged() -> None:
    case = a_case()
    moved = case.label.copy()
    moved[15, 10, 1] = 0
    digests = [render_case(one)["digest"] for one in (case, replace(case, attention=9.0), replace(case, label=moved))]
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"name": " "}, SettingsError, "without a name"),
        ({"attention": float("nan")}, SettingsError, "attention nan"),
        ({"label": np.full((40, 32, 5), 3, dtype=np.uint8)}, DataError, "label value 3"),
        ({"label": np.zeros((40, 32, 4), dtype=np.uint8)}, ShapeError, "on an image of shape"),
        ({"image": np.full((40, 32, 5), np.nan)}, DataError, "not finite"),
        ({"uncertainty": np.full((40, 32, 5), 1.5)}, DataError, "outside"),
        ({"uncertainty": np.full((40, 32, 5), np.nan)}, DataError, "outside"),
        ({"orientation": "LPP"}, GeometryError, "orientation"),
        ({"spacing_mm": (1, 1, 0)}, GeometryError, "spacing"),
    ],
)
def test_bad_input_is_told(changes: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        render_case(a_case(**changes))


def test_a_phantom_is_small() -> None:
    made = make_case(PROTOCOLS["phantom-3t"], seed=0, index=1, size="full")
    spacing = tuple(float(step) for step in np.linalg.norm(made.affine[:3, :3], axis=0))
    axes = "".join(orientations.aff2axcodes(made.affine))
    doubt = (made.label == 1) * np.float32(0.5)
    case = a_case(image=made.image, label=made.label, uncertainty=doubt, spacing_mm=spacing, orientation=axes)
    assert len(json.dumps(render_case(case))) < 250_000


@pytest.mark.skipif(not SHARED.is_dir(), reason="shared/data/prostatex-siemens-3t is not here")
def test_a_real_scan_is_small() -> None:
    from prostate_uda.data.volumes import read_image, read_label

    image = read_image(SHARED / "dicom/ProstateX-0002")
    file = next((SHARED / "zones-ai/Yuan23").glob("*0002*"))
    label = read_label(file, {0: 0, 1: 1, 2: 2}).array
    grid = image.grid
    one = render_case(
        a_case(image=image.array, label=label, spacing_mm=grid.spacing, orientation=grid.orientation, name=file.name)
    )
    assert len(json.dumps(one)) < 250_000
    assert sum(sum(each["area"]) for each in one["slices"]) * one["slice_mm"] == pytest.approx(
        (label > 0).sum() * np.prod(grid.spacing), rel=1e-3
    )
