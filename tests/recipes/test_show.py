"""The contact sheet of folders and phantoms."""

import matplotlib.image
import pytest

from prostate_uda.data.domains import PhantomSettings
from prostate_uda.data.domains.phantom import PHANTOM_3T, PHANTOM_15T
from prostate_uda.errors import DataError, SettingsError, UnknownNameError
from prostate_uda.recipes.places import Place
from prostate_uda.recipes.show import show

TWO = PhantomSettings(train=2, test=1)


@pytest.fixture
def phantoms() -> list[Place]:
    return [Place(phantom.configured(TWO)) for phantom in (PHANTOM_3T, PHANTOM_15T)]


def test_a_sheet_of_two_places(tmp_path, phantoms):
    out = tmp_path / "new" / "sheet"
    shown = show(phantoms, out, normalize=["zscore", "minmax"], limit=1, slices=3)
    assert (shown.cases, shown.left_out) == (2, {})
    assert sorted(path.name for path in out.iterdir()) == ["sheet.html", "sheet.png"]
    height, width, _ = matplotlib.image.imread(shown.picture).shape
    assert height > width / 3
    page = shown.page.read_text(encoding="utf-8")
    assert "data:image/png;base64," in page
    assert all(name in page for name in ("phantom-3t", "phantom-1.5t", "zscore", "minmax"))


def test_a_preset_that_learns_is_taught_by_the_first_place(tmp_path, phantoms):
    from prostate_uda.transforms import NORMALIZATIONS

    taught = [name for name, preset in NORMALIZATIONS.items() if preset.learn is not None]
    if not taught:
        pytest.skip("no preset learns")
    assert show(phantoms, tmp_path, normalize=taught[:1], limit=1).cases == 2
    assert show(phantoms, tmp_path, normalize=taught[:1], teacher=phantoms[1], limit=1).cases == 2


def test_a_bad_scan_is_left_out(tmp_path):
    folder = PHANTOM_3T.configured(TWO).generate()
    scans = tmp_path / "scans"
    scans.mkdir()
    good, bad = sorted((folder / "imagesTr").iterdir())[:2]
    (scans / good.name).write_bytes(good.read_bytes())
    (scans / bad.name).write_bytes(bad.read_bytes()[:100])
    shown = show([Place.of(str(scans))], tmp_path / "out")
    assert shown.cases == 1
    assert list(shown.left_out) == [bad.name.removesuffix(".nii.gz")]
    (scans / good.name).unlink()
    with pytest.raises(DataError, match="no case can be shown"):
        show([Place.of(str(scans))], tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_mistakes_are_told(tmp_path, phantoms):
    with pytest.raises(UnknownNameError, match="unknown normalization"):
        show(phantoms, tmp_path, normalize=["white"])
    for change in ({"limit": 0}, {"slices": 2}):
        with pytest.raises(SettingsError, match="an odd number of slices"):
            show(phantoms, tmp_path, **change)
    with pytest.raises(SettingsError, match="no place"):
        show([], tmp_path)


def test_folders_of_one_name_are_told_apart(tmp_path):
    folder = PHANTOM_3T.configured(TWO).generate()
    scan = min((folder / "imagesTr").iterdir())
    for site in ("north", "south"):
        (tmp_path / site / "scans").mkdir(parents=True)
        (tmp_path / site / "scans" / scan.name).write_bytes(scan.read_bytes())
    shown = show([Place.of(str(tmp_path / site / "scans")) for site in ("north", "south")], tmp_path / "out")
    page = shown.page.read_text(encoding="utf-8")
    assert "north/scans" in page
    assert "south/scans" in page
