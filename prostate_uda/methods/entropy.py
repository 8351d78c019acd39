"""Floor 3: entropy minimization: be sure on the target, without being told of what.

    L = Σ_l α_l CE(f_l(x_s), y_s) + λ Σ_l α_l mean H(f_l(x_t)),        H(p) = -Σ_c p_c log p_c / log C

Source: Vu et al., ADVENT, CVPR 2019 ("MinEnt", their direct minimization). Their shallow head has a fifth of the deep
head's λ; here both terms share α. Their class-ratio prior, used for one of their data sets, is left out.
"""

from dataclasses import dataclass

from torch import Tensor

from prostate_uda.data.batch import Batch
from prostate_uda.maths.entropy import normalized_entropy
from prostate_uda.methods.base import (
    Losses,
    Method,
    State,
    both_domains,
    check_level_weights,
    check_weight,
    finish,
    segmentation_loss,
)
from prostate_uda.networks.levels import Levels


@dataclass(frozen=True, kw_only=True)
class EntropyMinimization(Method):
    """Source labels by cross-entropy, the target by the entropy of its predictions.

    Attributes:
        level_weights: α, shallow to deep.
        target_weight: λ.
    """

    level_weights: tuple[float, ...] = (0.1, 1.0)
    target_weight: float = 1e-3

    def __post_init__(self) -> None:
        check_level_weights(self.level_weights)
        check_weight("target_weight", self.target_weight)

    def step(self, state: State, source: Batch, target: Batch) -> Losses:
        """Both domains forward, one backward; the target's label is not read."""
        on_source, levels = both_domains(state, source, target, self.level_weights)
        on_target = self.doubt(levels)
        return finish(state, on_source + self.target_weight * on_target, source=on_source, target=on_target)

    def doubt(self, levels: Levels) -> Tensor:
        """``Σ_l α_l mean H``, this process's share; heads of weight zero are not computed with."""
        everywhere = levels.final.argmax(dim=1)  # a prediction is never IGNORE
        return segmentation_loss(levels, everywhere, self.level_weights, _mean_entropy)


def _mean_entropy(logits: Tensor, _: Tensor, count: Tensor) -> Tensor:
    return normalized_entropy(logits).sum() / count
