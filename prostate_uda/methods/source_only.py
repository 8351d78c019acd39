"""Floor 3: training on the source alone, the row every adaptation stands beside.

L = Σ_l α_l CE(f_l(x_s), y_s)
"""

from dataclasses import dataclass

from torch import nn

from prostate_uda.data.batch import Batch
from prostate_uda.methods.base import Losses, Method, Optimization, State, descend, forward, segmentation_loss, summed


@dataclass(frozen=True, kw_only=True)
class SourceOnly(Method):
    """Supervised training on the source; the target batch is not looked at.

    Attributes:
        level_weights: α, shallow to deep.
    """

    level_weights: tuple[float, ...] = (0.1, 1.0)

    def prepare(
        self,
        network: nn.Module,
        optimization: Optimization,
        *,
        seed: int = 0,  # noqa: ARG002  the contract of every method
        domain_predictor: nn.Module | None = None,  # noqa: ARG002
    ) -> State:
        """One optimizer over the network."""
        return State(network, {"network": optimization.for_network(network)}, optimization=optimization)

    def step(self, state: State, source: Batch, target: Batch) -> Losses:  # noqa: ARG002
        """Forward, cross-entropy at every level, backward."""
        state.network.train()
        state.schedule()
        loss = segmentation_loss(forward(state.network, source.image), source.label, self.level_weights)
        descend(state.optimizers["network"], loss)
        state.step += 1
        return summed(source=loss)
