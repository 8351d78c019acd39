"""Small things that many tests are made of."""

import torch
from torch import Tensor

from prostate_uda.data.batch import Batch
from prostate_uda.maths.losses import IGNORE
from prostate_uda.methods import TEACHERS, Method
from prostate_uda.networks import DeepLab
from prostate_uda.networks.teacher import Teacher


def tiny_deeplab(seed: int = 0, **changes: object) -> DeepLab:
    """Two levels, batch norm, some ten thousand weights; the least image is 32 pixels a side."""
    settings: dict[str, object] = {
        "in_channels": 1,
        "num_classes": 3,
        "depth": 18,
        "widths": (4, 4, 4, 4),
        "dilations": (1, 2),
        "generator": torch.Generator().manual_seed(seed),
    }
    return DeepLab(**{**settings, **changes})  # type: ignore[arg-type]


def tiny_teacher(seed: int = 0, **changes: object) -> Teacher:
    """A tiny network that has made pseudo-labels by unlike thresholds."""
    return Teacher(
        tiny_deeplab(seed, **changes),
        torch.tensor([0.9, 0.4, 0.6]),
        torch.tensor([[90, 5, 5], [20, 60, 20], [10, 5, 80]]),
    )


def asked_teacher(method: Method, seed: int = 0) -> Teacher | None:
    """A tiny teacher with all that a method asks of it; None where it asks for none."""
    if not TEACHERS & method.needs:
        return None
    teacher = tiny_teacher(seed)
    if "survey" in method.needs:
        teacher.survey = method.survey([random_batch(300)], [random_batch(301)], teacher)
    return teacher


def random_batch(seed: int) -> Batch:
    """Two images of noise with labels of noise, a fifth of them IGNORE."""
    rng = torch.Generator().manual_seed(seed)
    label = torch.randint(3, (2, 32, 32), generator=rng)
    label[torch.rand(label.shape, generator=rng) < 0.2] = IGNORE
    return Batch(torch.randn(2, 1, 32, 32, generator=rng), label, index=torch.arange(2))


def two_classes(*confidences: float) -> Tensor:
    """Pixels that are predicted as class 0 with these confidences, ``(2, n)``."""
    sure = torch.tensor(confidences)
    return torch.stack([sure, 1 - sure])
