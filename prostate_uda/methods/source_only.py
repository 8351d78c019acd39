"""Floor 3: training on the source alone, the row every adaptation stands beside.

L = Σ_l α_l CE(f_l(x_s), y_s)
"""

from dataclasses import dataclass

from prostate_uda.data.batch import Batch
from prostate_uda.methods.base import Losses, Method, State, finish, forward, segmentation_loss


@dataclass(frozen=True, kw_only=True)
class SourceOnly(Method):
    """Supervised training on the source; the target batch is not looked at.

    Attributes:
        level_weights: α, shallow to deep.
    """

    level_weights: tuple[float, ...] = (0.1, 1.0)

    def step(self, state: State, source: Batch, target: Batch) -> Losses:  # noqa: ARG002
        """Forward, cross-entropy at every level, backward."""
        state.network.train()
        state.schedule()
        loss = segmentation_loss(forward(state.network, source.image), source.label, self.level_weights)
        return finish(state, loss, source=loss)
