"""Floor 3: self-training whose loss is corrected by meta-learned noise transition matrices.

Per step, with levels l (layer3 head, layer4 head) and ``q = p T``, ``T[j, k] = p(pseudo = k | true = j)``:

1. virtual: ``ŵ(T) = w - γ_v ∇_w Σ_l α_l NLL(log(p_l T_l), ŷ_t)``
2. meta:    ``G = ∇_T Σ_l α_l NLL(log p_l(x_m; ŵ(T)), y_m)`` on the target-like source pixels m
3. NTM:     move T along -G, back onto row-stochastic matrices
4. actual:  ``w ← w - γ_a ∇_w [Σ_l α_l CE(source) + Σ_l α_l NLL(log(p_l T_l⁺), ŷ_t)]``

Source: Guo et al., MetaCorrection, CVPR 2021. Where the published script differs from these equations, the equations
hold; ``docs/methods/metacorrection.md`` lists each difference and the test that pins it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from prostate_uda.data.batch import Batch
from prostate_uda.errors import SettingsError
from prostate_uda.maths import losses, noise
from prostate_uda.maths.hypergradient import Hypergradient, Parameters, double_backward
from prostate_uda.maths.selection import target_like
from prostate_uda.methods.base import (
    Losses,
    Method,
    Optimization,
    State,
    check_level_weights,
    descend,
    forward,
    forward_unmoved,
    segmentation_loss,
)
from prostate_uda.networks.levels import Levels


@dataclass(frozen=True, kw_only=True)
class MetaCorrection(Method):
    """Loss correction with an NTM per level; ``level_weights=(0, 1)`` is the paper's "single DMLC".

    Attributes:
        level_weights: α, shallow to deep. A level of weight zero has no part and its NTM stays at the start.
        ntm_mode: ``per-step`` starts every step from the same matrix and moves it once (the published practice);
            ``learned`` keeps ``T = softmax(V)`` over the whole run, V moved by Adam along the same gradient.
        epsilon: The start is ``(1 - ε)`` on the diagonal and ``ε / (C - 1)`` beside it.
        virtual_rate: γ_v.
        ntm_rate: γ_m of ``per-step``: how far the steepest entry moves.
        learned_rate: Adam's rate for V in ``learned``.
        meta_threshold: τ; a source pixel is meta data where the domain predictor gives it p(target) ≥ τ.
        meta_minimum: Share of the labelled source pixels that is meta data at least.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"pseudo_labels", "domain_predictor"})
    level_weights: tuple[float, ...] = (0.1, 1.0)
    ntm_mode: Literal["per-step", "learned"] = "per-step"
    epsilon: float = 0.05
    virtual_rate: float = 1e-3
    ntm_rate: float = 0.11
    learned_rate: float = 0.02
    meta_threshold: float = 0.5
    meta_minimum: float = 0.1

    def __post_init__(self) -> None:
        check_level_weights(self.level_weights)
        if self.ntm_mode not in ("per-step", "learned"):
            raise SettingsError(f"NTM mode {self.ntm_mode!r}; allowed are 'per-step' and 'learned'")
        if not 0 < self.epsilon < 1:
            raise SettingsError(f"epsilon {self.epsilon}; allowed is 0 < epsilon < 1 (at T = I the slope is unbounded)")
        if not (self.virtual_rate > 0 and self.ntm_rate >= 0 and self.learned_rate > 0):
            raise SettingsError(
                f"virtual_rate {self.virtual_rate}, ntm_rate {self.ntm_rate}, learned_rate {self.learned_rate}; "
                "allowed are positive rates (ntm_rate 0 keeps the start matrix)"
            )
        if not (0 <= self.meta_threshold <= 1 and 0 <= self.meta_minimum <= 1):
            raise SettingsError(
                f"meta_threshold {self.meta_threshold}, meta_minimum {self.meta_minimum}; allowed is 0 to 1 for both"
            )

    def prepare(
        self,
        network: nn.Module,
        optimization: Optimization,
        *,
        seed: int = 0,  # noqa: ARG002  the contract of every method
        domain_predictor: nn.Module | None = None,
    ) -> State:
        """The NTMs at their start, one ``(C, C)`` per level, stacked ``(L, C, C)``.

        Raises:
            SettingsError: the network has no attribute ``num_classes``.
        """
        classes = getattr(network, "num_classes", None)
        if not isinstance(classes, int):
            raise SettingsError("the network does not say num_classes; use one from prostate_uda.networks.NETWORKS")
        device = next(network.parameters()).device
        first = torch.stack([noise.start(classes, self.epsilon) for _ in self.level_weights]).to(device)
        tensors, optimizers = {"ntm": first}, {"network": optimization.for_network(network)}
        if self.ntm_mode == "learned":
            tensors["ntm_logits"] = first.log().requires_grad_(True)
            optimizers["ntm"] = torch.optim.Adam([tensors["ntm_logits"]], lr=self.learned_rate)
        frozen = {} if domain_predictor is None else {"domain_predictor": domain_predictor}
        return State(network, optimizers, tensors=tensors, frozen=frozen, optimization=optimization)

    def step(self, state: State, source: Batch, target: Batch) -> Losses:
        """Virtual, meta, NTM, actual: the four lines of the module's docstring."""
        state.network.train()
        state.schedule()
        meta_label = self.meta_label(state, source)
        found = self.hypergradient(state, source.image, meta_label, target)
        transitions = self.move_transitions(state, found.gradients)
        on_source = segmentation_loss(forward_unmoved(state.network, source.image), source.label, self.level_weights)
        on_target = self.corrected_loss(forward(state.network, target.image), target.label, tuple(transitions))
        descend(state.optimizers["network"], on_source + on_target)
        state.step += 1
        share = (meta_label != losses.IGNORE).float().mean()
        return {
            "source": on_source.detach(),
            "target": on_target.detach(),
            "meta": found.meta_loss,
            "meta_share": share,
            "ntm_diagonal": transitions[-1].diagonal().mean(),
        }

    def meta_label(self, state: State, source: Batch) -> Tensor:
        """``(B, H, W)`` source labels on the meta pixels, IGNORE elsewhere; all of them without a predictor."""
        predictor = state.frozen.get("domain_predictor")
        if predictor is None:
            return source.label
        with torch.no_grad():
            probability = predictor(source.image)
        return target_like(probability, source.label, self.meta_threshold, self.meta_minimum)

    def corrected_loss(self, levels: Levels, label: Tensor, transitions: Sequence[Tensor]) -> Tensor:
        """``Σ_l α_l NLL(log(p_l T_l), ŷ)``; ShapeError where there is not one weight per head."""
        losses.one_weight_per_level(len(levels.logits), self.level_weights)
        parts = [
            noise.corrected_nll(logits, transition, label) if weight else logits.new_zeros(())
            for logits, transition, weight in zip(levels.logits, transitions, self.level_weights, strict=True)
        ]
        return losses.weighted_sum(parts, self.level_weights)

    def hypergradient(self, state: State, image: Tensor, meta_label: Tensor, target: Batch) -> Hypergradient:
        """G per level at the state's NTMs; moves neither weights nor batch-norm statistics.

        Args:
            state: Of this method.
            image: ``(B, k, H, W)`` source images.
            meta_label: ``(B, H, W)`` their labels on the meta pixels.
            target: Images with pseudo-labels.
        """

        def target_loss(weights: Parameters, transitions: Sequence[Tensor]) -> Tensor:
            return self.corrected_loss(forward_unmoved(state.network, target.image, weights), target.label, transitions)

        def meta_loss(weights: Parameters) -> Tensor:
            return segmentation_loss(forward_unmoved(state.network, image, weights), meta_label, self.level_weights)

        parameters = dict(state.network.named_parameters())
        return double_backward(target_loss, meta_loss, parameters, tuple(state.tensors["ntm"]), self.virtual_rate)

    def move_transitions(self, state: State, gradients: Sequence[Tensor]) -> Tensor:
        """T⁺, ``(L, C, C)``: kept in the state when learned, used once and forgotten when per step."""
        current = state.tensors["ntm"]
        if self.ntm_mode == "per-step":
            pairs = zip(current, gradients, strict=True)
            return torch.stack([noise.descend(transition, gradient, self.ntm_rate) for transition, gradient in pairs])
        logits = state.tensors["ntm_logits"]
        state.optimizers["ntm"].zero_grad(set_to_none=True)
        logits.softmax(dim=-1).backward(torch.stack(list(gradients)))  # type: ignore[no-untyped-call]
        state.optimizers["ntm"].step()
        current.copy_(logits.detach().softmax(dim=-1))
        return current
