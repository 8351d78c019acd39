"""What benchmark scripts of single steps share: a warm network and a batch, and what a method's step takes there.

Time is the median over turns of the ratio within a turn, so that a machine that slows down slows down all. Memory is
the peak of what tensors hold during a step: weights, gradients, optimizer state, activations, and networks that the
method brings or looks at.

The networks' residual branches start at a gain of 0.2 (near zero, as in Goyal et al. 2017), and a few steps of
self-training precede: as deep networks are drawn at random, G in float32 is round-off, whichever way it is computed.
"""

import copy
import statistics
import time
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.profiler import ProfilerActivity, profile

from prostate_uda.data.batch import Batch
from prostate_uda.engines.execution import Execution, autocast
from prostate_uda.methods import TEACHERS, AdaptSegNet, Method, Optimization, SelfTraining, State, build_method
from prostate_uda.networks import DomainPredictor, build_network
from prostate_uda.networks.teacher import Teacher

Key = TypeVar("Key")
PLAIN = "self-training"
GAIN, WARM = 0.2, 4


@dataclass(frozen=True, kw_only=True)
class Workload:
    """What a step is of.

    Attributes:
        network: Name in ``NETWORKS``.
        shape: ``(H, W)`` of an image, in pixels.
        batch: Images per domain.
        channels: Of an image.
        classes: Of its label.
        optimization: How parameters move.
        execution: In which precision and layout.
    """

    network: str
    shape: tuple[int, int]
    batch: int
    channels: int = 1
    classes: int = 3
    optimization: Optimization = field(default_factory=Optimization)
    execution: Execution = field(default_factory=Execution)

    @classmethod
    def of_slices(cls, network: str, size: int, execution: Execution, batch: int | None = None) -> "Workload":
        """Square slices with two zones.

        Args:
            network: Name in ``NETWORKS``.
            size: Pixels a side.
            execution: In which precision.
            batch: Images per domain, where the usual number is not wanted.
        """
        batch = batch or (8 if network == "deeplab-small" else 2 if size < 256 else 1)
        return cls(network=network, shape=(size, size), batch=batch, execution=execution)


@dataclass(frozen=True)
class Cost:
    """Of one step.

    Attributes:
        time_ratio: Seconds over those of the plain step.
        memory_ratio: Peak over that of the plain step.
        step_s: Seconds.
        peak_MB: What tensors hold at most.
    """

    time_ratio: float
    memory_ratio: float
    step_s: float
    peak_MB: float  # noqa: N815  the unit

    def rounded(self) -> dict[str, float]:
        """As it is written down."""
        digits = {"time_ratio": 3, "memory_ratio": 3, "step_s": 4, "peak_MB": 1}
        return {name: round(value, digits[name]) for name, value in asdict(self).items()}


