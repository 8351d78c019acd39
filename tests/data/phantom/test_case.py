"""Whole cases: determinism, labels, geometry."""

import nibabel
import numpy as np
import pytest

from prostate_uda.data.geometry import Grid
from prostate_uda.data.phantom import PROTOCOLS, make_case
from prostate_uda.data.phantom.case import generators
from prostate_uda.data.phantom.scan import ORIENTATIONS, draw_scan, reorient
from prostate_uda.errors import SettingsError

CASES = [(name, index) for name in sorted(PROTOCOLS) for index in range(3)]


@pytest.fixture(scope="module")
def cases():
    return {(name, i): make_case(PROTOCOLS[name], seed=11, index=i, size="small") for name, i in CASES}


def world(case, mask):
    """Mean RAS position of a mask."""
    return nibabel.affines.apply_affine(case.affine, np.argwhere(mask).mean(axis=0))


@pytest.mark.parametrize("key", CASES[::4])
def test_same_bits_twice(cases, key):
    name, index = key
    again = make_case(PROTOCOLS[name], seed=11, index=index, size="small")
    assert np.array_equal(again.image, cases[key].image)
    assert np.array_equal(again.label, cases[key].label)
    assert np.array_equal(again.affine, cases[key].affine)
    assert again.facts == cases[key].facts


def test_seed_index_and_scanner_all_matter(cases):
    images = [case.image for case in cases.values()] + [
        make_case(PROTOCOLS["phantom-3t"], seed=12, index=0, size="small").image
    ]
    assert len({image.tobytes() for image in images}) == len(images)


@pytest.mark.parametrize("key", CASES)
def test_label_agrees_with_the_facts(cases, key):
    case = cases[key]
    assert case.label.dtype == np.uint8
    assert set(np.unique(case.label)) == {0, 1, 2}
    voxel_ml = abs(np.linalg.det(case.affine[:3, :3])) / 1000
    for value, fact in ((1, "pz_ml"), (2, "tz_ml")):
        assert (case.label == value).sum() * voxel_ml == pytest.approx(case.facts[fact], rel=0.08)
    whole = (case.label > 0).sum() * voxel_ml
    assert whole == pytest.approx(case.facts["gland_ml"], rel=0.04)
    assert 20 < whole < 110


@pytest.mark.parametrize("key", CASES)
def test_the_stack_covers_the_gland(cases, key):
    case = cases[key]
    axis = Grid(case.label.shape, case.affine).slice_axis
    ends = case.label.take([0, -1], axis=axis)
    assert not ends.any()


@pytest.mark.parametrize("key", CASES)
def test_affine_is_orthogonal_and_says_what_was_planned(cases, key):
    case = cases[key]
    axes = case.affine[:3, :3] / np.linalg.norm(case.affine[:3, :3], axis=0)
    assert axes.T @ axes == pytest.approx(np.eye(3), abs=1e-12)
    grid = Grid(case.image.shape, case.affine)
    assert grid.orientation == case.facts["orientation"]
    assert sorted(grid.spacing) == pytest.approx(sorted(case.facts["spacing_mm"]))


@pytest.mark.parametrize("key", CASES)
def test_posterior_is_posterior_and_the_bladder_above(cases, key):
    case = cases[key]
    assert world(case, case.label == 1)[1] < world(case, case.label == 2)[1] - 3
    urine = case.image > np.percentile(case.image, 99.7)
    if not PROTOCOLS[key[0]].endorectal_coil:
        assert world(case, urine)[2] > world(case, case.label > 0)[2] + 8


def test_every_orientation_is_drawn():
    protocol = PROTOCOLS["phantom-3t"]
    drawn = [draw_scan(generators(protocol, 5, i)[1], protocol.matrix("small")).orientation for i in range(300)]
    assert set(drawn) == set(ORIENTATIONS)


@pytest.mark.parametrize("orientation", [*ORIENTATIONS, "SAL", "IRP"])
def test_reorienting_moves_no_tissue(cases, orientation):
    """Whatever the axis order of the file, every zone stays where it was in the world."""
    for case in list(cases.values())[::3]:
        (image, label), affine = reorient((case.image, case.label), case.affine, orientation)
        assert "".join(nibabel.aff2axcodes(affine)) == orientation
        for value in (1, 2):
            there = nibabel.affines.apply_affine(affine, np.argwhere(label == value).mean(axis=0))
            assert there == pytest.approx(world(case, case.label == value), abs=1e-6)
        assert image.sum() == case.image.sum()


def test_zones_differ_in_brightness_and_the_coil_blazes(cases):
    for (name, _), case in cases.items():
        peripheral, transition = (float(case.image[case.label == value].mean()) for value in (1, 2))
        assert peripheral > 1.15 * transition
        if name == "phantom-1.5t":
            assert peripheral > 1.2 * np.median(case.image[case.image > 0])


@pytest.mark.parametrize(("seed", "index", "size"), [(-1, 0, "small"), (0, -1, "small"), (0, 0, "huge")])
def test_bad_arguments_are_told(seed, index, size):
    with pytest.raises(SettingsError):
        make_case(PROTOCOLS["phantom-3t"], seed=seed, index=index, size=size)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(PROTOCOLS))
def test_full_size_is_the_same_man(name):
    small, full = (make_case(PROTOCOLS[name], seed=1, index=0, size=size) for size in ("small", "full"))
    assert full.facts["gland_ml"] == pytest.approx(small.facts["gland_ml"], rel=0.02)
    assert full.facts["lesions"] == small.facts["lesions"]
    volumes = [(c.label > 0).sum() * abs(np.linalg.det(c.affine[:3, :3])) for c in (small, full)]
    assert volumes[0] == pytest.approx(volumes[1], rel=0.04)
