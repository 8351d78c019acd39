import json
import pickle
from functools import cache
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Invertd, Orientation

from prostate_uda.data.phantom.case import make_case
from prostate_uda.data.phantom.protocols import PROTOCOLS
from prostate_uda.data.preprocessing import WorkingGrid, preprocessing, to_native
from prostate_uda.transforms import NORMALIZATIONS
from prostate_uda.transforms.body import body_mask
from prostate_uda.transforms.n4 import N4BiasFieldCorrection
from prostate_uda.transforms.normalization import no_normalization, zscore

LPS = Orientation("LPS", labels=None)
JOINED_TO_N4 = ("n4+nyul", "n4+histogram-match")  # each part has its default test; fitting N4 again is what takes long
NAMES = [pytest.param(name, marks=pytest.mark.slow if name in JOINED_TO_N4 else ()) for name in NORMALIZATIONS]
UNIT = [name for name in NAMES if name.values[0] not in ("none", "minmax")]
LEARNED = [name for name in NAMES if NORMALIZATIONS[name.values[0]].learn]


@cache
def scan(name: str, index: int) -> MetaTensor:
    case = make_case(PROTOCOLS[name], seed=5, index=index, size="small")
    image = LPS(MetaTensor(torch.from_numpy(case.image)[None].float(), affine=torch.from_numpy(case.affine)))
    image.applied_operations = []
    return image


@cache
def learned(name: str) -> str:
    learn = NORMALIZATIONS[name].learn
    return json.dumps(learn(iter([scan("phantom-3t", i) for i in range(3)])) if learn else {})


def build(name: str):
    return NORMALIZATIONS[name].build(**json.loads(learned(name)))


@pytest.mark.parametrize("name", NAMES)
def test_type_affine_and_input_are_kept_and_no_trace_is_left(name):
    image = scan("phantom-1.5t", 0)
    before = image.clone()
    out = build(name)({"image": image, "other": 1})
    assert isinstance(out["image"], MetaTensor)
    assert out["image"].dtype == torch.float32
    assert torch.equal(out["image"].affine, before.affine)
    assert out["image"].applied_operations == []
    assert out["other"] == 1
    assert torch.equal(image, before)


@pytest.mark.parametrize("name", UNIT)
@pytest.mark.parametrize("domain", PROTOCOLS)
def test_the_output_is_of_zero_mean_and_unit_variance_and_bounded(name, domain):
    image = scan(domain, 1)
    out = build(name)({"image": image})["image"][0].numpy()
    body = body_mask(image[0].numpy(), tuple(image.pixdim.tolist()))
    assert abs(out[body].mean()) < 0.35  # the z-score is of all voxels above 0, the air in the balloon too
    assert 0.75 < out[body].std() < 1.25
    assert -5 <= out.min() < out[body].mean()
    assert out.max() <= 6


@pytest.mark.parametrize("name", NAMES)
def test_the_same_bits_again_from_a_pickle_too(name):
    entry = {"image": scan("phantom-1.5t", 2)}
    one, two = build(name)(entry)["image"], pickle.loads(pickle.dumps(build(name)))(entry)["image"]
    assert torch.equal(one, two)


@pytest.mark.parametrize("name", UNIT)
def test_a_scanners_gain_is_not_seen(name):
    image, transform = scan("phantom-3t", 0), build(name)
    one, two = (transform({"image": image * gain})["image"] for gain in (1.0, 8.0))
    assert torch.allclose(one.as_tensor(), two.as_tensor(), atol=1e-2)


@pytest.mark.parametrize("name", LEARNED)
def test_the_order_of_the_images_does_not_matter(name):
    images = [scan("phantom-3t", i) for i in (2, 0, 1)]
    assert NORMALIZATIONS[name].learn(images) == json.loads(learned(name))


@pytest.mark.parametrize("name", NAMES)
def test_a_bundle_can_name_what_builds_it(name):
    build = NORMALIZATIONS[name].build
    module = __import__(build.__module__, fromlist=[build.__name__])
    assert getattr(module, build.__qualname__) is build
    assert build.__module__.startswith("prostate_uda.transforms.")


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("scan") / "t2.nii.gz"
    case = make_case(PROTOCOLS["phantom-1.5t"], seed=5, index=3, size="small")
    nib.save(nib.Nifti1Image(case.image, case.affine), path)
    return path


@pytest.mark.parametrize("name", NAMES)
def test_the_inverse_of_a_prediction_is_spatial_only(name, file):
    """Through ``Invertd`` and through ours, probabilities come back as from a pipeline that normalizes nothing."""
    grid = WorkingGrid(spacing_mm=1.5, size=96)
    probabilities = torch.rand(3, 96, 96, 12, generator=torch.Generator().manual_seed(0))
    ways = []
    for pipeline in (preprocessing(grid, no_normalization()), preprocessing(grid, build(name))):
        entry = pipeline({"image": file})
        entry["pred"] = MetaTensor(probabilities.clone(), affine=entry["image"].affine)
        inverted = Invertd("pred", pipeline, orig_keys="image", nearest_interp=False)(dict(entry))["pred"]
        ways.append((inverted.as_tensor(), to_native(probabilities, pipeline, entry)))
    assert all(torch.equal(one, two) for one, two in zip(*ways, strict=True))


def test_parts_are_applied_in_the_order_of_the_name():
    image = scan("phantom-1.5t", 1)
    by_hand = zscore()({"image": N4BiasFieldCorrection()(image)})["image"]
    assert torch.equal(build("n4")({"image": image})["image"], by_hand)
    assert np.allclose(build("zscore")({"image": image})["image"], zscore()({"image": image})["image"])


def test_only_n4_is_slow():
    assert [name for name, preset in NORMALIZATIONS.items() if preset.slow] == [n for n in NORMALIZATIONS if "n4" in n]
