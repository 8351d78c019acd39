"""Volume of a mask: by hand and against SimpleITK."""

import numpy as np
import pytest
import SimpleITK
import torch

from prostate_uda.errors import SettingsError, ShapeError
from prostate_uda.metrics import volume_ml


def test_by_hand() -> None:
    mask = torch.zeros(4, 10, 10, dtype=torch.bool)
    mask[1:3, 2:7, 3:8] = True  # 50 voxels of 2 mm³
    assert volume_ml(mask, (2.0, 1.0, 1.0)) == pytest.approx(0.1)
    assert volume_ml(mask & ~mask, (2.0, 1.0, 1.0)) == 0


def test_agrees_with_simpleitk() -> None:
    mask = torch.rand(5, 6, 7, generator=torch.Generator().manual_seed(0)) > 0.5
    image = SimpleITK.GetImageFromArray(mask.numpy().astype(np.uint8))
    image.SetSpacing((0.5, 0.6, 3.0))
    oracle = SimpleITK.LabelShapeStatisticsImageFilter()
    oracle.Execute(image)
    assert volume_ml(mask, (3.0, 0.6, 0.5)) == pytest.approx(oracle.GetPhysicalSize(1) / 1000)


def test_mistakes_are_told() -> None:
    with pytest.raises(ShapeError, match="boolean"):
        volume_ml(torch.ones(2, 2, 2), (1.0, 1.0, 1.0))
    with pytest.raises(SettingsError, match="one positive number per axis"):
        volume_ml(torch.ones(2, 2, 2, dtype=torch.bool), (1.0, 1.0, -1.0))
