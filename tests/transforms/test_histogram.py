import json
import pickle

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor
from skimage.exposure import match_histograms

from prostate_uda.errors import DataError, SettingsError
from prostate_uda.transforms.histogram import (
    MatchReferenceHistogram,
    MatchReferenceHistogramd,
    learn_references,
    quantile_vector,
)

ONE_MM = (1.0, 1.0, 1.0)


def noise(seed: int, power: float = 1.0, shape: tuple[int, ...] = (1, 16, 16, 6)) -> torch.Tensor:
    """All tissue: 200 to 800, dark values more frequent for a higher power."""
    return 200 + 600 * torch.rand(shape, generator=torch.Generator().manual_seed(seed)) ** power


def test_a_quantile_vector_by_hand():
    values = np.array([1, 2, 3, 4], dtype=np.float32).reshape(2, 2, 1).repeat(5, 2)
    assert quantile_vector(values, ONE_MM, 4) == pytest.approx((np.arange(4) - 1.5) / np.sqrt(1.25), abs=0.15)


def test_a_match_by_hand():
    image = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).repeat(8, 8)[None, ..., None].repeat(1, 1, 1, 3)
    out = MatchReferenceHistogram([[-2.0, 0.0, 0.5, 9.0]])(image)
    assert out[0, :2, :2, 0].tolist() == [[-2.0, 0.0], [0.5, 9.0]]


def test_the_match_is_scikit_images():
    bank = learn_references([noise(1, 2.0)])
    image = noise(2)
    oracle = match_histograms(image[0].double().numpy(), np.array(bank[0]).reshape(-1, 1, 1))
    assert MatchReferenceHistogram(bank)(image)[0].numpy() == pytest.approx(oracle, abs=1e-4)


def test_the_match_agrees_with_simpleitk():
    """ITK interpolates between match points of binned histograms, so it agrees to a bin or two inside."""
    reference, image = noise(1, 2.0), noise(2)
    bank = learn_references([reference])
    own = MatchReferenceHistogram(bank)(image)[0].numpy()
    as_image = sitk.GetImageFromArray(np.array(bank[0], dtype=np.float32).reshape(16, 16, 1))
    itk = sitk.HistogramMatching(sitk.GetImageFromArray(image[0].numpy()), as_image, 1024, 200, False)
    assert np.abs(own - sitk.GetArrayFromImage(itk)).max() < 0.06


def test_a_volume_matched_to_itself_is_its_z_score():
    image = noise(5)
    out = MatchReferenceHistogram(learn_references([image]))(image).double()
    zscore = (image - image.mean()) / image.std(correction=0)
    assert float((out - zscore).abs().max()) < 0.03


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.floats(0.3, 3), st.floats(0.02, 50))
def test_histogram_order_and_indifference_to_gain(seed, power, gain):
    match = MatchReferenceHistogram(learn_references([noise(1), noise(2, 2.0)]))
    image = noise(seed, power)
    out = match(image)
    chosen = match.choose(quantile_vector(image[0].numpy(), ONE_MM))
    found = np.quantile(out.numpy(), (np.arange(256) + 0.5) / 256)
    assert np.abs(found - chosen).mean() < 0.02
    assert (out.flatten()[image.flatten().argsort()].diff() >= 0).all()
    assert torch.allclose(match(image * gain), out, atol=0.02)


def test_the_nearest_reference_is_chosen_and_the_mean_is_a_barycentre():
    bank = learn_references([noise(1), noise(2, 3.0)])
    even = MatchReferenceHistogram(bank).choose(quantile_vector(noise(8)[0].numpy(), ONE_MM))
    dark = MatchReferenceHistogram(bank).choose(quantile_vector(noise(9, 3.0)[0].numpy(), ONE_MM))
    assert not np.array_equal(even, dark)
    mean = MatchReferenceHistogram(bank, "mean").choose(quantile_vector(noise(8)[0].numpy(), ONE_MM))
    assert mean == pytest.approx((even + dark) / 2)


def test_air_stays_dark_and_below_its_tissue():
    image = noise(3)
    image[0, 4:12, 4:12] = 2 * torch.rand((8, 8, 6), generator=torch.Generator().manual_seed(4))
    out = MatchReferenceHistogram(learn_references([noise(1)]))(image)
    inner = out[0, 6:10, 6:10]
    assert float(inner.max()) < float(out[0, :2].min())
    assert inner.min() > -6


@given(st.permutations(range(4)))
@settings(max_examples=8, deadline=None)
def test_the_order_of_the_images_does_not_matter(order):
    images = [noise(i, 1 + i / 2) for i in range(4)]
    assert learn_references([images[i] for i in order]) == learn_references(images)


def test_json_holds_a_bank():
    bank = learn_references([noise(1), noise(2)])
    assert json.loads(json.dumps(bank)) == bank


def test_meta_data_batches_and_pickles():
    bank = learn_references([noise(1)])
    match = MatchReferenceHistogramd(["image", "missing"], bank, allow_missing_keys=True)
    image = MetaTensor(noise(2), affine=torch.diag(torch.tensor([0.5, 0.5, 3.0, 1.0])), meta={"name": "a"})
    out = pickle.loads(pickle.dumps(match))({"image": image})["image"]
    assert isinstance(out, MetaTensor)
    assert torch.equal(out.affine, image.affine)
    assert out.meta["name"] == "a"
    assert out.applied_operations == []
    array = MatchReferenceHistogram(bank)
    batch = torch.stack([noise(1), 3 * noise(2, 2.0)])
    assert torch.equal(array(batch), torch.stack([array(batch[0]), array(batch[1])]))


@pytest.mark.parametrize(
    "bank", [[], [[1.0]], [[0.0, 1.0], [0.0, 1.0, 2.0]], [[1.0, 0.0]], [[1.0, 1.0]], [[0, np.nan]]]
)
def test_what_is_no_bank_is_refused(bank):
    with pytest.raises(SettingsError, match="reference"):
        MatchReferenceHistogram(bank)


def test_other_mistakes_are_refused():
    with pytest.raises(SettingsError, match="nearest or mean"):
        MatchReferenceHistogram([[0.0, 1.0]], "median")
    with pytest.raises(DataError, match="no image"):
        learn_references([])
    with pytest.raises(DataError, match="one brightness"):
        MatchReferenceHistogram([[0.0, 1.0]])(torch.ones(1, 4, 4, 2))
