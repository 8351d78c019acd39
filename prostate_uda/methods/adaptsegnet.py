"""Floor 3: adversarial alignment of the output space.

    L_seg + λ_adv BCE(D(softmax f(x_t)), source)        and        ½ [BCE(D(p_s), 0) + BCE(D(p_t), 1)]

Source: Tsai et al., Learning to Adapt Structured Output Space, CVPR 2018. Its discriminator is also MetaCorrection's
domain predictor. The published predictor ends in a sigmoid and is trained with a with-logits loss; ours gives logits.
"""

from dataclasses import dataclass

from torch import nn

from prostate_uda.data.batch import Batch
from prostate_uda.errors import SettingsError
from prostate_uda.methods.adversarial import (
    SOURCE,
    TARGET,
    check_discriminator,
    discriminator_optimizer,
    domain_loss,
    new_discriminator,
)
from prostate_uda.methods.base import (
    Losses,
    Method,
    State,
    check_level_weights,
    descend,
    forward,
    segmentation_loss,
    summed,
)
from prostate_uda.networks.optimization import Optimization
from prostate_uda.networks.teacher import Teacher


@dataclass(frozen=True, kw_only=True)
class AdaptSegNet(Method):
    """One discriminator on the deepest head's softmax.

    Attributes:
        level_weights: α of the segmentation loss, shallow to deep.
        adversarial_weight: λ_adv.
        discriminator_rate: Adam's rate for D.
        discriminator_channels: Channels of D's first layer.
        discriminator_stages: Stride-2 stages of D.
    """

    level_weights: tuple[float, ...] = (0.1, 1.0)
    adversarial_weight: float = 1e-3
    discriminator_rate: float = 1e-4
    discriminator_channels: int = 64
    discriminator_stages: int = 4

    def __post_init__(self) -> None:
        check_level_weights(self.level_weights)
        if self.adversarial_weight < 0 or self.discriminator_rate <= 0:
            raise SettingsError(
                f"adversarial_weight {self.adversarial_weight}, discriminator_rate {self.discriminator_rate}; allowed "
                "are a weight ≥ 0 and a rate > 0"
            )
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
        """The network and a fresh discriminator, each with its optimizer."""
        discriminator = new_discriminator(
            network, channels=self.discriminator_channels, stages=self.discriminator_stages, seed=seed
        )
        optimizers = {
            "network": optimization.for_network(network),
            "discriminator": discriminator_optimizer(discriminator, self.discriminator_rate),
        }
        return State(network, optimizers, modules={"discriminator": discriminator}, optimization=optimization)

    def step(self, state: State, source: Batch, target: Batch) -> Losses:
        """The network's step (segment the source, fool D on the target), then D's on the detached maps."""
        state.network.train()
        state.schedule()
        discriminator = state.modules["discriminator"].train()
        on_source, on_target = forward(state.network, source.image), forward(state.network, target.image)
        segmentation = segmentation_loss(on_source, source.label, self.level_weights)
        target_map = on_target.final.softmax(dim=1)
        fooling = domain_loss(discriminator(target_map), SOURCE)
        descend(state.optimizers["network"], segmentation + self.adversarial_weight * fooling)

        source_map = on_source.final.softmax(dim=1).detach()
        telling = domain_loss(discriminator(source_map), SOURCE) + domain_loss(
            discriminator(target_map.detach()), TARGET
        )
        descend(state.optimizers["discriminator"], telling / 2)
        state.step += 1
        return summed(source=segmentation, fooling=fooling, discriminator=telling / 2)
