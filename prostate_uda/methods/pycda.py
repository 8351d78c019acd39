"""Floor 3: PyCDA: a pyramid of easy questions that the network answers itself: images, squares, pixels.

    L = Σ_l α_l CE(f_l(x_s), y_s) + λ [ mean CE(f, ŷ_pixels) + mean CE(f̄, ŷ_squares) ] + λ_q mean BCE(p̄, q)

f is the deepest head on the target and f̄ its average over squares; ŷ is their own argmax where it is surer than 0.5,
p̄ the mean probability over an image, and q how frequent each class is in the source's labels.

Source: Lian et al., ICCV 2019, and the code published with it (lianqing11/PyCDA).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from prostate_uda.data.batch import Batch
from prostate_uda.errors import SettingsError
from prostate_uda.maths.losses import cross_entropy
from prostate_uda.maths.pyramid import class_counts, distribution_gap, squares, sure_labels
from prostate_uda.methods.base import (
    Losses,
    Method,
    State,
    both_domains,
    check_level_weights,
    check_weight,
    finish,
    labelled,
    total,
)
from prostate_uda.networks.optimization import Optimization
from prostate_uda.networks.teacher import Teacher


@dataclass(frozen=True, kw_only=True)
class PyCDA(Method):
    """Source labels by cross-entropy; the target by its own sure pixels and squares, and by the source's class sizes.

    Attributes:
        level_weights: α of the source, shallow to deep.
        target_weight: λ of pixels and of squares.
        distribution_weight: λ_q.
        confidence: A pixel or square is its own label where it is surer.
        square_sides: In pixels.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"survey"})
    level_weights: tuple[float, ...] = (0.1, 1.0)
    target_weight: float = 1.0
    distribution_weight: float = 1.0
    confidence: float = 0.5
    square_sides: tuple[int, ...] = (4, 8)

    def __post_init__(self) -> None:
        check_level_weights(self.level_weights)
        check_weight("target_weight", self.target_weight)
        check_weight("distribution_weight", self.distribution_weight)
        if not 0 <= self.confidence < 1:
            raise SettingsError(f"confidence {self.confidence}; allowed is 0 to under 1")
        if not self.square_sides or any(side != int(side) or side < 2 for side in self.square_sides):
            raise SettingsError(
                f"square_sides {self.square_sides}; allowed are whole numbers of 2 or more, such as [4,8]"
            )

    def survey(
        self,
        source: Iterable[Batch],
        target: Iterable[Batch],  # noqa: ARG002  its class sizes are what is not known
        teacher: Teacher,
    ) -> Mapping[str, Tensor]:
        """``frequencies``: ``(C,)`` float32, the share of each class in all labelled pixels of the source."""
        counts = torch.zeros(len(teacher.thresholds), dtype=torch.int64, device=teacher.thresholds.device)
        for batch in source:
            counts += class_counts(batch.label, len(counts))
        total([counts])
        return {"frequencies": (counts.double() / counts.sum().clamp_min(1)).float()}

    def prepare(
        self,
        network: nn.Module,
        optimization: Optimization,
        *,
        seed: int = 0,
        domain_predictor: nn.Module | None = None,
        teacher: Teacher | None = None,
    ) -> State:
        """The network with the source's class frequencies beside it.

        Raises:
            SettingsError: there is no teacher with a survey.
        """
        if teacher is None or "frequencies" not in teacher.survey:
            raise SettingsError(
                "pycda compares with the source's class sizes; give prepare(teacher=) with its survey()"
            )
        state = super().prepare(network, optimization, seed=seed, domain_predictor=domain_predictor)
        state.tensors["frequencies"] = teacher.survey["frequencies"].clone()
        return state

    def step(self, state: State, source: Batch, target: Batch) -> Losses:
        """Both domains forward, one backward; the target's label is not read."""
        on_source, levels = both_domains(state, source, target, self.level_weights)
        pixels, parts = self.own([levels.final]), self.own([squares(levels.final, int(n)) for n in self.square_sides])
        count = torch.tensor(len(target.image), device=levels.final.device)
        total([count])
        gap = distribution_gap(levels.final, state.tensors["frequencies"], count)
        loss = on_source + self.target_weight * (pixels + parts) + self.distribution_weight * gap
        return finish(state, loss, source=on_source, pixels=pixels, squares=parts, distribution=gap)

    def own(self, maps: list[Tensor]) -> Tensor:
        """Cross-entropy of logits with their own sure answers, the mean over all maps' together, this process's share.

        Args:
            maps: One at least, of ``(B, C, h, w)`` each.
        """
        labels = [sure_labels(logits, self.confidence) for logits in maps]
        count = torch.stack([labelled(label) for label in labels]).sum()
        return torch.stack([cross_entropy(*pair, count) for pair in zip(maps, labels, strict=True)]).sum()
