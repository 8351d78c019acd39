"""Floor 3: adversarial alignment of where the network is in doubt: between domains (ADVENT), or within the target.

    L_seg + Σ_l λ_l BCE(D_l(I(f_l(x_far))), near)    and    ½ [BCE(D_l(I_near), near) + BCE(D_l(I_far), far)] per level

    I = -p_c log p_c / log C, pixel by pixel and class by class

ADVENT: near is the source, far is the target. IntraDA: near are the target's slices that the round's teacher finds
easy, with its pseudo-labels in L_seg; far are the hard ones.

Source: Vu et al., ADVENT, CVPR 2019; Pan et al., Unsupervised Intra-domain Adaptation for Semantic Segmentation through
Self-Supervision, CVPR 2020. Where this departs from them stands in docs/methods/advent.md and docs/methods/intrada.md.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, cast

import ignite.distributed as idist
import torch
from torch import Tensor, nn
from torch.nn import functional

from prostate_uda.data.batch import Batch
from prostate_uda.errors import SettingsError
from prostate_uda.maths.entropy import normalized_entropy
from prostate_uda.maths.losses import IGNORE, one_weight_per_level, safe_log
from prostate_uda.maths.self_information import easiest, self_information
from prostate_uda.methods.adversarial import (
    SOURCE,
    TARGET,
    check_discriminator,
    discriminator_optimizer,
    new_discriminator,
)
from prostate_uda.methods.base import (
    Losses,
    Method,
    State,
    check_level_weights,
    descend,
    forward,
    forward_unmoved,
    segmentation_loss,
    summed,
    total,
)
from prostate_uda.networks.levels import Levels
from prostate_uda.networks.optimization import Optimization
from prostate_uda.networks.teacher import Teacher

EASY = "easy"
"""Name of what IntraDA's survey finds, and of the module that keeps it."""


@dataclass(frozen=True)
class _Side:
    """What discriminators see of one side: ``(B, C, H, W)`` per level, and ``(B,)`` which slices are of this side."""

    maps: tuple[Tensor, ...]
    chosen: Tensor

    @classmethod
    def of(cls, levels: Levels, chosen: Tensor | None = None) -> "_Side":
        """Of what the network gives; all slices where none are chosen."""
        every = torch.ones(len(levels.final), dtype=torch.bool, device=levels.final.device)
        return cls(tuple(map(self_information, levels.logits)), every if chosen is None else chosen)

    def detached(self) -> "_Side":
        """The same numbers, for the discriminators' own step."""
        return _Side(tuple(each.detach() for each in self.maps), self.chosen)

    def loss(self, discriminator: nn.Module, level: int, domain: float) -> Tensor:
        """``BCE(σ(D(map)), domain)``: this process's share of the mean over all chosen slices' pixels; of none, 0.

        The discriminator sees every slice and the chosen ones are counted, so there is no empty batch.
        """
        logits = discriminator(self.maps[level])
        chosen = self.chosen.view(-1, 1, 1, 1).expand_as(logits)
        count = chosen.sum()
        total([count])
        wanted = torch.full_like(logits, domain)
        found = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
        return torch.where(chosen, found, torch.zeros_like(found)).sum() / count.clamp_min(1)


@dataclass(frozen=True, kw_only=True)
class _Aligned(Method):
    """What the family shares: a discriminator per level, and the two steps.

    Attributes:
        level_weights: α of the segmentation loss, shallow to deep.
        adversarial_weights: λ, likewise; a level of weight zero has no discriminator.
        discriminator_rate: Adam's rate for each discriminator.
        discriminator_channels: Channels of its first layer.
        discriminator_stages: Its stride-2 stages.
    """

    level_weights: tuple[float, ...] = (0.1, 1.0)
    adversarial_weights: tuple[float, ...] = (2e-4, 1e-3)
    discriminator_rate: float = 1e-4
    discriminator_channels: int = 64
    discriminator_stages: int = 4

    def __post_init__(self) -> None:
        check_level_weights(self.level_weights)
        weights = self.adversarial_weights
        if not (all(weight >= 0 for weight in weights) and any(weights) and len(weights) == len(self.level_weights)):
            raise SettingsError(
                f"adversarial_weights {weights} beside level_weights {self.level_weights}; allowed are as many weights "
                "≥ 0, at least one of them > 0"
            )
        if not self.discriminator_rate > 0:
            raise SettingsError(f"discriminator_rate {self.discriminator_rate}; allowed is a rate > 0")
        check_discriminator(self.discriminator_channels, self.discriminator_stages)

    def prepare(
        self,
        network: nn.Module,
        optimization: Optimization,
        *,
        seed: int = 0,
        domain_predictor: nn.Module | None = None,  # noqa: ARG002  the contract of every method
        teacher: Teacher | None = None,  # noqa: ARG002  the contract of every method
    ) -> State:
        """The network and a fresh discriminator per level, each with its optimizer."""
        state = State(network, {"network": optimization.for_network(network)}, optimization=optimization)
        for level, name, _ in self._judged():
            judge = new_discriminator(
                network, channels=self.discriminator_channels, stages=self.discriminator_stages, seed=seed + level
            )
            state.modules[name] = judge
            state.optimizers[name] = discriminator_optimizer(judge, self.discriminator_rate)
        return state

    def _judged(self) -> Iterator[tuple[int, str, float]]:
        """Level, name of its discriminator, and λ."""
        for level, weight in enumerate(self.adversarial_weights):
            if weight:
                yield level, f"discriminator_{level}", weight

    def _align(self, state: State, segmentation: Tensor, near: _Side, far: _Side) -> Losses:
        """The network's step (segment, pass off what is far as near), then each discriminator's on the same maps."""
        one_weight_per_level(len(far.maps), self.adversarial_weights)
        fooling = torch.stack(
            [weight * far.loss(state.modules[name].train(), level, SOURCE) for level, name, weight in self._judged()]
        ).sum()
        descend(state.optimizers["network"], segmentation + fooling)
        near, far, telling = near.detached(), far.detached(), []
        for level, name, _ in self._judged():
            judge = state.modules[name]
            telling.append((near.loss(judge, level, SOURCE) + far.loss(judge, level, TARGET)) / 2)
            descend(state.optimizers[name], telling[-1])
        state.step += 1
        mean_fooling = fooling / sum(self.adversarial_weights)
        return summed(source=segmentation, fooling=mean_fooling, discriminator=torch.stack(telling).mean())


