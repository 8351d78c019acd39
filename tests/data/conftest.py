"""Miniature scans that tests of files are made of."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

MakeSeries = Callable[..., Path]


def oblique() -> np.ndarray:
    """An affine turned about two axes: 0.7 × 0.7 × 3 mm, axes LPS."""
    a, b = np.deg2rad(12), np.deg2rad(-8)
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_z = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = about_x @ about_z @ np.diag((-0.7, -0.7, 3.0))
    affine[:3, 3] = (31.5, 40.25, -12.0)
    return affine


def _series(
    folder: Path,
    array: np.ndarray,
    *,
    uid: str = "1.2.826.0.1.3680043.2.1125.1",
    study: str = "1.2.826.0.1.3680043.2.1125.2",
    description: str = "t2_tse_tra",
    affine: np.ndarray | None = None,
    leave_out: tuple[int, ...] = (),
) -> Path:
    """Write ``(X, Y, Z)`` uint16 as a DICOM series, one file per slice, file order unlike slice order."""
    folder.mkdir(parents=True, exist_ok=True)
    lps = np.diag((-1.0, -1.0, 1.0, 1.0)) @ (oblique() if affine is None else affine)
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    direction = lps[:3, :3] / spacing
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for k in set(range(array.shape[2])) - set(leave_out):
        image = sitk.GetImageFromArray(np.ascontiguousarray(array[:, :, k].T.astype(np.uint16)))
        image.SetSpacing([float(spacing[0]), float(spacing[1])])
        tags = {
            "0008|0060": "MR",
            "0008|0018": f"{uid}.{k + 1}",
            "0020|000e": uid,
            "0020|000d": study,
            "0008|103e": description,
            "0010|0020": "anonymous",
            "0020|0013": str(k + 1),
            "0018|0050": f"{spacing[2]:.6f}",
            "0020|0032": "\\".join(f"{v:.10f}" for v in lps[:3, 3] + k * lps[:3, 2]),
            "0020|0037": "\\".join(f"{v:.10f}" for v in (*direction[:, 0], *direction[:, 1])),
        }
        for tag, value in tags.items():
            image.SetMetaData(tag, value)
        writer.SetFileName(str(folder / f"{array.shape[2] - k:03d}.dcm"))
        writer.Execute(image)
    return folder


@pytest.fixture(scope="session")
def make_series() -> MakeSeries:
    return _series


@pytest.fixture(scope="session")
def oblique_affine() -> np.ndarray:
    return oblique()


@pytest.fixture(scope="session")
def voxels() -> np.ndarray:
    """``(10, 8, 5)`` uint16, every voxel another value."""
    return np.arange(400, dtype=np.uint16).reshape(10, 8, 5)
