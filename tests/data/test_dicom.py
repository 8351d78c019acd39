import numpy as np
import pytest

from prostate_uda.data.dicom import choose_series, is_dicom, list_series, study_of
from prostate_uda.data.volumes import check_same_grid, read_image, read_label
from prostate_uda.errors import DataError, GeometryError

SAGITTAL = np.array([[0, 0, 3.0, 0], [-0.7, 0, 0, 0], [0, -0.7, 0, 0], [0, 0, 0, 1]])
CORONAL = np.array([[-0.7, 0, 0, 0], [0, 0, 3.0, 0], [0, -0.7, 0, 0], [0, 0, 0, 1]])


def test_a_series_comes_sorted_with_its_place(tmp_path, make_series, voxels, oblique_affine, capfd):
    volume = read_image(make_series(tmp_path / "case" / "t2", voxels).parent)
    assert np.array_equal(volume.array, voxels)
    assert np.allclose(volume.grid.affine, oblique_affine, atol=1e-4)
    assert capfd.readouterr() == ("", "")


def test_files_without_an_ending_are_found_by_their_magic(tmp_path, make_series, voxels):
    folder = make_series(tmp_path / "case", voxels)
    for path in folder.iterdir():
        path.rename(path.with_suffix(""))
    (folder / "._hidden").write_bytes(b"\0" * 128 + b"DICM")
    (folder / "notes.txt").write_text("no image")
    assert sum(is_dicom(path) for path in folder.iterdir()) == voxels.shape[2]
    assert np.array_equal(read_image(folder).array, voxels)


@pytest.mark.parametrize("flat", [True, False])
def test_a_study_yields_its_axial_t2(tmp_path, make_series, voxels, flat):
    series = [
        ("t2_tse_tra", None),
        ("t2_tse_sag", SAGITTAL),
        ("t2_tse_cor", CORONAL),
        ("t2_localizer", None),
        ("ep2d_diff_tra_ADC", None),
    ]
    for number, (name, affine) in enumerate(series):
        folder = make_series(
            tmp_path / "made" / name, voxels + 1000 * number, uid=f"1.2.3.{number + 1}", description=name, affine=affine
        )
        if flat:
            for path in folder.iterdir():
                path.rename(folder.parent / f"{name}-{path.name}")
            folder.rmdir()
    assert len(list_series(tmp_path)) == 5
    assert choose_series(tmp_path).name == "t2_tse_tra"
    assert np.array_equal(read_image(tmp_path).array, voxels)


def test_no_or_two_axial_t2_series_are_listed(tmp_path, make_series, voxels):
    make_series(tmp_path / "a", voxels, uid="1.2.3.1", description="t2_large_fov")
    make_series(tmp_path / "b", voxels, uid="1.2.3.2", description="t2_small_fov")
    with pytest.raises(DataError, match=r"2 axial T2 series: t2_large_fov \(5 images, axial, in a\); t2_small_fov"):
        read_image(tmp_path)
    make_series(tmp_path / "c" / "x", voxels, uid="1.2.3.3", description="adc")
    make_series(tmp_path / "c" / "y", voxels, uid="1.2.3.4", description="t2_sag", affine=SAGITTAL)
    with pytest.raises(DataError, match=r"no axial T2 series: adc \(5 images, axial, in x\); t2_sag .*not axial"):
        read_image(tmp_path / "c")


@pytest.mark.parametrize(
    ("patients", "studies", "names", "told"),
    [
        (("A", "B"), ("1.2.1", "1.2.2"), ("t2_tse_tra", "t2_tse_tra"), "2 patients"),
        (("A", "B"), ("1.2.1", "1.2.2"), ("t2_tse_tra", "unnamed"), "2 patients"),
        (("", ""), ("1.2.1", "1.2.2"), ("t2_tse_tra", "t2_tse_tra"), "2 studies"),
    ],
)
def test_a_folder_of_patients_is_no_patients_folder(tmp_path, make_series, voxels, patients, studies, names, told):
    for number, (patient, study, name) in enumerate(zip(patients, studies, names, strict=True)):
        make_series(
            tmp_path / str(number),
            voxels,
            uid=f"1.2.3.{number + 1}",
            study=study,
            description=name,
            patient=patient,
        )
    with pytest.raises(DataError) as caught:
        choose_series(tmp_path)
    assert str(caught.value) == f"{tmp_path}: these are {told}; give each one's folder, {tmp_path}/*"


