"""Landmarks and standardized images by torchio, which is no dependency of ours.

    python -m venv /tmp/tio && /tmp/tio/bin/pip install torchio==1.2.1
    /tmp/tio/bin/python tests/golden/make_nyul.py

writes ``tests/golden/nyul.json``. torchio learns quartiles too but maps by the deciles and the two ends, as we do.
"""

import json
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
import torchio

DECILES_AND_ENDS = [0, 1, 2, 4, 5, 6, 7, 8, 10, 11, 12]
CUTOFF = (0.01, 0.99)


def main() -> None:
    """Make three images whose voxels are all tissue, learn, map each, write."""
    rng = np.random.default_rng(20260101)
    shape = (8, 8, 4)
    images = [
        np.rint(300 + 200 * rng.gamma(2.0 + i, 0.5, shape) + 60 * i * rng.normal(size=shape).clip(-1.5, 3))
        for i in range(3)
    ]
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{i}.nii" for i in range(3)]
        for path, image in zip(paths, images, strict=True):
            nib.save(nib.Nifti1Image(image.astype(np.float32), np.eye(4)), path)
        landmarks = torchio.HistogramStandardization.train(paths, cutoff=CUTOFF, progress=False)
    standardize = torchio.HistogramStandardization({"t2": landmarks})  # maps with the same cutoff
    mapped = []
    for image in images:
        scan = torchio.ScalarImage(tensor=torch.from_numpy(image.astype(np.float32))[None])
        mapped.append(standardize(torchio.Subject(t2=scan)).t2.data[0].numpy())
    content = {
        "command": "python tests/golden/make_nyul.py",
        "library": f"torchio {torchio.__version__}",
        "images": [image.astype(int).tolist() for image in images],
        "landmarks": landmarks[DECILES_AND_ENDS].tolist(),
        "mapped": [[[[round(float(v), 4) for v in z] for z in y] for y in x] for x in mapped],
    }
    target = Path(__file__).with_name("nyul.json")
    target.write_text(json.dumps(content, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
