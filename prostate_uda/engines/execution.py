"""Floor 4: how a step is computed: precision, memory layout, and batches that are made while it computes.

``torch.compile`` is not among them; docs/performance.md says why.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_args

import torch

from prostate_uda.errors import SettingsError
from prostate_uda.methods.base import State

Made = TypeVar("Made")
Precision = Literal["float32", "tf32", "bf16"]


@dataclass(frozen=True, kw_only=True)
class Execution:
    """How the steps of a stage are computed.

    Attributes:
        precision: ``float32``; ``tf32``, whose products on a GPU have 10 bits behind the point, too few for a
            finite-difference meta step (docs/performance.md); or ``bf16``: convolutions under autocast. Weights, losses
            and checkpoints stay float32.
        channels_last: Whether images and the weights of convolutions lie in memory with the channels last.
        prefetch: Batches made ahead of the step that needs them, in a thread of their own; 0 makes each when needed.

    Raises:
        SettingsError: a precision that is not offered, or fewer than no batch.
    """

    precision: Precision = "float32"
    channels_last: bool = False
    prefetch: int = 2

    def __post_init__(self) -> None:
        if self.precision not in get_args(Precision):
            raise SettingsError(
                f"precision {self.precision!r}; choose float32, tf32 or bf16 (float16 would need loss scaling)"
            )
        if self.prefetch < 0:
            raise SettingsError(f"prefetch is {self.prefetch}; allowed is 0 or more batches")

    @property
    def trainer_options(self) -> dict[str, Any]:
        """What :class:`~prostate_uda.engines.trainer.AdaptationTrainer` is told; the names are MONAI's."""
        layout = {"memory_format": torch.channels_last} if self.channels_last else {}
        return {"amp": self.precision == "bf16", "to_kwargs": layout, "non_blocking": True}

    @contextmanager
    def products(self) -> Iterator[None]:
        """Products of a GPU in the precision asked for: torch's own default rounds those of convolutions to TF32."""
        convolutions, matrices = torch.backends.cudnn, torch.backends.cuda.matmul
        before = convolutions.allow_tf32, matrices.allow_tf32
        try:
            convolutions.allow_tf32 = matrices.allow_tf32 = self.precision != "float32"
            yield
        finally:
            convolutions.allow_tf32, matrices.allow_tf32 = before

    def lay_out(self, state: State) -> None:
        """Give the weights the layout asked for; values, names and the optimizers' hold on them stay."""
        if self.channels_last:
            _lay_out(state, torch.channels_last)

    def lay_back(self, state: State) -> None:
        """Undo :meth:`lay_out`, so that the network predicts here what it predicts when read from its file."""
        if self.channels_last:
            _lay_out(state, torch.contiguous_format)


def _lay_out(state: State, layout: torch.memory_format) -> None:
    for module in (state.network, *state.modules.values(), *state.frozen.values()):
        module.to(memory_format=layout)  # type: ignore[call-overload]  # torch declares it for 4D tensors alone


def autocast(device: torch.device, options: Mapping[str, Any]) -> AbstractContextManager[None]:
    """Autocast to bfloat16 for one step.

    Casts of weights are not kept between the passes of a step: a step that moves a weight and runs the network again
    would get the old one.

    Args:
        device: Where the step computes.
        options: Of :class:`torch.autocast`, in place of the above.

    Raises:
        SettingsError: another dtype.
    """
    chosen = {"dtype": torch.bfloat16, "cache_enabled": False, **options}
    if chosen["dtype"] != torch.bfloat16:
        raise SettingsError(
            f"autocast to {chosen['dtype']}; choose torch.bfloat16 (float16 would need loss scaling, which a step with "
            "several backward passes has no place for)"
        )
    return torch.autocast(device.type, **chosen)


def ahead(make: Callable[[int], Made], steps: Iterable[int], count: int) -> Generator[Made]:
    """``make(step)`` for every step, in order, up to ``count`` of them made before they are asked for.

    One thread makes them, one after another, so ``make`` needs no lock. What it raises is raised here, when its step
    is asked for. The thread ends with the iterator: run it out, or close it (``contextlib.closing``).

    Args:
        make: Depends on nothing but the step.
        steps: Which.
        count: 0 makes each one when it is asked for, in the caller's own thread.
    """
    if count == 0:
        yield from map(make, steps)
        return
    pool = ThreadPoolExecutor(1, thread_name_prefix="batches")
    waiting: deque[Future[Made]] = deque()
    try:
        for step in steps:
            waiting.append(pool.submit(make, step))
            if len(waiting) > count:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
