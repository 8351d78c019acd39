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
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, cast

import ignite.distributed as idist
import torch
from torch import Tensor, nn

from prostate_uda.data.batch import Batch
from prostate_uda.errors import SettingsError
from prostate_uda.maths import hypergradient, losses, noise
from prostate_uda.maths.hypergradient import Bilevel, Hypergradient, Logits, Parameters
from prostate_uda.maths.selection import BalancedSelection, Selection, target_like
from prostate_uda.maths.volume_selection import VolumeSelection
from prostate_uda.methods.base import (
    Losses,
    Method,
    State,
    check_choices,
    check_level_weights,
    check_volume_trust,
    descend,
    labelled,
    segmentation_loss,
    summed,
    total,
)
from prostate_uda.networks.gates import Gates
from prostate_uda.networks.optimization import Optimization
from prostate_uda.networks.splits import Passes, Scope, run_shared, split
from prostate_uda.networks.teacher import Teacher

NTM_BETAS = (0.9, 0.99)
"""Adam's, for learned NTMs: G shrinks by orders of magnitude while the network learns, and the usual 0.999 would
remember its first steps for a thousand."""
Derivative = Literal["finite-difference", "forward-mode", "double-backward"]


@dataclass(frozen=True, kw_only=True)
class MetaCorrection(Method):
    """Loss correction with an NTM per level; ``level_weights=(0, 1)`` is the paper's "single DMLC".

    Attributes:
        level_weights: α, shallow to deep. A level of weight zero has no part and its NTM stays at the start.
        ntm_mode: ``per-step`` starts every step from the same matrix and moves it once (the published practice);
            ``learned`` keeps ``T = softmax(V)`` over the whole run, V moved by Adam along the same gradient.
        ntm_moves: ``before`` the actual step (the paper), or ``after`` it: then both steps share the target's backward
            pass too, and what was learned acts from the next step on.
        ntm_start: ``uniform``, ``(1 - ε)`` on the diagonal and ``ε / (C - 1)`` beside it; or ``confusion``, what the
            teacher makes of source images under strong augmentation (without one: uniform).
        epsilon: ε.
        virtual_scope: What the virtual step moves: ``all`` parameters (the paper), the ``last-stage`` with the heads,
            or the ``heads`` alone, where the hypergradient is exact and nearly free: the logits are linear in them.
        derivative: How the target logits' derivative along the meta gradient is found, beyond the heads:
            ``finite-difference``, ``forward-mode`` (exact), or the reference ``double-backward`` (the heads' too).
        virtual_rate: γ_v.
        ntm_rate: γ_m of ``per-step``: how far the steepest entry moves.
        learned_rate: Adam's rate for V in ``learned``.
        anchor: How strongly ``learned`` draws V back to its start: V stays within about ``1 / anchor`` of it, because
            Adam's steps are of its rate at most and the way back is ``anchor`` times as long. 0 lets it go.
        portion: Pseudo-labels are CBST's, class-balanced with this portion; 0 keeps every pixel's, as the paper does.
        volume_trust: Above 0, they are drawn towards the source's volumes, so far (:class:`VolumeSelection`).
        meta_threshold: τ; a source pixel is meta data where the domain predictor gives it p(target) ≥ τ.
        meta_minimum: Share of the labelled source pixels that is meta data at least.
    """

    level_weights: tuple[float, ...] = (0.1, 1.0)
    ntm_mode: Literal["per-step", "learned"] = "per-step"
    virtual_scope: Scope = "heads"
    derivative: Derivative = "finite-difference"
    ntm_moves: Literal["before", "after"] = "before"
    ntm_start: Literal["uniform", "confusion"] = "uniform"
    epsilon: float = 0.05
    virtual_rate: float = 1e-3
    ntm_rate: float = 0.11
    learned_rate: float = 0.02
    anchor: float = 0.0
    portion: float = 0.0
    volume_trust: float = 0.0
    meta_threshold: float = 0.5
    meta_minimum: float = 0.1

    @property
    def needs(self) -> frozenset[str]:
        """Pseudo-labels, the domain predictor, and the teacher's confusion where the NTM starts there."""
        return frozenset({"pseudo_labels", "domain_predictor"} | ({"confusion"} & {self.ntm_start}))

    def __post_init__(self) -> None:
        check_level_weights(self.level_weights)
        check_choices(self)
        if self.ntm_moves == "after" and (self.ntm_mode, self.derivative == "double-backward") != ("learned", False):
            raise SettingsError(
                "ntm_moves 'after' needs an NTM that outlasts the step, in closed form: choose ntm_mode 'learned' and "
                "another derivative than 'double-backward', or ntm_moves 'before'"
            )
        if not 0 < self.epsilon < 1:
            raise SettingsError(f"epsilon {self.epsilon}; allowed is 0 < epsilon < 1 (at T = I the slope is unbounded)")
        if not (self.virtual_rate > 0 and self.ntm_rate >= 0 and self.learned_rate > 0):
            raise SettingsError(
                f"virtual_rate {self.virtual_rate}, ntm_rate {self.ntm_rate}, learned_rate {self.learned_rate}; "
                "allowed are positive rates (ntm_rate 0 keeps the start matrix)"
            )
        for name in ("meta_threshold", "meta_minimum", "portion"):
            if not 0 <= getattr(self, name) <= 1:
                raise SettingsError(f"{name} {getattr(self, name)}; allowed is 0 to 1")
        check_volume_trust(self.volume_trust, "portion", self.portion)
        if not 0 <= self.anchor * self.learned_rate <= 1 or (self.anchor and self.ntm_mode != "learned"):
            raise SettingsError(f"anchor {self.anchor}; allowed is 0 to 1 / learned_rate, above 0 with 'learned' alone")

    def selection(self, round_number: int) -> Selection:  # noqa: ARG002  the same in every round
        """All pseudo-labels, or the class-balanced portion, or such that volumes fit."""
        if self.volume_trust:
            return VolumeSelection(trust=self.volume_trust)
        return BalancedSelection(portion=self.portion) if self.portion else Selection()

    def prepare(
        self,
        network: nn.Module,
        optimization: Optimization,
        *,
        seed: int = 0,  # noqa: ARG002  the contract of every method
        domain_predictor: nn.Module | None = None,
        teacher: Teacher | None = None,
    ) -> State:
        """The NTMs at their start, one ``(C, C)`` per level, stacked ``(L, C, C)``.

        Raises:
            SettingsError: no ``num_classes`` in the network, no cut at the scope, or the reference in many processes.
        """
        classes = getattr(network, "num_classes", None)
        if not isinstance(classes, int):
            raise SettingsError("the network does not say num_classes; use one from prostate_uda.networks.NETWORKS")
        split(network, self.virtual_scope)
        if self.derivative == "double-backward" and idist.get_world_size() > 1:
            raise SettingsError("derivative 'double-backward' is the reference, for one process; choose another")
        device = next(network.parameters()).device
        start, tensors = noise.start(classes, self.epsilon, device=device), dict[str, Tensor]()
        if self.ntm_start == "confusion" and teacher is not None and teacher.confusion is not None:
            start = tensors["ntm_start"] = noise.from_counts(teacher.confusion).to(device)
        first = tensors["ntm"] = torch.stack([start for _ in self.level_weights])
        optimizers = {"network": optimization.for_network(network)}
        if self.ntm_mode == "learned":
            tensors["ntm_logits"] = first.log().requires_grad_(True)
            optimizers["ntm"] = torch.optim.Adam([tensors["ntm_logits"]], lr=self.learned_rate, betas=NTM_BETAS)
        frozen = {} if domain_predictor is None else {"domain_predictor": domain_predictor}
        return State(network, optimizers, tensors=tensors, frozen=frozen, optimization=optimization)

    def step(self, state: State, source: Batch, target: Batch) -> Losses:
        """Virtual, meta, NTM, actual: the four lines of the module's docstring."""
        state.network.train()
        state.schedule()
        meta_label = self.meta_label(state, source)
        passes = run_shared(state.network, self.virtual_scope, source.image, target.image)
        optimizer, after = state.optimizers["network"], self.ntm_moves == "after"
        found = self.hypergradient(state, passes, meta_label, target.label, into=optimizer if after else None)
        transitions = self.move_transitions(state, found.gradients)
        on_source = segmentation_loss(passes.above(passes.source), source.label, self.level_weights)
        if after:
            on_target = found.target_loss
            descend(optimizer, on_source, onto=True)
        else:
            on_target = self.corrected_loss(passes.levels.logits, target.label, tuple(transitions))
            descend(optimizer, on_source + on_target)
        state.step += 1
        share = labelled(meta_label) / (meta_label.numel() * idist.get_world_size())
        return {
            **summed(source=on_source, target=on_target, meta=found.meta_loss),
            "meta_share": share,
            "ntm_diagonal": transitions[-1].diagonal().mean(),
        }

    def meta_label(self, state: State, source: Batch) -> Tensor:
        """``(B, H, W)`` source labels on the meta pixels, IGNORE elsewhere; all of them without a predictor."""
        predictor = state.frozen.get("domain_predictor")
        if predictor is None:
            return source.label
        with torch.no_grad(), torch.autocast(source.image.device.type, enabled=False):  # bfloat16 has two digits
            probability = predictor(source.image)
        whole, label = (cast("Tensor", idist.all_gather(value)) for value in (probability, source.label))
        chosen = target_like(whole, label, self.meta_threshold, self.meta_minimum)
        return chosen.view(idist.get_world_size(), *source.label.shape)[idist.get_rank()]

    def corrected_loss(self, logits: Logits, label: Tensor, transitions: Sequence[Tensor]) -> Tensor:
        """``Σ_l α_l NLL(log(p_l T_l), ŷ)``, this process's share; ShapeError where there is not one weight per head."""
        losses.one_weight_per_level(len(logits), self.level_weights)
        count = labelled(label)
        parts = [
            noise.corrected_nll(z, transition, label, count) if weight else z.new_zeros(())
            for z, transition, weight in zip(logits, transitions, self.level_weights, strict=True)
        ]
        return losses.weighted_sum(parts, self.level_weights)

    def hypergradient(
        self,
        state: State,
        passes: Passes,
        meta_label: Tensor,
        target_label: Tensor,
        into: torch.optim.Optimizer | None = None,
    ) -> Hypergradient:
        """G per level at the NTM that the step starts from; moves neither weights nor batch-norm statistics.

        Args:
            state: Of this method.
            passes: Of the two images.
            meta_label: ``(B, H, W)`` source labels on the meta pixels.
            target_label: ``(B, H, W)`` pseudo-labels.
            into: Whose parameters get the gradient of L_t, for an actual step that goes on from it.
        """
        source, target = (tuple(one.detach() for one in carried) for carried in (passes.source, passes.target))
        parameters = passes.parameters
        transitions = tuple(self.first_transitions(state))

        def meta_loss(weights: Parameters) -> Tensor:
            return segmentation_loss(passes.above(source, weights), meta_label, self.level_weights)

        if self.derivative == "double-backward":
            return hypergradient.double_backward(
                lambda weights, T: self.corrected_loss(passes.above(target, weights).logits, target_label, T),
                meta_loss,
                parameters,
                transitions,
                self.virtual_rate,
            )
        count = labelled(target_label)
        problem = Bilevel(
            target_loss=lambda logits, T: self.corrected_loss(logits, target_label, T),
            meta_loss=meta_loss,
            directional=lambda direction: self.directional(passes, target, direction),
            slope=lambda level, z, dz, T: (
                self.level_weights[level] * hypergradient.transition_slope(z, dz, T, target_label, count)
            ),
            total=total,
            target_slopes=(
                partial(hypergradient.slopes, retain_graph=True) if into is None else partial(passes.backward, into)
            ),
        )
        return hypergradient.closed_form(problem, passes.levels.logits, parameters, transitions, self.virtual_rate)

    def directional(self, passes: Passes, target: tuple[Tensor, ...], direction: Parameters) -> Logits:
        """ż: the derivative of the target's logits along ``direction``, with the weights below the scope held."""
        parameters = passes.parameters

        def logits_at(weights: Parameters) -> Logits:
            return passes.above(target, weights).logits

        if passes.parts.linear:
            with torch.no_grad():
                still = {name: torch.zeros_like(value) for name, value in parameters.items() if name not in direction}
                return logits_at({**direction, **still})
        kind = target[0].device.type
        half = torch.is_autocast_enabled(kind)
        if half:  # tangents are float32, and a difference of half-precision logits is their round-off
            target = tuple(losses.widened(one) for one in target)
        with torch.autocast(kind, enabled=False):
            if self.derivative == "forward-mode":
                return hypergradient.forward_mode(logits_at, parameters, direction)
            smooth, shared = (replace(passes, gates=Gates()), None) if half else (passes, passes.levels.logits)
            return hypergradient.finite_difference(
                lambda weights: smooth.along(weights, target).logits, parameters, direction, shared
            )

    def first_transitions(self, state: State) -> Tensor:
        """``(L, C, C)`` NTMs that a step starts from: what was learned so far, or the same start every time."""
        ntm = state.tensors["ntm"]
        return ntm if self.ntm_mode == "learned" else self.start_transition(state).expand_as(ntm)

    def start_transition(self, state: State) -> Tensor:
        """The ``(C, C)`` NTM that all levels start from."""
        ntm = state.tensors["ntm"]
        return state.tensors.get("ntm_start", noise.start(ntm.shape[-1], self.epsilon, ntm.dtype, ntm.device)).to(ntm)

    def move_transitions(self, state: State, gradients: Sequence[Tensor]) -> Tensor:
        """T⁺, ``(L, C, C)``, also kept in the state; the next step goes on from it when learned."""
        current = state.tensors["ntm"]
        if self.ntm_mode == "per-step":
            pairs = zip(self.first_transitions(state), gradients, strict=True)
            return current.copy_(torch.stack([noise.descend(first, slope, self.ntm_rate) for first, slope in pairs]))
        logits = state.tensors["ntm_logits"]
        if self.anchor:
            rate = state.optimizers["ntm"].param_groups[0]["lr"]
            logits.data.lerp_(self.start_transition(state).log().to(logits), rate * self.anchor)
        state.optimizers["ntm"].zero_grad(set_to_none=True)
        logits.softmax(dim=-1).backward(torch.stack(list(gradients)))  # type: ignore[no-untyped-call]
        state.optimizers["ntm"].step()
        return current.copy_(logits.detach().softmax(dim=-1))
