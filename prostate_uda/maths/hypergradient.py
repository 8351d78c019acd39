"""Floor 1: how the meta loss changes with the noise transition matrices.

Bilevel problem of Guo et al., MetaCorrection, CVPR 2021 ("virtual" and "meta optimization"):

    ŵ(T) = w - γ_v ∇_w L_t(w, T),        G = ∂ L_m(ŵ(T)) / ∂T

Here by plain double backward, the reference that every cheaper form has to agree with.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Parameters = dict[str, Tensor]


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
