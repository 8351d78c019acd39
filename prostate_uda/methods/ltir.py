"""Floor 3: LTIR: a source that has many textures and the target's, aligned outputs, and then self-training.

    network:        L = Σ_l α_l CE(f_l(x̃_s), y_s) + λ_adv BCE(D(p_t), 0) + λ Σ_l α_l CE(f_l(x_t), ŷ_t)
    discriminator:  L_D = ½ [BCE(D(p̃_s), 0) + BCE(D(p_t), 1)]

x̃_s is the source image with the target's low-frequency amplitudes in one step and with a random texture in the next;
ŷ_t are pseudo-labels surer than ``min(median, 0.9)`` of their class. The paper does the first two terms in one stage,
the first and the third in another; docs/methods/ltir.md says how they come together here, and why without a style
network.

Source: Kim and Byun, Learning Texture Invariant Representation for Domain Adaptation of Semantic Segmentation, CVPR
2020, and the code published with it.
"""

from dataclasses import dataclass
from typing import Literal

import ignite.distributed as idist
import numpy as np
import torch
from torch import Tensor, nn

from prostate_uda.data.batch import Batch
from prostate_uda.errors import SettingsError
from prostate_uda.maths.fourier import block_reach
from prostate_uda.maths.selection import Selection
from prostate_uda.maths.texture import check_sizes, random_texture, styled_as
from prostate_uda.methods.adversarial import SOURCE, TARGET, discriminator_optimizer, domain_loss, new_discriminator
from prostate_uda.methods.base import (
    Losses,
    Method,
    State,
    check_choices,
    check_level_weights,
    check_weight,
    descend,
    forward,
    forward_unmoved,
    segmentation_loss,
    summed,
)
from prostate_uda.networks.levels import Levels
from prostate_uda.networks.optimization import Optimization
from prostate_uda.networks.teacher import Teacher


@dataclass(frozen=True, kw_only=True)
class LTIR(Method):
    """A source of the target's look and of random textures in turn, output alignment, and pseudo-labels.

    Attributes:
        level_weights: α, shallow to deep.
        adversarial_weight: λ_adv; 0 is without a discriminator.
        target_weight: λ of the pseudo-labels; 0 is without them.
        confidence: Largest threshold of a class's pseudo-labels; a class's own is its median where that is smaller.
        textures: ``alternate``, or one of the two alone: ``translated`` or ``diverse``.
        translation_beta: Share of the image's side up to which frequencies get the target's amplitudes.
        texture_sizes: Sides of the random kernels.
        discriminator_rate: Adam's rate for D.
        discriminator_channels: Channels of D's first layer.
        discriminator_stages: Stride-2 stages of D.
    """

    level_weights: tuple[float, ...] = (0.1, 1.0)
    adversarial_weight: float = 1e-3
    target_weight: float = 1.0
    confidence: float = 0.9
    textures: Literal["alternate", "translated", "diverse"] = "alternate"
    translation_beta: float = 0.05
    texture_sizes: tuple[int, ...] = (1, 3, 5, 7)
    discriminator_rate: float = 1e-4
    discriminator_channels: int = 64
    discriminator_stages: int = 4

    def __post_init__(self) -> None:
        check_level_weights(self.level_weights)
        check_weight("adversarial_weight", self.adversarial_weight)
        check_weight("target_weight", self.target_weight)
        check_choices(self)
        check_sizes(self.texture_sizes)
        block_reach(1, 1, self.translation_beta)
        if not 0 < self.confidence <= 1:
            raise SettingsError(f"confidence {self.confidence}; allowed is above 0 to 1")
        if not (self.discriminator_rate > 0 and self.discriminator_channels >= 1 and self.discriminator_stages >= 1):
            raise SettingsError(
                f"discriminator_rate {self.discriminator_rate}, discriminator_channels {self.discriminator_channels}, "
                f"discriminator_stages {self.discriminator_stages}; allowed are a rate > 0, and 1 or more for both"
            )

    @property
    def needs(self) -> frozenset[str]:
        """Pseudo-labels, where they weigh anything."""
        return frozenset({"pseudo_labels"} if self.target_weight else ())

    def selection(self, round_number: int) -> Selection:  # noqa: ARG002  the same in all rounds
        """The surer half of each class, and all that is surer than the confidence."""
        return Selection(threshold=self.confidence, portion=0.5)

    def prepare(
        self,
        network: nn.Module,
        optimization: Optimization,
        *,
        seed: int = 0,
        domain_predictor: nn.Module | None = None,
        teacher: Teacher | None = None,  # noqa: ARG002  the contract of every method
    ) -> State:
        """The network, the seed of the textures, and a fresh discriminator with its optimizer."""
        state = super().prepare(network, optimization, seed=seed, domain_predictor=domain_predictor)
        state.tensors["seed"] = torch.tensor(seed)
        if self.adversarial_weight:
            discriminator = new_discriminator(
                network, channels=self.discriminator_channels, stages=self.discriminator_stages, seed=seed
            )
            state.modules["discriminator"] = discriminator
            state.optimizers["discriminator"] = discriminator_optimizer(discriminator, self.discriminator_rate)
        return state

    def step(self, state: State, source: Batch, target: Batch) -> Losses:
        """The network's step (segment both domains, fool D on the target), then D's on the detached maps."""
        state.network.train()
        state.schedule()
        image = self.retextured(state, source.image, target.image)
        of_source, of_target = forward_unmoved(state.network, image), forward(state.network, target.image)
        on_source = segmentation_loss(of_source, source.label, self.level_weights)
        on_target = segmentation_loss(of_target, target.label, self.level_weights)
        loss, shares = on_source + self.target_weight * on_target, {"source": on_source, "target": on_target}
        if self.adversarial_weight:
            shares["fooling"] = domain_loss(state.modules["discriminator"].train()(_map(of_target)), SOURCE)
            loss = loss + self.adversarial_weight * shares["fooling"]
        descend(state.optimizers["network"], loss)
        if self.adversarial_weight:
            shares["discriminator"] = self.teach(state, _map(of_source).detach(), _map(of_target).detach())
        state.step += 1
        return summed(**shares)

    def teach(self, state: State, source_map: Tensor, target_map: Tensor) -> Tensor:
        """Move D towards telling the two maps apart; its loss before, this process's share."""
        discriminator = state.modules["discriminator"]
        telling = (domain_loss(discriminator(source_map), SOURCE) + domain_loss(discriminator(target_map), TARGET)) / 2
        descend(state.optimizers["discriminator"], telling)
        return telling

    def retextured(self, state: State, source: Tensor, target: Tensor) -> Tensor:
        """The step's source images: translated in even steps, diverse in odd ones, or one of the two always."""
        turn = {"alternate": state.step % 2 == 0, "translated": True, "diverse": False}[self.textures]
        with torch.no_grad(), torch.autocast(source.device.type, enabled=False):
            if turn:
                return styled_as(source, target, self.translation_beta)
            first = idist.get_rank() * len(source)  # place in all processes' batch: their number changes no draw
            key = int(state.tensors["seed"]), state.step
            images = [
                random_texture(image[None], self.texture_sizes, _generator(*key, first + place))
                for place, image in enumerate(source)
            ]
            return torch.cat(images)


def _generator(*key: int) -> torch.Generator:
    drawn = np.random.SeedSequence(key).generate_state(1, np.uint32)
    return torch.Generator().manual_seed(int(drawn[0]))


def _map(levels: Levels) -> Tensor:
    return levels.final.softmax(dim=1)