class StepBench:
    """A warm network and a batch of each domain.

    Args:
        load: What a step is of.
        device: Where.
    """

    def __init__(self, load: Workload, device: torch.device) -> None:
        self.load, self.device = load, device
        layout: dict[str, Any] = load.execution.trainer_options["to_kwargs"]
        self.source, self.target = (blobs(seed, load).to(device, **layout) for seed in (1, 2))
        self.network = self.warmed()

    def warmed(self) -> nn.Module:
        """The network after a few steps of self-training."""
        generator, load = torch.Generator().manual_seed(0), self.load
        network = build_network(load.network, in_channels=load.channels, num_classes=load.classes, generator=generator)
        for name, module in network.backbone.named_modules():
            if name.endswith(("0", "1", "2", "3", "4", "5")) and hasattr(module, "bn2"):  # the last norm of a block
                nn.init.constant_(getattr(module, "bn3", module.bn2).weight, GAIN)
        network = network.to(self.device)
        plain = SelfTraining()
        state = plain.prepare(network, Optimization(learning_rate=1e-4))
        for _ in range(WARM):
            plain.step(state, self.source, self.target)
        return network

    def autocast(self) -> AbstractContextManager[None]:
        """The precision that was asked for."""
        return autocast(self.device, {}) if self.load.execution.precision == "bf16" else nullcontext()

    def prepared(self, method: Method) -> State:
        """The method's state on a copy of the warm network, with what it needs of the size that a run would give it."""
        network = copy.deepcopy(self.network)
        needed: dict[str, Any] = {}
        if "domain_predictor" in method.needs:
            judge = AdaptSegNet().prepare(network, Optimization()).modules["discriminator"]
            needed["domain_predictor"] = DomainPredictor(copy.deepcopy(network), judge)
        if TEACHERS & method.needs:
            teacher = Teacher(network, torch.full((self.load.classes,), 0.5), torch.eye(self.load.classes))
            if "survey" in method.needs:
                teacher.survey = method.survey([self.source], [self.target], teacher)
            needed["teacher"] = teacher
        state = method.prepare(network, self.load.optimization, **needed)
        self.load.execution.lay_out(state)
        return state

    def step(self, method: Method, state: State) -> None:
        """One step, to its end."""
        with self.autocast():
            method.step(state, self.source, self.target)
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def seconds(self, method: Method, state: State) -> float:
        """Of one step."""
        start = time.perf_counter()
        self.step(method, state)
        return time.perf_counter() - start

    def peak(self, method: Method, state: State) -> int:
        """Most bytes that tensors hold during a step, the network and its optimizer included."""
        self.step(method, state)
        for parameter in state.network.parameters():
            parameter.grad = None
        held = resident(state) + sum(one.nbytes for b in (self.source, self.target) for one in (b.image, b.label))
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
            before = torch.cuda.memory_allocated(self.device)
            self.step(method, state)
            return held + torch.cuda.max_memory_allocated(self.device) - before
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
            self.step(method, state)
        return held + highest(profiler)

    def costs(self, ready: Mapping[Key, tuple[Method, State]], plain: Key, turns: int) -> dict[Key, Cost]:
        """What a step of each costs beside that of the plain one, in turns, on the same batch.

        Args:
            ready: Methods and their states.
            plain: Which of them the others are compared with.
            turns: How many.
        """
        with self.load.execution.products():
            # the first step also makes the optimizers' state
            peaks = {key: self.peak(*one) + beside(one[1]) for key, one in ready.items()}
            taken = [{key: self.seconds(*one) for key, one in ready.items()} for _ in range(turns)]
        return {
            key: Cost(
                time_ratio=statistics.median(turn[key] / turn[plain] for turn in taken),
                memory_ratio=peaks[key] / peaks[plain],
                step_s=statistics.median(turn[key] for turn in taken),
                peak_MB=peaks[key] / 1e6,
            )
            for key in ready
        }

    def method_costs(self, names: Iterable[str], turns: int) -> dict[str, Cost]:
        """:meth:`costs` of methods with their published settings, beside plain self-training's, which is one of them.

        Args:
            names: In ``METHODS``.
            turns: How many.
        """
        methods = {name: build_method(name) for name in names}
        ready = {name: (method, self.prepared(method)) for name, method in methods.items()}
        return self.costs(ready, PLAIN, turns)


def blobs(seed: int, load: Workload) -> Batch:
    """Smooth noise, and as label which band it is in: half of it in the first, the others of equal height above."""
    generator = torch.Generator().manual_seed(seed)
    smooth = functional.avg_pool2d(torch.randn(load.batch, 1, *load.shape, generator=generator), 17, 1, padding=8)
    smooth = smooth / smooth.std()
    image = smooth + 0.3 * torch.randn(load.batch, load.channels, *load.shape, generator=generator)
    edges = torch.arange(load.classes - 1) * (2 / (load.classes - 1))
    return Batch(image, torch.bucketize(smooth, edges)[:, 0], index=torch.arange(load.batch))


def resident(state: State) -> int:
    """Bytes of the network and the optimizers' state."""
    kept = [*state.network.parameters(), *state.network.buffers(), *state.tensors.values()]
    for optimizer in state.optimizers.values():
        kept += [value for entry in optimizer.state.values() for value in entry.values() if isinstance(value, Tensor)]
    return sum(value.nbytes for value in kept)


def beside(state: State) -> int:
    """Bytes of the networks beside the one that learns: their weights, and their gradients where they learn, too."""
    return 2 * sum(map(weight_bytes, state.modules.values())) + sum(map(weight_bytes, state.frozen.values()))


def weight_bytes(network: nn.Module) -> int:
    """Of its parameters and buffers."""
    return sum(value.nbytes for value in [*network.parameters(), *network.buffers()])


def highest(profiler: profile) -> int:
    """Peak of the bytes allocated on the CPU since the profile began."""
    found = profiler.profiler.kineto_results.events()  # type: ignore[union-attr]
    memory = sorted((one.start_ns(), one.nbytes()) for one in found if one.name() == "[memory]")
    now = peak = 0
    for _, change in memory:
        now += change
        peak = max(peak, now)
    return peak
