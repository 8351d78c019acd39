"""Floor 3: class-balanced self-training (CBST), and the confidence regularisers it has been given (CRST).

    L = Σ_l α_l CE(f_l(x_s), y_s) + λ Σ_l α_l mean over the selected pixels of

        -log p_ŷ                                         CBST
        -log p_ŷ - a (1/C) Σ_c log p_c                   MRKLD
        -log p_ŷ + a Σ_c p_c log p_c                     MRENT
        -Σ_c y_c log p_c,  y_c ∝ (p⁰_c / k_c)^(1/a)      LRENT; p⁰ is the frozen teacher's

The label is argmax_c p⁰_c / k_c, and k_c is the confidence that the top portion of the pixels predicted as c reaches:
a rare class is not crowded out by a frequent one. The portion grows from round to round.

Source: Zou et al., ECCV 2018 (CBST) and ICCV 2019 (CRST). Departures from the released code: every source image takes
part, not a random 3 % of them (medical sets are small); batch-norm's statistics follow the target instead of being
frozen (decision 0003); no spatial prior and no mining of patches with rare classes. MRENT is not in that code.
"""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, cast

from torch import Tensor, nn

from prostate_uda.data.batch import Batch
from prostate_uda.errors import SettingsError
from prostate_uda.maths.regularizers import regularized_nll, soft_nll
from prostate_uda.maths.selection import BalancedSelection, RegularizedSelection, Selection, soft_labels
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
from prostate_uda.networks.optimization import Optimization
from prostate_uda.networks.teacher import Teacher


@dataclass(frozen=True, kw_only=True)
class _Portioned(Method):
    """What the family shares: the portion of each class that is selected, and the step.

    Attributes:
        level_weights: α, shallow to deep.
        target_weight: λ.
        portion: Share of the pixels predicted as a class that sets its threshold in the first round.
        portion_step: How much it grows with each further round.
        portion_max: Where it ends.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"pseudo_labels"})
    level_weights: tuple[float, ...] = (0.1, 1.0)
    target_weight: float = 1.0
    portion: float = 0.2
    portion_step: float = 0.05
    portion_max: float = 0.5

    def __post_init__(self) -> None:
        check_level_weights(self.level_weights)
        check_weight("target_weight", self.target_weight)
        if not (0 < self.portion <= self.portion_max <= 1 and self.portion_step >= 0):
            raise SettingsError(
                f"portion {self.portion}, portion_step {self.portion_step}, portion_max {self.portion_max}; allowed is "
                "0 < portion ≤ portion_max ≤ 1, and a step ≥ 0"
            )

    def portion_of(self, round_number: int) -> float:
        """The share selected in a round, counted from 1."""
        return min(self.portion + self.portion_step * (round_number - 1), self.portion_max)

    @abstractmethod
    def target_loss(self, state: State, target: Batch) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
        """The target's loss of logits, label and count, of one level."""

    def step(self, state: State, source: Batch, target: Batch) -> Losses:
        """Both domains forward, one backward."""
        on_source, levels = both_domains(state, source, target, self.level_weights)
        on_target = segmentation_loss(levels, target.label, self.level_weights, self.target_loss(state, target))
        return finish(state, on_source + self.target_weight * on_target, source=on_source, target=on_target)


@dataclass(frozen=True, kw_only=True)
class ClassBalanced(_Portioned):
    """Hard class-balanced pseudo-labels: CBST, and with a weight of its regulariser MRKLD or MRENT.

    Attributes:
        kld_weight: a of MRKLD.
        entropy_weight: a of MRENT.
    """

    kld_weight: float = 0.0
    entropy_weight: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_weight("kld_weight", self.kld_weight)
        check_weight("entropy_weight", self.entropy_weight)

    def selection(self, round_number: int) -> Selection:
        """CBST's rule with the round's portion."""
        return BalancedSelection(portion=self.portion_of(round_number))

    def target_loss(self, state: State, target: Batch) -> Callable[[Tensor, Tensor, Tensor], Tensor]:  # noqa: ARG002
        """Cross-entropy and the regularisers."""
        return partial(regularized_nll, kld_weight=self.kld_weight, entropy_weight=self.entropy_weight)


@dataclass(frozen=True, kw_only=True)
class LabelRegularized(_Portioned):
    """Soft class-balanced pseudo-labels: LRENT.

    The files of pseudo-labels say which pixels take part; how soft their labels are, the round's teacher says on the
    augmented image.

    Attributes:
        smoothness: a; towards 0 the labels become hard.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"pseudo_labels", "teacher"})
    smoothness: float = 0.25

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.smoothness > 0:
            raise SettingsError(f"smoothness {self.smoothness}; allowed is > 0 (cbst has hard labels)")

    def selection(self, round_number: int) -> Selection:
        """LRENT's rule with the round's portion."""
        return RegularizedSelection(portion=self.portion_of(round_number), smoothness=self.smoothness)

    def prepare(
        self,
        network: nn.Module,
        optimization: Optimization,
        *,
        seed: int = 0,
        domain_predictor: nn.Module | None = None,
        teacher: Teacher | None = None,
    ) -> State:
        """The network with the round's teacher beside it.

        Raises:
            SettingsError: there is no teacher.
        """
        if teacher is None:
            raise SettingsError("lrent has soft labels from the round's teacher; give prepare(teacher=Teacher(...))")
        state = super().prepare(network, optimization, seed=seed, domain_predictor=domain_predictor)
        state.frozen["teacher"] = teacher
        return state

    def target_loss(self, state: State, target: Batch) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
        """Cross-entropy with the teacher's soft labels."""
        teacher = cast("Teacher", state.frozen["teacher"])
        return partial(soft_nll, soft=soft_labels(teacher(target.image), teacher.thresholds, self.smoothness))
