"""What MONAI Label's server does with a bundle, step by step; MONAI Label itself wants an environment of its own."""

from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.transforms import SaveImaged

from tests.bundles.conftest import network, write
from tests.bundles.test_bundle_folder import scan


def test_a_request_goes_through_the_bundle(tmp_path: Path) -> None:
    """The request's own entries stay, the shape in the metadata is an array, and labels are on the scan's grid."""
    image = scan(tmp_path / "one.nii.gz")
    parser = ConfigParser()
    parser.read_config(write(tmp_path / "bundle") / "configs" / "inference.json")
    request = {"model": "prostate_zones_uda", "device": "cpu", "description": "…", "model_filename": ["model.pt"]}
    data = {**request, "image": str(tmp_path / "one.nii.gz"), "image_path": str(tmp_path / "one.nii.gz")}
    for transform in parser.get_parsed_content("preprocessing").transforms:
        data = transform(data)
    assert data["image_path"] == str(tmp_path / "one.nii.gz")
    assert request.items() <= data.items()
    with torch.no_grad():
        data["pred"] = parser.get_parsed_content("inferer")(data["image"][None], network())[0]
    for transform in parser.get_parsed_content("postprocessing").transforms:
        if not isinstance(transform, SaveImaged):
            data = transform(data)
    shape = data["image"].meta["spatial_shape"]
    assert not np.any(np.not_equal(data["pred"].shape[1:], shape[-3:]))  # so the server compares the two
    assert np.allclose(data["image"].meta["original_affine"], nib.load(tmp_path / "one.nii.gz").affine, atol=1e-5)
    assert data["pred"].shape[1:] == image.shape
    assert set(torch.unique(data["pred"]).tolist()) == {0, 1, 2}
