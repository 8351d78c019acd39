"""Floor 3: self-training guided by category anchors: the source's mean features of each class.

    L = Σ_l α_l CE(f_l(x_s), y_s) + λ ½ Σ_l α_l [CE(f_l(x_t), ŷ_p) + CE(f_l(x_t), ŷ_a)]
      + λ_dis [R(x_s, y_s) + R(x_t, ŷ_a)]

    ŷ_p = argmax p⁰ where it is above .95        ŷ_a = the nearest anchor's class where the second is 2.5 farther
    R(x, y) = the mean of SmoothL1(mean features of class c in an image, anchor c) over the images' classes

p⁰, the features that ŷ_a is of, and the anchors are the round's frozen teacher's; no files of pseudo-labels.

Source: Zhang et al., Category Anchor-Guided Unsupervised Domain Adaptation for Semantic Segmentation, NeurIPS 2019, and
the code released with it (RogerZhangzz/CAG_UDA). Departures: docs/methods/cag.md.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from prostate_uda.data.batch import Batch
from prostate_uda.errors import DataError, SettingsError
from prostate_uda.maths.anchors import (
    active_labels,
    anchor_distances,
    anchor_loss,
    class_sums,
    pooled_label,
    sure_labels,
)
from prostate_uda.maths.losses import widened
from prostate_uda.methods.base import (
    Losses,
    Method,
    State,
    check_level_weights,
    check_weight,
    finish,
    forward,
    forward_unmoved,
    segmentation_loss,
    total,
)
from prostate_uda.networks.levels import Levels
from prostate_uda.networks.optimization import Optimization
from prostate_uda.networks.teacher import Teacher


@dataclass(frozen=True, kw_only=True)
class CategoryAnchors(Method):
    """Pseudo-labels by confidence and by the nearest category anchor, features drawn to the anchors.

    Attributes:
        level_weights: α, shallow to deep.
        target_weight: λ.
        confidence: What p must exceed for a label by confidence.
        margin: How much farther the second nearest anchor must be for a label by anchor, in the features' own unit.
        distance_weight: λ_dis; as released, 0.7 times 10.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"survey", "teacher"})
    level_weights: tuple[float, ...] = (0.1, 1.0)
    target_weight: float = 1.0
    confidence: float = 0.95
    margin: float = 2.5
    distance_weight: float = 7.0

    def __post_init__(self) -> None:
        check_level_weights(self.level_weights)
        for name in ("target_weight", "margin", "distance_weight"):
            check_weight(name, getattr(self, name))
        if not 0.5 <= self.confidence < 1:
            raise SettingsError(f"confidence {self.confidence}; allowed is 0.5 ≤ confidence < 1")

    def survey(self, source: Iterable[Batch], target: Iterable[Batch], teacher: Teacher) -> Mapping[str, Tensor]:  # noqa: ARG002  the source's features alone
        """The anchors: the teacher's mean features of each class over all processes' labelled source pixels.

        Returns:
            ``anchors`` ``(C, F)``, zeros for a class without a pixel, and ``pixels`` ``(C,)``, of how many each is.

        Raises:
            DataError: no source slice has a label.
        """
        found: list[tuple[Tensor, Tensor]] = []
        for batch in source:
            levels = seen(teacher, batch.image)
            features, classes = levels.features[-1], levels.final.shape[1]
            sums, counts = class_sums(features, pooled_label(batch.label, _size(features)), classes)
            found.append((sums.sum(dim=0).double().cpu(), counts.sum(dim=0).double().cpu()))
        if not found:
            raise DataError("no source slice to take category anchors from; give a source with labels")
        sums, counts = (torch.stack(part).sum(dim=0) for part in zip(*found, strict=True))
        total([sums, counts])
        device = teacher.thresholds.device
        anchors = sums / counts.clamp_min(1).unsqueeze(1)
        return {"anchors": anchors.float().to(device), "pixels": counts.float().to(device)}

    def prepare(
        self,
        network: nn.Module,
        optimization: Optimization,
        *,
        seed: int = 0,
        domain_predictor: nn.Module | None = None,
        teacher: Teacher | None = None,
    ) -> State:
        """The network, the teacher beside it, and the anchors, which a checkpoint keeps: a resumed run has the same.

        Raises:
            SettingsError: there is no teacher, or none that has been asked for its :meth:`survey`.
        """
        if teacher is None or "anchors" not in teacher.survey:
            raise SettingsError("cag has anchors from the round's teacher; give prepare(teacher=...) after survey()")
        state = super().prepare(network, optimization, seed=seed, domain_predictor=domain_predictor)
        state.frozen["teacher"] = teacher
        state.tensors |= {name: teacher.survey[name].clone() for name in ("anchors", "pixels")}
        return state

    def step(self, state: State, source: Batch, target: Batch) -> Losses:
        """Both domains forward, the target also through the teacher, one backward."""
        state.network.train()
        state.schedule()
        sure, active = self.labels(state, target.image)
        levels = forward_unmoved(state.network, source.image)
        on_source = segmentation_loss(levels, source.label, self.level_weights)
        apart = self.distance(state, levels, pooled_label(source.label, _size(levels.features[-1])))
        levels = forward(state.network, target.image)
        nearest = pooled_label(active, cast("tuple[int, int]", tuple(target.label.shape[-2:])))
        by_confidence, by_anchor = (segmentation_loss(levels, label, self.level_weights) for label in (sure, nearest))
        on_target = (by_confidence + by_anchor) / 2
        apart = apart + self.distance(state, levels, active)
        loss = on_source + self.target_weight * on_target + self.distance_weight * apart
        return finish(state, loss, source=on_source, target=on_target, distance=apart)

    def labels(self, state: State, image: Tensor) -> tuple[Tensor, Tensor]:
        """``(B, H, W)`` labels by confidence, and ``(B, h, w)`` labels by anchor at the features' size."""
        levels = seen(cast("Teacher", state.frozen["teacher"]), image)
        sure = sure_labels(widened(levels.final).softmax(dim=1), self.confidence)
        anchors, anchored = state.tensors["anchors"], state.tensors["pixels"] > 0
        return sure, active_labels(anchor_distances(levels.features[-1], anchors, anchored), self.margin)

    def distance(self, state: State, levels: Levels, label: Tensor) -> Tensor:
        """R, this process's share of it; zero where no image has a class that has an anchor."""
        anchors, anchored = state.tensors["anchors"], state.tensors["pixels"] > 0
        loss, count = anchor_loss(levels.features[-1], label, anchors, anchored)
        total([count])
        return loss / count.clamp_min(1)


@torch.no_grad()
def seen(teacher: Teacher, image: Tensor) -> Levels:
    """Logits and features of the teacher's network for a ``(B, k, H, W)`` image, in single precision as its labels."""
    with torch.autocast(image.device.type, enabled=False):
        return cast("Levels", teacher.network.network(image))


def _size(features: Tensor) -> tuple[int, int]:
    return (features.shape[-2], features.shape[-1])
