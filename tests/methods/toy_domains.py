"""A source and a target with the same three classes and another look, for some steps of a small network."""

import torch
from torch import Tensor
from torch.nn import functional

from prostate_uda.data.batch import Batch
from prostate_uda.methods import Method, State, build_method
from prostate_uda.networks import DeepLab
from prostate_uda.networks.optimization import Optimization
from tests.builders import tiny_deeplab

ADAM = Optimization(learning_rate=1e-2, power=0.0)
IMAGES = 4


def scene(seed: int) -> tuple[Tensor, Tensor]:
    """``(4, 1, 32, 32)`` images of four quarters with a class each, and their ``(4, 32, 32)`` classes; 2 is rare."""
    rng = torch.Generator().manual_seed(seed)
    drawn = torch.multinomial(torch.tensor([0.5, 0.35, 0.15]), IMAGES * 4, replacement=True, generator=rng)
    label = drawn.view(IMAGES, 2, 2).repeat_interleave(16, dim=1).repeat_interleave(16, dim=2)
    clean = torch.tensor([-1.0, 0.5, 2.0])[label]
    return (clean + 0.3 * torch.randn(label.shape, generator=rng))[:, None], label


def toy_source(seed: int) -> Batch:
    """The quarters as they are."""
    image, label = scene(seed)
    return Batch(image, label, index=torch.arange(IMAGES))


def toy_target(seed: int) -> Batch:
    """Other quarters, fainter towards the right, with their true classes."""
    image, label = scene(1000 + seed)
    return Batch(image * torch.linspace(1.2, 0.3, 32) + 0.5, label, index=torch.arange(IMAGES))


def small() -> DeepLab:
    """A network that can learn the toy within some ten steps."""
    return tiny_deeplab(widths=(8, 8, 8, 8))


def run(method: Method, steps: int, network: DeepLab, **given: object) -> State:
    """That many steps on the toy's batches."""
    state = method.prepare(network, ADAM, **given)  # type: ignore[arg-type]
    for step in range(steps):
        method.step(state, toy_source(step), toy_target(step))
    return state


def taught(steps: int = 15) -> DeepLab:
    """The small network after some steps on the source."""
    network = small()
    run(build_method("source-only"), steps, network)
    return network


def seen(state: State, shown: Batch) -> Tensor:
    """The deepest logits ``(B, C, H, W)`` for a batch, normalized by its own statistics; nothing moves."""
    copy = small()
    copy.load_state_dict(state.network.state_dict())
    with torch.no_grad():
        logits: Tensor = copy.train()(shown.image).final
    return logits


def mistaken(state: State, batches: list[Batch]) -> float:
    """Mean cross-entropy with the batches' labels."""
    return sum(float(functional.cross_entropy(seen(state, one), one.label)) for one in batches) / len(batches)
