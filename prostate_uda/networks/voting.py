"""Floor 2: a network asked about overlapping parts of an image instead of the image once."""

from torch import Tensor, nn

from prostate_uda.maths.losses import safe_log
from prostate_uda.maths.votes import ballot, windows
from prostate_uda.networks.deeplab import SMALLEST_SIDE


class Voting(nn.Module):
    """A network whose answer for a pixel is the vote of all windows that see it.

    Source: Iqbal and Ali, WACV 2020 (SISC); see :mod:`prostate_uda.maths.votes`.

    Args:
        network: ``(B, k, h, w)`` images of any size to ``(B, C, h, w)`` logits. It is shared, not copied.
        scales: Sides of the windows as shares of the image's shorter side.
        overlap: Share of a side that neighbouring windows have in common at least.
        hard: Whether a window votes for its likeliest class alone, or by its probabilities.
    """

    def __init__(self, network: nn.Module, *, scales: tuple[float, ...], overlap: float, hard: bool) -> None:
        super().__init__()
        self.network = network
        self.scales, self.overlap, self.hard = scales, overlap, hard

    def forward(self, image: Tensor) -> Tensor:
        """``(B, C, H, W)`` logarithms of the shares of votes, whose softmax is the shares.

        Args:
            image: ``(B, k, H, W)``.

        Raises:
            ShapeError: as the network.
        """
        height, width = image.shape[-2:]
        _, *parts = windows(height, width, self.scales, self.overlap, SMALLEST_SIDE)
        votes = ballot(self.network(image), self.hard)
        seen = votes.new_ones(height, width)
        for top, bottom, left, right in parts:
            cast = ballot(self.network(image[..., top:bottom, left:right]), self.hard)
            votes[..., top:bottom, left:right] += cast
            seen[top:bottom, left:right] += 1
        return safe_log(votes / seen)
