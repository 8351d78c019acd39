"""Floor 1: how the meta loss changes with the noise transition matrices.

Bilevel problem of Guo et al., MetaCorrection, CVPR 2021 ("virtual" and "meta optimization"):

    ŵ(T) = w - γ_v ∇_w L_t(w, T),        G = ∂ L_m(ŵ(T)) / ∂T

With ``g = ∇_ŵ L_m`` and ``ż = J_w z · g``, the derivative of the target logits z along g, G has a closed form and needs
no second-order graph (docs/decisions/0010):

    G = -γ_v · d/dε [∂L_t/∂T](w + εg),        [∂L_t/∂T]_jk = -α/N Σ_{ŷ=k} p_j / q_k

:func:`closed_form` is that, with ż by :func:`forward_mode`, by :func:`finite_difference`, or exact where z is linear in
w. :func:`double_backward` is the reference that they have to agree with.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm

from prostate_uda.maths.losses import IGNORE, widened
from prostate_uda.maths.noise import correct

Parameters = dict[str, Tensor]
Logits = Sequence[Tensor]
"""One ``(B, C, H, W)`` tensor per level, shallow to deep."""

CHANGE, FARTHEST = 1e-4, 3e-6
"""How far a one-sided difference goes in float32: the meta loss would change by ``ε‖g‖² = CHANGE``, in nats, which is
less far for a steep, deep network; and ``‖εg‖ / ‖w‖`` is FARTHEST at most. A central one goes ten times as far. Errors:
docs/decisions/0010."""


@dataclass(frozen=True)
class Hypergradient:
    """What the meta optimization found.

    Attributes:
        gradients: ``∂L_m/∂T_l``, one ``(C, C)`` per level, detached.
        target_loss: ``L_t(w, T)``, scalar, detached.
        meta_loss: ``L_m(ŵ)``, scalar, detached.
    """

    gradients: tuple[Tensor, ...]
    target_loss: Tensor
    meta_loss: Tensor


@dataclass(frozen=True)
class Bilevel:
    """The problem, in functions of the parameters that the virtual step moves.

    Attributes:
        target_loss: ``L_t`` of the target logits and the NTMs.
        meta_loss: ``L_m`` of the parameters; must not change anything but what it returns.
        directional: ``ż`` per level, of the direction g by parameter name.
        slope: ``d/dε ∂L_t/∂T`` of one level, of the level's index, its logits, ż and T.
        total: Sums tensors over all processes, in place; with one process it leaves them as they are.
        target_slopes: ``∇_w L_t`` by name, of ``L_t`` and the parameters.
    """

    target_loss: Callable[[Logits, Sequence[Tensor]], Tensor]
    meta_loss: Callable[[Parameters], Tensor]
    directional: Callable[[Parameters], Logits]
    slope: Callable[[int, Tensor, Tensor, Tensor], Tensor]
    total: Callable[[Iterable[Tensor]], None]
    target_slopes: Callable[[Tensor, Parameters], Parameters]


def closed_form(
    problem: Bilevel,
    logits: Logits,
    parameters: Mapping[str, Tensor],
    transitions: Sequence[Tensor],
    virtual_rate: float,
) -> Hypergradient:
    """G without a second-order graph: one backward pass for ŵ, one of the meta loss, and ż.

    Args:
        problem: What is solved.
        logits: z at w. Their graph leads to the parameters; the actual step can use it again where ``target_slopes``
            keeps it.
        parameters: w by name; those that need no gradient take no virtual step. No ``.grad`` is touched here.
        transitions: T by level, ``(C, C)`` each.
        virtual_rate: γ_v.
    """
    moving = {name: value for name, value in parameters.items() if value.requires_grad}
    with torch.enable_grad():
        inner = problem.target_loss(logits, transitions)
        found = problem.target_slopes(inner, moving)
    problem.total(found.values())
    virtual = {name: moving[name].detach() - virtual_rate * found.pop(name) for name in moving}
    with torch.enable_grad():
        outer = problem.meta_loss({name: value.requires_grad_(True) for name, value in virtual.items()})
        direction = slopes(outer, virtual, retain_graph=False)
    del virtual
    problem.total(direction.values())
    derivatives = problem.directional(direction)
    levels = zip(logits, derivatives, transitions, strict=True)
    gradients = [-virtual_rate * problem.slope(i, z.detach(), dz.detach(), T) for i, (z, dz, T) in enumerate(levels)]
    problem.total(gradients)
    return Hypergradient(tuple(gradients), inner.detach(), outer.detach())


def slopes(loss: Tensor, parameters: Parameters, *, retain_graph: bool) -> Parameters:
    """Gradients by name; zero where a parameter has no part in the loss."""
    found = torch.autograd.grad(loss, list(parameters.values()), retain_graph=retain_graph, materialize_grads=True)
    return dict(zip(parameters, found, strict=True))


def transition_slope(
    logits: Tensor, derivative: Tensor, transition: Tensor, label: Tensor, count: Tensor | None = None
) -> Tensor:
    """``d/dε ∂L/∂T`` of ``L = -1/N Σ log [softmax(z + εż) T]_ŷ``:  ``-1/N Σ_{ŷ=k} (ṗ_j - p_j q̇_k / q_k) / q_k``.

    Args:
        logits: z, ``(B, C, H, W)``.
        derivative: ż, ``(B, C, H, W)``.
        transition: T, ``(C, C)`` row-stochastic.
        label: ŷ, ``(B, H, W)`` int64, IGNORE where there is none.
        count: N where it is not the number of labelled pixels of ``label``.

    Returns:
        ``(C, C)``.
    """
    classes, z, dz = logits.shape[1], widened(logits), widened(derivative)
    known = (label != IGNORE)[:, None]
    picked = torch.where(known, label[:, None], torch.zeros_like(label[:, None]))
    p = z.softmax(dim=1)
    dp = p * (dz - (p * dz).sum(dim=1, keepdim=True))
    q, dq = (correct(value, transition).gather(1, picked) for value in (p, dp))
    # where q has underflowed the loss is flat: see losses.safe_log
    known = known & (q >= torch.finfo(q.dtype).tiny)
    q = torch.where(known, q, torch.ones_like(q))
    per_pixel = torch.where(known, (dp - p * (dq / q)) / q, torch.zeros_like(p))
    # [j, k] = Σ of per_pixel_j over the pixels with ŷ = k; not a product of matrices, which autocast would round
    columns = [torch.where(picked == k, per_pixel, torch.zeros_like(p)).sum(dim=(0, 2, 3)) for k in range(classes)]
    total = torch.stack(columns, dim=1)
    return -total / (label != IGNORE).sum().clamp_min(1) if count is None else -total / count.clamp_min(1)


def forward_mode(
    logits_at: Callable[[Parameters], Logits], parameters: Mapping[str, Tensor], direction: Mapping[str, Tensor]
) -> Logits:
    """``J_w z · g``, exact, by one forward pass that carries tangents.

    Args:
        logits_at: z by level, of the parameters.
        parameters: w by name.
        direction: g by name.
    """
    at = {name: parameters[name].detach() for name in direction}
    moved = torch.func.jvp(lambda weights: tuple(logits_at(weights)), (at,), (dict(direction),))
    derivative: tuple[Tensor, ...] = moved[1]
    return derivative


def finite_difference(
    logits_at: Callable[[Parameters], Logits],
    parameters: Mapping[str, Tensor],
    direction: Mapping[str, Tensor],
    shared: Logits | None = None,
) -> Logits:
    """``J_w z · g`` from one more forward pass beside the shared one, or from two of its own.

    The step follows the slope (:data:`CHANGE`): a small one does not drown in round-off, nor a steep one in curvature.

    Args:
        logits_at: z by level, of the parameters; runs without a graph. Has to be smooth: a pass that may cross a kink
            of ReLU or max pooling is off by far more than its curvature (see :mod:`prostate_uda.networks.gates`).
        parameters: w by name.
        direction: g by name, the gradient of the meta loss.
        shared: z at w; without it the difference is central, twice the price and of second order. Logits that were
            computed in half precision are of no use here: their round-off is larger than the difference.
    """
    at = {name: parameters[name].detach() for name in direction}
    length, slope = (get_total_norm(list(values.values())) for values in (at, direction))
    tiny = torch.finfo(slope.dtype).tiny
    moved = torch.minimum(CHANGE / slope.clamp_min(tiny), FARTHEST * length.clamp_min(1))
    step = (10 if shared is None else 1) * moved / slope.clamp_min(tiny)
    step = torch.where(slope > 0, step, torch.ones_like(step))
    with torch.no_grad():
        ahead = logits_at({name: value + step * direction[name] for name, value in at.items()})
        if shared is not None:
            return [(one - other.detach()) / step for one, other in zip(ahead, shared, strict=True)]
        behind = logits_at({name: value - step * direction[name] for name, value in at.items()})
    return [(one - other) / (2 * step) for one, other in zip(ahead, behind, strict=True)]


def double_backward(
    target_loss: Callable[[Parameters, Sequence[Tensor]], Tensor],
    meta_loss: Callable[[Parameters], Tensor],
    parameters: Mapping[str, Tensor],
    transitions: Sequence[Tensor],
    virtual_rate: float,
) -> Hypergradient:
    """``∂L_m(w - γ_v ∇_w L_t(w, T)) / ∂T`` through the second-order graph.

    Args:
        target_loss: ``L_t(w, T)``; must not change anything but what it returns.
        meta_loss: ``L_m(ŵ)``; likewise.
        parameters: w by name; detached copies are made, so no ``.grad`` is touched. Those that need no gradient
            (frozen batch-norm) take no virtual step.
        transitions: T by level, ``(C, C)`` each.
        virtual_rate: γ_v.
    """
    weights = {name: value.detach().requires_grad_(value.requires_grad) for name, value in parameters.items()}
    moving = {name: value for name, value in weights.items() if value.requires_grad}
    leaves = [transition.detach().requires_grad_(True) for transition in transitions]
    with torch.enable_grad():
        inner = target_loss(weights, leaves)
        slopes = torch.autograd.grad(inner, list(moving.values()), create_graph=True, materialize_grads=True)
        virtual = dict(weights)
        for (name, value), slope in zip(moving.items(), slopes, strict=True):
            virtual[name] = value - virtual_rate * slope
        outer = meta_loss(virtual)
        # One call for all levels: the published script walks the second-order graph once per level.
        gradients = torch.autograd.grad(outer, leaves, allow_unused=True, materialize_grads=True)
    return Hypergradient(tuple(gradients), inner.detach(), outer.detach())
