"""Floor 3: plain self-training on frozen pseudo-labels: on all of them, or on the confident ones (``threshold``).

    L = Σ_l α_l CE(f_l(x_s), y_s) + λ Σ_l α_l CE(f_l(x_t), ŷ_t)

Source: slide "Two major lines of approaches", Guo et al., CVPR 2021 (``L_ST``), and the "Threshold" row of its table 4;
Zou et al., ICCV 2019. The per-class threshold ``min(median, 0.9)`` is that of LTIR (Kim and Byun, CVPR 2020) and BDL.
"""

from dataclasses import dataclass
from typing import ClassVar

from prostate_uda.data.batch import Batch
from prostate_uda.errors import SettingsError
from prostate_uda.maths.selection import Selection
from prostate_uda.maths.volume_selection import VolumeSelection
from prostate_uda.methods.base import (
    Losses,
    Method,
    State,
    both_domains,
    check_level_weights,
    check_volume_trust,
    check_weight,
    finish,
    segmentation_loss,
)


@dataclass(frozen=True, kw_only=True)
class SelfTraining(Method):
    """Source labels and target pseudo-labels, both by cross-entropy.

    Attributes:
        level_weights: α, shallow to deep.
        target_weight: λ.
        confidence: Least confidence of a pseudo-label that is learned from; 0 keeps all.
        per_class: Lower it, class by class, to the median confidence of the pixels predicted as the class.
        volume_trust: Above 0, pseudo-labels are drawn towards the source's volumes, so far:
            :class:`~prostate_uda.maths.selection.VolumeSelection`.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"pseudo_labels"})
    level_weights: tuple[float, ...] = (0.1, 1.0)
    target_weight: float = 1.0
    confidence: float = 0.0
    per_class: bool = False
    volume_trust: float = 0.0

    def __post_init__(self) -> None:
        check_level_weights(self.level_weights)
        check_weight("target_weight", self.target_weight)
        if not 0 <= self.confidence < 1:
            raise SettingsError(f"confidence {self.confidence}; allowed is 0 ≤ confidence < 1")
        if self.per_class and not self.confidence:
            raise SettingsError("per_class lowers the confidence asked for, and confidence 0 asks for none; raise it")
        check_volume_trust(self.volume_trust, "confidence", self.confidence)

    def selection(self, round_number: int) -> Selection:  # noqa: ARG002  the same in every round
        """Pixels of at least this confidence, or such that volumes fit."""
        if self.volume_trust:
            return VolumeSelection(trust=self.volume_trust)
        return Selection(threshold=self.confidence, portion=0.5 if self.per_class else None)

    def step(self, state: State, source: Batch, target: Batch) -> Losses:
        """Both domains forward, one backward."""
        on_source, levels = both_domains(state, source, target, self.level_weights)
        on_target = segmentation_loss(levels, target.label, self.level_weights)
        return finish(state, on_source + self.target_weight * on_target, source=on_source, target=on_target)
