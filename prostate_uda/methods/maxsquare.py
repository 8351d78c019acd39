"""Floor 3: maximum squares: be sure on the target, with a slope that easy pixels do not rule.

    L = Σ_l α_l CE(f_l(x_s), y_s) + λ { -mean [w ½ Σ_c p_c²] + μ Σ_{l<L} CE(f_l(x_t), ŷ_l) }

p is the deepest head's distribution on the target; w = (N / N_ŷ)^a evens out the classes of each image; ŷ_l is the
class of the mean of head l and the deepest, where one of them is sure.

Source: Chen et al., Domain Adaptation for Semantic Segmentation with Maximum Squares Loss, ICCV 2019. As in the
published code, w goes by a pixel's predicted class: the paper's weight per class has no value where a class is absent
from an image. Other than the code: squares are halved and averaged over pixels, not over pixels and classes, with w as
without; λ = 0.1 weighs C times (with w, C/2 times) as much as there. Every image of a batch has its own weights.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from prostate_uda.data.batch import Batch
from prostate_uda.errors import SettingsError
from prostate_uda.maths.entropy import guiding_labels, half_squares, rarity
from prostate_uda.maths.losses import cross_entropy
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
class MaxSquare(Method):
    """Source labels by cross-entropy, the target by the squares of its probabilities, shallow heads by the deepest.

    Attributes:
        level_weights: α of the source, shallow to deep; a shallow head of weight zero is not guided either.
        target_weight: λ.
        rarity_exponent: a of the image-wise weights; 0 is the plain loss.
        guidance_weight: μ of the multi-level guidance; 0 does without.
        guidance_threshold: δ; guidance is where one of two heads is surer than this.
    """

    level_weights: tuple[float, ...] = (0.1, 1.0)
    target_weight: float = 0.1
    rarity_exponent: float = 0.2
    guidance_weight: float = 0.1
    guidance_threshold: float = 0.95

    def __post_init__(self) -> None:
        check_level_weights(self.level_weights)
        check_weight("target_weight", self.target_weight)
        check_weight("guidance_weight", self.guidance_weight)
        if not (0 <= self.rarity_exponent <= 1 and 0 <= self.guidance_threshold <= 1):
            raise SettingsError(
                f"rarity_exponent {self.rarity_exponent}, guidance_threshold {self.guidance_threshold}; allowed is 0 "
                "to 1 for both"
            )

    def step(self, state: State, source: Batch, target: Batch) -> Losses:
        """Both domains forward, one backward; the target's label is not read."""
        on_source, levels = both_domains(state, source, target, self.level_weights)
        on_target, guidance = self.sharpening(levels), self.guidance(levels)
        on_both = on_source + self.target_weight * (on_target + self.guidance_weight * guidance)
        return finish(state, on_both, source=on_source, target=on_target, guidance=guidance)

    def sharpening(self, levels: Levels) -> Tensor:
        """``-mean [w ½ Σ_c p_c²]`` over the pixels of the deepest head, this process's share."""
        prediction = levels.final.argmax(dim=1)
        weight = rarity(prediction, levels.final.shape[1], self.rarity_exponent)
        count = labelled(prediction)  # all pixels: a prediction is never IGNORE
        return -(weight * half_squares(levels.final)).sum() / count

    def guidance(self, levels: Levels) -> Tensor:
        """``Σ_{l<L} CE(f_l, ŷ_l)``, this process's share; zero where no shallow head takes part."""
        *shallow, deep = levels.logits
        losses = [deep.new_zeros(())]
        for logits, weight in zip(shallow, self.level_weights, strict=False):
            if weight and self.guidance_weight:
                label = guiding_labels(logits, deep, self.guidance_threshold)
                losses.append(cross_entropy(logits, label, labelled(label)))
        return torch.stack(losses).sum()
