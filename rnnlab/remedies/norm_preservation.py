"""Pascanu's penalty Ω, which keeps the norm of the gradient from step to step."""

from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from rnnlab.remedies.base import Remedy, Unrolled
from rnnlab.remedies.registry import register

LEAST = 1e-20
"""Squared norms below it are not held against what comes of them, as in the authors' code."""


@register
class NormPreservation(Remedy):
    """Adds λ Ω to the loss, Ω = mean over steps and examples of (‖J_tᵀ g_t‖² / ‖g_t‖² - 1)², where g_t = dL/dh_t.

    J_t = ∂h_t/∂h_{t-1} = diag(φ'(z_t)) W_hh. States, pre-activations and g_t count as given: only the derivative in the
    W_hh that stands there is followed. Squared norms, and pairs of step and example with ‖g_t‖² ≥ 1e-20, are
    what the authors' code has; eq. 9 of the paper has norms.

    Reference: Pascanu et al. 2013, "On the Difficulty of Training Recurrent Neural Networks", eq. 9 and 10.
    """

    kind: Literal["norm_preservation"] = "norm_preservation"
    weight: float = Field(default=4.0, gt=0)
    """λ."""

    def check(self, config: Any) -> None:
        cell = config.cell
        if not cell.adds_products or cell.is_normalized:
            norm = " with a norm" if cell.is_normalized else ""
            raise ValueError(
                f"remedies.norm_preservation is for cells whose one state enters a step by W_hh alone, and cell.kind = "
                f"'{cell.kind}'{norm} is none: choose vanilla or irnn without a norm"
            )

    def penalty(self, layer: Unrolled, generator: torch.Generator | None) -> Tensor:
        u, h, g = (x.detach().flatten(0, 1) for x in (layer.projected, layer.states[0], layer.gradients[0]))
        u, h = u.requires_grad_(), h.requires_grad_()
        delta, pulled = torch.autograd.grad(layer.step(u, (h,))[0], (u, h), g)  # at the pre-activations, and Jᵀ g
        norm, size = g.square().sum(-1), pulled.square().sum(-1).requires_grad_()
        seen = norm >= LEAST
        ratio = size / norm.where(seen, 1.0)
        omega = self.weight * (ratio - 1).square().where(seen, 0.0).sum() / seen.sum().clamp(min=1)
        # The derivative in W_hh by hand, since all else is given: that of ‖Jᵀ g‖² is 2 δ (Jᵀ g)ᵀ.
        (slope,) = torch.autograd.grad(omega, size)
        derivative = 2 * (slope.unsqueeze(-1) * delta).T @ pulled
        W = recurrent_matrix(layer, derivative)
        return omega.detach() + ((W - W.detach()) * derivative).sum()


def recurrent_matrix(layer: Unrolled, like: Tensor) -> Tensor:
    """W_hh as part of the graph of the weights, (G*H, H) like another matrix: the gradients of `recur`, row by row."""
    h = torch.zeros_like(like).requires_grad_()
    rows = torch.eye(len(like), dtype=like.dtype, device=like.device)
    return torch.autograd.grad(layer.recur((h,)), h, rows, create_graph=True)[0]
