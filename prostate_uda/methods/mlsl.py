"""Floor 3: MLSL: pseudo-labels by the vote of overlapping windows, and which classes an image has at all.

    L = Σ_l α_l CE(f_l(x_s), y_s) + λ Σ_l α_l CE(f_l(x_t), ŷ_t) + λ_w mean_c [ BCE(h(x_s), w_s) + BCE(h(x_t), ŵ_t) ]

ŷ_t: every window over the image votes, and CBST's rule with a growing portion selects by the shares of votes (SISC).
w says of each class whether a label has it (PWL); h is a small classifier of the deepest features' mean over the image.

Source: Iqbal and Ali, WACV 2020, and the code published with it (engrjavediqbal/MLSL).
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from prostate_uda.data.batch import Batch
from prostate_uda.errors import SettingsError
from prostate_uda.maths.losses import widened
from prostate_uda.maths.votes import VotedSelection, any_known, classes_present, presence_loss
from prostate_uda.methods.base import (
    Losses,
    Method,
    State,
    check_choices,
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
from prostate_uda.networks.voting import Voting

PROBE = 64
"""Pixels a side of the blank image that tells how many features the network has."""


@dataclass(frozen=True, kw_only=True)
class MLSL(Method):
    """Pseudo-labels that overlapping windows agree on, class-balanced, and a classifier of which classes are there.

    Attributes:
        level_weights: α, shallow to deep.
        target_weight: λ.
        portion: Share of the pixels voted a class that sets its threshold in the first round.
        portion_step: How much it grows with each further round.
        portion_max: Where it ends.
        window_scales: Sides of the windows as shares of the image's shorter side; the whole image votes besides.
        window_overlap: Share of a side that neighbouring windows have in common at least.
        vote: ``hard``, a window votes for its likeliest class, or ``soft``, by its probabilities.
        presence_weight: λ_w.
        presence_pixels: Pixels of a label that make a class present.
        presence_channels: Of the classifier's hidden layer.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"pseudo_labels"})
    level_weights: tuple[float, ...] = (0.1, 1.0)
    target_weight: float = 1.0
    portion: float = 0.3
    portion_step: float = 0.05
    portion_max: float = 0.5
    window_scales: tuple[float, ...] = (0.75, 0.5)
    window_overlap: float = 0.5
    vote: Literal["hard", "soft"] = "hard"
    presence_weight: float = 0.04
    presence_pixels: int = 1
    presence_channels: int = 512

    def __post_init__(self) -> None:
        check_level_weights(self.level_weights)
        check_weight("target_weight", self.target_weight)
        check_weight("presence_weight", self.presence_weight)
        check_choices(self)
        if not (0 < self.portion <= self.portion_max <= 1 and self.portion_step >= 0):
            raise SettingsError(
                f"portion {self.portion}, portion_step {self.portion_step}, portion_max {self.portion_max}; allowed is "
                "0 < portion ≤ portion_max ≤ 1, and a step ≥ 0"
            )
        if not (all(0 < scale <= 1 for scale in self.window_scales) and 0 <= self.window_overlap <= 0.9):
            raise SettingsError(
                f"window_scales {self.window_scales}, window_overlap {self.window_overlap}; allowed are scales above 0 "
                "to 1, and an overlap of 0 to 0.9"
            )
        if self.presence_pixels < 1 or self.presence_channels < 1:
            raise SettingsError(
                f"presence_pixels {self.presence_pixels}, presence_channels {self.presence_channels}; allowed is 1 or "
                "more for both"
            )

    def labeller(self, network: nn.Module) -> nn.Module:
        """The network asked window by window."""
        return Voting(network, scales=self.window_scales, overlap=self.window_overlap, hard=self.vote == "hard")

    def selection(self, round_number: int) -> VotedSelection:
        """CBST's rule with the round's portion, on shares of votes."""
        portion = min(self.portion + self.portion_step * (round_number - 1), self.portion_max)
        return VotedSelection(portion=portion, scales=self.window_scales, overlap=self.window_overlap, vote=self.vote)

    def prepare(
        self,
        network: nn.Module,
        optimization: Optimization,
        *,
        seed: int = 0,
        domain_predictor: nn.Module | None = None,
        teacher: Teacher | None = None,  # noqa: ARG002  the contract of every method
    ) -> State:
        """The network and a fresh classifier of its deepest features, moved by one optimizer."""
        state = super().prepare(network, optimization, seed=seed, domain_predictor=domain_predictor)
        classifier = self._new_classifier(network, seed)
        rate = optimization.learning_rate * optimization.head_factor
        state.optimizers["network"].add_param_group({"params": list(classifier.parameters()), "lr": rate})
        state.modules["presence"] = classifier
        return state

    def step(self, state: State, source: Batch, target: Batch) -> Losses:
        """Both domains forward, one backward."""
        state.network.train()
        state.schedule()
        of_source, of_target = forward_unmoved(state.network, source.image), forward(state.network, target.image)
        on_source = segmentation_loss(of_source, source.label, self.level_weights)
        on_target = segmentation_loss(of_target, target.label, self.level_weights)
        classifier = state.modules["presence"].train()
        present = self.presence(classifier, of_source, source.label) + self.presence(
            classifier, of_target, target.label
        )
        loss = on_source + self.target_weight * on_target + self.presence_weight * present
        return finish(state, loss, source=on_source, target=on_target, presence=present)

    def presence(self, classifier: nn.Module, levels: Levels, label: Tensor) -> Tensor:
        """``mean BCE(h, w)`` over the images with a label and the classes, this process's share."""
        logits = classifier(widened(levels.features[-1]).mean(dim=(2, 3)))
        known = any_known(label)
        count = known.sum()
        total([count])
        return presence_loss(logits, classes_present(label, logits.shape[1], self.presence_pixels), known, count)

    def _new_classifier(self, network: nn.Module, seed: int) -> nn.Module:
        """``F`` mean features to ``C`` logits, where the network is."""
        like = next(network.parameters())
        blank = like.new_zeros(2, int(network.in_channels), PROBE, PROBE)  # type: ignore[arg-type]  # nn.Module hides the int
        with torch.no_grad():
            levels = forward_unmoved(network, blank)
        features, classes = levels.features[-1].shape[1], levels.final.shape[1]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            layers = nn.Linear(features, self.presence_channels), nn.ReLU(), nn.Linear(self.presence_channels, classes)
        return nn.Sequential(*layers).to(like)