@dataclass(frozen=True, kw_only=True)
class Advent(_Aligned):
    """A discriminator per head on its maps of weighted self-information, source against target."""

    def step(self, state: State, source: Batch, target: Batch) -> Losses:
        """Both domains forward, batch-norm statistics following the target; its label is not read."""
        state.network.train()
        state.schedule()
        on_source = forward_unmoved(state.network, source.image)
        on_target = forward(state.network, target.image)
        segmentation = segmentation_loss(on_source, source.label, self.level_weights)
        return self._align(state, segmentation, _Side.of(on_source), _Side.of(on_target))


class _Split(nn.Module):
    """Which of this process's target slices are easy; made anew from the survey, so no part of a checkpoint."""

    easy: Tensor

    def __init__(self, easy: Tensor) -> None:
        super().__init__()
        self.register_buffer("easy", easy, persistent=False)

    def forward(self, index: Tensor | None, count: int) -> Tensor:
        """``(B,)`` bool of a batch's slices; those of which nobody says which they are count as hard."""
        if index is None:
            return torch.zeros(count, dtype=torch.bool, device=self.easy.device)
        return self.easy[index.to(self.easy.device)]


@dataclass(frozen=True, kw_only=True)
class IntraDA(_Aligned):
    """ADVENT within the target: from the slices that the teacher finds easy, by its pseudo-labels, to the hard ones.

    Attributes:
        easy_share: λ of the ranking: the share of the target's slices that are easy.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"pseudo_labels", "survey"})
    easy_share: float = 0.67

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.easy_share < 1:
            raise SettingsError(f"easy_share {self.easy_share}; allowed is between 0 and 1")

    def survey(
        self,
        source: Iterable[Batch],  # noqa: ARG002  the target alone is ranked
        target: Iterable[Batch],
        teacher: Teacher,
    ) -> Mapping[str, Tensor]:
        """Rank the slices of all processes by the mean entropy of the teacher's prediction.

        Returns:
            ``easy``: ``(N,)`` bool, of this process's N target slices.
        """
        places, doubts, seen = [], [], 0
        with torch.no_grad():
            for batch in target:
                entropy = normalized_entropy(safe_log(teacher(batch.image)))
                doubts.append(entropy.flatten(1).mean(dim=1).cpu())
                seen += len(entropy)
                places.append(torch.arange(seen - len(entropy), seen) if batch.index is None else batch.index.cpu())
        if not doubts:
            raise SettingsError("intrada ranks the target's slices, and there are none; give a target with images")
        easy = torch.zeros(seen, dtype=torch.bool)
        easy[torch.cat(places)] = _easiest_of_all(torch.cat(doubts), self.easy_share)
        return {EASY: easy}

    def prepare(
        self,
        network: nn.Module,
        optimization: Optimization,
        *,
        seed: int = 0,
        domain_predictor: nn.Module | None = None,
        teacher: Teacher | None = None,
    ) -> State:
        """The network, a fresh discriminator per level, and which slices are easy.

        Raises:
            SettingsError: there is no teacher with a survey.
        """
        if teacher is None or EASY not in teacher.survey:
            raise SettingsError(
                "intrada ranks all target slices first; put what its survey() returns into teacher.survey, and give "
                "prepare(teacher=...)"
            )
        state = super().prepare(network, optimization, seed=seed, domain_predictor=domain_predictor)
        state.modules[EASY] = _Split(teacher.survey[EASY])
        return state

    def step(self, state: State, source: Batch, target: Batch) -> Losses:  # noqa: ARG002  the easy split is the source
        """The target forward, once; labels of hard slices and the source are not read."""
        state.network.train()
        state.schedule()
        split = cast("_Split", state.modules[EASY])
        easy = split(target.index, len(target.image)).to(target.label.device)
        levels = forward(state.network, target.image)
        label = torch.where(easy[:, None, None], target.label, torch.full_like(target.label, IGNORE))
        segmentation = segmentation_loss(levels, label, self.level_weights)
        return self._align(state, segmentation, _Side.of(levels, easy), _Side.of(levels, ~easy))


def _easiest_of_all(doubts: Tensor, share: float) -> Tensor:
    """``(N,)`` :func:`~prostate_uda.maths.self_information.easiest`, ranked among the slices of all processes."""
    if idist.get_world_size() == 1:
        return easiest(doubts, share)
    everyones = cast("list[list[float]]", idist.all_gather(doubts.tolist()))
    chosen = easiest(torch.tensor([value for theirs in everyones for value in theirs]), share)
    start = sum(map(len, everyones[: idist.get_rank()]))
    return chosen[start : start + len(doubts)]
