"""``evaluate --corrected``: what was corrected in place is no prediction any more."""

import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from prostate_uda.data.cache import content_hash
from prostate_uda.errors import DataError
from prostate_uda.recipes.corrections import corrections
from prostate_uda.recipes.record import write_json
from prostate_uda.recipes.scan_names import KEPT


def test_a_prediction_that_was_corrected_in_place_is_refused(tmp_path: Path) -> None:
    predicted, masks = tmp_path / "predicted", tmp_path / "masks"
    for folder in (predicted, masks):
        folder.mkdir()
    label = predicted / "a_zones.nii.gz"
    array = np.zeros((6, 6, 3), np.uint8)
    array[2:4, 2:4, 1] = 2
    nib.save(nib.Nifti1Image(array, np.diag((1.0, 1.0, 3.0, 1.0))), label)
    shutil.copy(label, masks / "a.nii.gz")
    write_json(predicted / KEPT / "a.json", {"label": content_hash(label)})
    assert corrections(predicted, masks).counts["unchanged"] == 1
    write_json(predicted / KEPT / "a.json", {"label": "what it was"})
    with pytest.raises(DataError, match="was changed since infer wrote it"):
        corrections(predicted, masks)
    with pytest.raises(DataError, match="is what infer wrote, no corrections"):
        corrections(predicted, predicted)
