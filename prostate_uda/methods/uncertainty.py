"""Floor 3: self-training on pseudo-labels that teach less where the two heads disagree.

    L = Σ_l α_l CE(f_l(x_s), y_s) + λ Σ_l α_l mean [exp(-V_l) CE(f_l(x_t), ŷ_t) + V_l],        V_l = KL(p_l ‖ p_other)

Source: Zheng and Yang, Rectifying Pseudo Label Learning via Uncertainty Estimation for Domain Adaptive Semantic
Segmentation, IJCV 2021. V is the paper's; their code takes KL(p_other ‖ p_l). Left out of their scripts: class weights
for classes smaller than 64 × 64 pixels, dropout, and the memory-regularised first stage (ours is source training).
Added: the source's loss, which every self-training method has here; theirs fine-tunes on pseudo-labels alone. V is
averaged over the pixels that have a pseudo-label, which are all of them at ``pseudo_threshold`` 0.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from prostate_uda.data.batch import Batch
from prostate_uda.errors import SettingsError
from prostate_uda.maths.losses import weighted_sum
from prostate_uda.maths.uncertainty import rectified_nll
from prostate_uda.methods.base import (
    Losses,
    Method,
    State,
    both_domains,
    check_level_weights,
    check_weight,
    finish,
    labelled,
)
from prostate_uda.networks.levels import Levels


@dataclass(frozen=True, kw_only=True)
class Uncertainty(Method):
    """Source labels by cross-entropy, target pseudo-labels weighed by the agreement of the two heads.

    Attributes:
        level_weights: α of the shallow and of the deep head, for both domains.
        target_weight: λ.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"pseudo_labels"})
    level_weights: tuple[float, ...] = (0.5, 1.0)
    target_weight: float = 1.0

    def __post_init__(self) -> None:
        check_level_weights(self.level_weights)
        if len(self.level_weights) != 2:
            raise SettingsError(
                f"level_weights {self.level_weights}; two heads are compared: allowed are two weights, shallow and deep"
            )
        check_weight("target_weight", self.target_weight)

    def step(self, state: State, source: Batch, target: Batch) -> Losses:
        """Both domains forward, one backward."""
        on_source, levels = both_domains(state, source, target, self.level_weights)
        on_target = self.rectified(levels, target.label)
        return finish(state, on_source + self.target_weight * on_target, source=on_source, target=on_target)

    def rectified(self, levels: Levels, label: Tensor) -> Tensor:
        """``Σ_l α_l mean [exp(-V_l) CE + V_l]``, this process's share."""
        shallow, deep = levels.logits
        count = labelled(label)
        losses = [rectified_nll(shallow, deep, label, count), rectified_nll(deep, shallow, label, count)]
        return weighted_sum(losses, self.level_weights)