def test_a_patients_other_study_is_no_other_patient(tmp_path, make_series, voxels):
    make_series(tmp_path / "a", voxels, uid="1.2.3.1", study="1.2.1", description="t2_tse_tra")
    make_series(tmp_path / "b", voxels, uid="1.2.3.2", study="1.2.2", description="adc")
    assert choose_series(tmp_path).name == "t2_tse_tra"


def test_a_folder_without_dicom(tmp_path):
    with pytest.raises(DataError, match="holds no scan: no NIfTI, NRRD or MHA file right in it, no DICOM at any depth"):
        read_image(tmp_path)


def test_a_missing_slice_says_where(tmp_path, make_series, voxels):
    with pytest.raises(DataError, match=r"slices 2 and 3 .* are 6\.00 mm apart, the others 3\.00 mm"):
        read_image(make_series(tmp_path / "hole", voxels, leave_out=(2,)))


def test_repeated_positions_are_no_volume(tmp_path, make_series, voxels):
    make_series(tmp_path / "first", voxels)
    other = make_series(tmp_path / "second", voxels)
    for path in other.iterdir():
        path.rename(tmp_path / "first" / f"again-{path.name}")
    with pytest.raises(DataError, match="at the same position"):
        read_image(tmp_path / "first")


def test_a_tilted_stack_is_refused(tmp_path, make_series, voxels):
    tilted = np.diag((-0.7, -0.7, 3.0, 1.0))
    tilted[1, 2] = 0.4
    with pytest.raises(GeometryError, match=r"shifted sideways by 1\.60 mm"):
        read_image(make_series(tmp_path / "tilted", voxels, affine=tilted))


def test_a_single_slice_is_no_volume(tmp_path, make_series, voxels):
    with pytest.raises(DataError, match="a single slice"):
        read_image(make_series(tmp_path / "one", voxels[:, :, :1]))


def test_a_cut_file_is_one_line(tmp_path, make_series, voxels, capfd):
    folder = make_series(tmp_path / "cut", voxels)
    first = folder / "003.dcm"
    first.write_bytes(first.read_bytes()[:-40])
    with pytest.raises(DataError) as error:
        read_image(folder)
    assert "\n" not in str(error.value)
    assert capfd.readouterr() == ("", "")


def test_a_study_has_a_name(tmp_path, make_series, voxels):
    make_series(tmp_path / "a", voxels, study="1.2.3.9")
    assert study_of(tmp_path) == "1.2.3.9"


def test_real_siemens_series_carry_their_labels(shared_data, capfd):
    root = shared_data / "prostatex-siemens-3t"
    image = read_image(root / "dicom" / "ProstateX-0003")
    label = read_label(root / "zones-ai" / "Yuan23" / "ProstateX-0003.nii.gz", {0: 0, 1: 1, 2: 2})
    check_same_grid(label, image)
    assert image.grid.shape == (384, 384, 21)
    assert np.allclose(image.grid.spacing, (0.5, 0.5, 3.0), atol=1e-4)
    assert capfd.readouterr() == ("", "")


def test_real_philips_series_use_their_own_slope(shared_data, capfd):
    root = shared_data / "prostate-mri-philips-3t-erc"
    volumes = [read_image(root / f"MIP-PROSTATE-01-000{number}") for number in (1, 4)]
    assert [volume.grid.shape for volume in volumes] == [(512, 512, 26)] * 2
    slopes = [np.diff(np.unique(volume.array)).min() for volume in volumes]
    assert slopes == pytest.approx([10.2180709839, 4.94920635223], rel=1e-3)
    assert capfd.readouterr() == ("", "")


def test_real_study_yields_the_series_another_tool_converted(shared_data):
    root = shared_data / "prostatex-full-study"
    image = read_image(root / "ProstateX-0000")
    other = read_image(root / "reference-conversions" / "ProstateX-0000_07-07-2011_t2w.mha")
    assert np.array_equal(image.array, other.array)
    check_same_grid(image, other)


def test_real_series_with_a_hole_and_with_three_b_values(shared_data):
    root = shared_data / "prostatex-full-study"
    with pytest.raises(DataError, match=r"slices 13 and 14 .* 6\.00 mm apart"):
        read_image(root / "missing-slice")
    with pytest.raises(DataError, match="at the same position"):
        read_image(next((root / "ProstateX-0000").rglob("6.000000*")))
