"""Floor 2: on which side of its kinks a network is, so that it can be run again on that side with other weights.

A network of convolutions, batch-norm, ReLU and max pooling is smooth but for the kinks of the last two. Where a pass
replays the choices of another (which values a ReLU let through, which entry a pooling took), a difference of the two is
that of a smooth function, whose derivative at the recorded weights is the network's own.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

INPLACE = frozenset({torch.relu_, Tensor.relu_})
RELU = frozenset({functional.relu, torch.relu, Tensor.relu, *INPLACE})
MAX_POOL = frozenset({functional.max_pool2d, torch.max_pool2d})


class Gates:
    """The choices of one pass, in the order in which they were made."""

    def __init__(self) -> None:
        self._seen: list[Tensor] = []

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Remember what the pass in this block chooses. ReLU's outputs are held, which its backward pass does too."""
        self._seen = []
        with _Mode(self._record_relu, self._record_pool):
            yield

    @contextmanager
    def replaying(self) -> Iterator[None]:
        """Make the pass in this block, through the same network at the same size, choose as the recorded one did."""
        seen = iter(self._seen)

        def relu(image: Tensor, inplace: bool) -> Tensor:
            open_ = next(seen) > 0
            return image.mul_(open_) if inplace else image * open_

        def pool(image: Tensor, *_: object, **__: object) -> Tensor:
            taken = next(seen)
            return image.flatten(2).gather(2, taken.flatten(2)).view_as(taken)

        with _Mode(relu, pool):
            yield

    def same(self) -> AbstractContextManager[None]:
        """The first of several passes records, the others replay."""
        return self.replaying() if self._seen else self.recording()

    def compact(self) -> None:
        """Hold a byte per choice instead of ReLU's outputs, once the backward pass no longer needs them."""
        self._seen = [value > 0 if value.is_floating_point() else value for value in self._seen]

    def _record_relu(self, image: Tensor, inplace: bool) -> Tensor:
        through = functional.relu(image, inplace)
        self._seen.append(through if torch.is_grad_enabled() else through > 0)
        return through

    def _record_pool(self, image: Tensor, *sizes: Any, **more: Any) -> Tensor:  # noqa: ANN401  as max_pool2d takes them
        more.pop("return_indices", None)
        pooled, taken = functional.max_pool2d_with_indices(image, *sizes, **more)
        self._seen.append(taken)
        return pooled


class _Mode(TorchFunctionMode):
    """Calls these in place of ReLU and max pooling, and everything else as it is."""

    def __init__(self, relu: Callable[[Tensor, bool], Tensor], pool: Callable[..., Tensor]) -> None:
        super().__init__()
        self.relu, self.pool = relu, pool

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        given = kwargs or {}
        if func in RELU:
            return self.relu(args[0], func in INPLACE or any(args[1:]) or bool(given.get("inplace")))
        if func in MAX_POOL:
            return self.pool(*args, **given)
        return func(*args, **given)
