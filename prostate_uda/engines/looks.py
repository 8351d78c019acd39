"""Floor 4: which classes a network predicts on the target, looked at now and then on the same few images.

What it costs: a forward pass over :data:`SHOWN` images, without slopes, where a checkpoint is due.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from prostate_uda.data.slices import BatchStream
from prostate_uda.engines.guards import vanished
from prostate_uda.methods.base import forward

SHOWN = 16
"""Images of a look: of fewer, the rarer of 19 classes are in some batches and not in others."""
GOLDEN = (5**0.5 - 1) / 2
"""Its multiples fall evenly into [0, 1), and never in step with the number of slices of a case."""


class Sample:
    """The same images of a stream each time it is gone through, as they are, in chunks of the stream's batches.

    Args:
        stream: Whose images; of one that does not say what it draws from, its first batch.
    """

    def __init__(self, stream: BatchStream) -> None:
        self.stream = stream
        self.images = getattr(stream, "slices", None)
        self.first = [stream.at(0).image] if self.images is None else []

    def __iter__(self) -> Iterator[Tensor]:
        """``(B, k, H, W)`` each."""
        if self.images is None:
            yield from self.first
            return
        for index in torch.split(spread(len(self.images)), self.stream.batch_size):
            yield self.images.stack(index, self.stream.depth)


def spread(length: int, count: int = SHOWN) -> Tensor:
    """``count`` of the numbers below ``length``, or all of them: one of each of so many equal stretches.

    Args:
        length: At least 1.
        count: At least 1.

    Returns:
        ``(min(count, length),)`` int64, rising.
    """
    stretches = torch.arange(length).tensor_split(min(count, length))
    return torch.stack([part[int(len(part) * (place * GOLDEN % 1))] for place, part in enumerate(stretches, start=1)])


class Looks:
    """Which classes a network predicts on the target, looked at now and then.

    Args:
        count: In how many looks in a row a lost class is not predicted.
        images: Of the target, ``(B, k, H, W)`` each; gone through once in each look.
        names: Of the classes; ``class 0`` and so on where they are left out.
    """

    def __init__(self, count: int, images: Iterable[Tensor], names: Sequence[str] = ()) -> None:
        self.images, self.names, self.recent = images, tuple(names), deque[Tensor](maxlen=count)
        self.seen: set[str] = set()
        self.lost: list[str] = []

    def look(self, network: nn.Module) -> list[str]:
        """Which classes are lost since the look before; :attr:`lost` names all that are.

        Args:
            network: Left as it is.
        """
        counts = torch.stack([predicted(network, image) for image in self.images]).sum(dim=0)
        names = self.names or tuple(f"class {number}" for number in range(len(counts)))
        self.seen |= set(names) - set(vanished(counts, names))
        self.recent.append(counts)
        before, full = self.lost, len(self.recent) == self.recent.maxlen
        gone = vanished(torch.stack(list(self.recent)).sum(dim=0), names) if full else []
        self.lost = [name for name in gone if name in self.seen]
        return [name for name in self.lost if name not in before]

    def state_dict(self) -> dict[str, Any]:
        """What is known, as a checkpoint holds it."""
        return {"recent": list(self.recent), "seen": sorted(self.seen), "lost": list(self.lost)}

    def load_state_dict(self, content: Mapping[str, Any]) -> None:
        """Know what :meth:`state_dict` gave, and nothing else."""
        self.recent = deque(content["recent"], maxlen=self.recent.maxlen)
        self.seen, self.lost = set(content["seen"]), list(content["lost"])


def predicted(network: nn.Module, image: Tensor) -> Tensor:
    """``(C,)`` int64 on the CPU: of how many pixels the network says which class, as it would be judged.

    Args:
        network: Returns :class:`~prostate_uda.networks.levels.Levels`; weights, statistics and mode stay as they are.
        image: ``(B, k, H, W)``, anywhere.
    """
    training, device = network.training, next(network.parameters()).device
    network.eval()
    with torch.no_grad():
        logits = forward(network, image.to(device)).final
    network.train(training)
    return logits.argmax(dim=1).flatten().cpu().bincount(minlength=logits.shape[1])
