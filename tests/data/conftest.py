"""A scan that tests of volumes read and write."""

import nibabel as nib
import pytest


@pytest.fixture
def saved(tmp_path, voxels, oblique_affine):
    """An oblique NIfTI whose qform and sform carry different codes."""
    image = nib.Nifti1Image(voxels, oblique_affine)
    image.set_qform(oblique_affine, code=1)
    image.set_sform(oblique_affine, code=3)
    nib.save(image, tmp_path / "scan.nii.gz")
    return tmp_path / "scan.nii.gz"
