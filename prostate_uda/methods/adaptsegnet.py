"""Floor 3: adversarial alignment of the output space.

    L_seg + λ_adv BCE(D(softmax f(x_t)), source)        and        ½ [BCE(D(p_s), 0) + BCE(D(p_t), 1)]

Source: Tsai et al., Learning to Adapt Structured Output Space, CVPR 2018. Its discriminator is also MetaCorrection's
domain predictor. The published predictor ends in a sigmoid and is trained with a with-logits loss; ours gives logits.
"""

from dataclasses import dataclass
from math import inf

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

DEEPEST, SHALLOWEST = "discriminator", "shallow_discriminator"
"""Names of the discriminators."""


@dataclass(frozen=True, kw_only=True)
class AdaptSegNet(Method):
    """A discriminator on the deepest head's softmax, and one on the shallow head's where it has a weight.

    Attributes:
        level_weights: α of the segmentation loss, shallow to deep.
        adversarial_weight: λ_adv of the deepest head.
        shallow_weight: λ_adv of the shallowest head: 2e-4 in the published multi-level model, 0 with a single level.
        discriminator_rate: Adam's rate for D.
        discriminator_channels: Channels of D's first layer.
        discriminator_stages: Stride-2 stages of D.
    """

    level_weights: tuple[float, ...] = (0.1, 1.0)
    adversarial_weight: float = 1e-3
    shallow_weight: float = 0.0
    discriminator_rate: float = 1e-4
    discriminator_channels: int = 64
    discriminator_stages: int = 4

    def __post_init__(self) -> None:
        check_level_weights(self.level_weights)
        weights = self.adversarial_weight, self.shallow_weight
        if not (all(0 <= weight < inf for weight in weights) and 0 < self.discriminator_rate < inf):
            raise SettingsError(
                f"adversarial_weight {weights[0]}, shallow_weight {weights[1]}, discriminator_rate "
                f"{self.discriminator_rate}; allowed are weights ≥ 0 and a rate > 0"
            )
        if self.shallow_weight and len(self.level_weights) < 2:
            raise SettingsError(
                f"shallow_weight {self.shallow_weight} beside level_weights {self.level_weights}, of one head, which "
                "has no shallower one; leave it out, or give a weight for each of several heads"
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
        """The network and a fresh discriminator per level that has a weight, each with its optimizer."""
        state = State(network, {"network": optimization.for_network(network)}, optimization=optimization)
        for number, (name, _, _) in enumerate(self._judged()):
            judge = new_discriminator(
                network, channels=self.discriminator_channels, stages=self.discriminator_stages, seed=seed + number
            )
            state.modules[name] = judge
            state.optimizers[name] = discriminator_optimizer(judge, self.discriminator_rate)
        return state

    def _judged(self) -> list[tuple[str, int, float]]:
        """Name of each discriminator, the level that it sees, and λ; the deepest level's is always there."""
        deepest = (DEEPEST, -1, self.adversarial_weight)
        return [deepest, (SHALLOWEST, 0, self.shallow_weight)] if self.shallow_weight else [deepest]

    def step(self, state: State, source: Batch, target: Batch) -> Losses:
        """The network's step (segment the source, fool D on the target), then each D's on the detached maps."""
        state.network.train()
        state.schedule()
        on_source, on_target = forward(state.network, source.image), forward(state.network, target.image)
        segmentation = segmentation_loss(on_source, source.label, self.level_weights)
        target_maps = {name: on_target.logits[level].softmax(dim=1) for name, level, _ in self._judged()}
        fooled = {name: domain_loss(state.modules[name].train()(seen), SOURCE) for name, seen in target_maps.items()}
        total = segmentation
        for name, _, weight in self._judged():
            total = total + weight * fooled[name]
        descend(state.optimizers["network"], total)

        told = {}
        for name, level, _ in self._judged():
            judge, source_map = state.modules[name], on_source.logits[level].softmax(dim=1).detach()
            telling = domain_loss(judge(source_map), SOURCE) + domain_loss(judge(target_maps[name].detach()), TARGET)
            descend(state.optimizers[name], telling / 2)
            told[name] = telling / 2
        state.step += 1
        return summed(source=segmentation, fooling=fooled[DEEPEST], **told)
