"""A network asked window by window."""

import torch
from torch import Tensor, nn

from prostate_uda.networks import FinalLogits
from prostate_uda.networks.voting import Voting
from tests.builders import tiny_deeplab


class ByWidth(nn.Module):
    """Says class 1 of a whole 48-wide image, and of a part the class that stands in its first pixel."""

    def forward(self, image: Tensor) -> Tensor:
        said = torch.full(image.shape[:1], 1) if image.shape[-1] == 48 else image[:, 0, 0, 0].long()
        vote = nn.functional.one_hot(said, 3).float() * 200
        return vote[:, :, None, None].expand(-1, -1, *image.shape[-2:])


class WrongMiddle(nn.Module):
    """Sees the class in every pixel, but in the middle of whatever it is shown it says class 2."""

    def forward(self, image: Tensor) -> Tensor:
        said = image[:, 0].long().clone()
        height, width = said.shape[-2:]
        said[:, height // 4 : -height // 4, width // 4 : -width // 4] = 2
        return nn.functional.one_hot(said, 3).movedim(-1, 1).float() * 50


def test_shares_of_votes_by_hand() -> None:
    image = torch.zeros(1, 1, 32, 48)
    image[..., 16:] = 2  # what the right window begins with
    found = Voting(ByWidth(), scales=(1.0,), overlap=0.5, hard=True)(image).softmax(dim=1)[0, :, 0]
    third, half = 1 / 3, 0.5
    expected = torch.tensor([[half, half, 0.0], [third, third, third], [0.0, half, half]])
    torch.testing.assert_close(found[:, [0, 20, 40]].t(), expected)
    torch.testing.assert_close(found.sum(dim=0), torch.ones(48))


def test_what_hangs_on_the_place_is_outvoted() -> None:
    image = (torch.arange(64) // 20 % 2).float().expand(1, 1, 64, 64).contiguous()
    truth = image[:, 0].long()
    alone = WrongMiddle()(image).argmax(dim=1)
    voted = Voting(WrongMiddle(), scales=(0.5,), overlap=0.75, hard=True)(image).argmax(dim=1)
    assert int((alone != truth).sum()) == 32 * 32
    assert torch.equal(voted, truth)


def test_a_network_that_looks_at_pixels_alone_says_the_same_by_vote() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        pixelwise, image = nn.Conv2d(3, 5, 1), torch.randn(2, 3, 40, 72)
    with torch.no_grad():
        soft = Voting(pixelwise, scales=(0.75, 0.5), overlap=0.5, hard=False)(image)
        hard = Voting(pixelwise, scales=(0.75, 0.5), overlap=0.5, hard=True)(image)
        plain = pixelwise(image)
    torch.testing.assert_close(soft.softmax(dim=1), plain.softmax(dim=1))
    assert torch.equal(hard.argmax(dim=1), plain.argmax(dim=1))
    assert float(hard.softmax(dim=1).amax(dim=1).min()) > 0.999


def test_a_real_network_with_other_channels_and_classes() -> None:
    network = tiny_deeplab(in_channels=3, num_classes=19)
    image = torch.randn(1, 3, 64, 80, generator=torch.Generator().manual_seed(0))
    voting = Voting(FinalLogits(network), scales=(0.75, 0.5), overlap=0.5, hard=True).eval()
    assert not network.training
    with torch.inference_mode():
        shares = voting(image).softmax(dim=1)
    assert shares.shape == (1, 19, 64, 80)
    assert shares.dtype == torch.float32
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(1, 64, 80))
