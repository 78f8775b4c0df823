"""Pascanu's penalty Ω, which keeps the norm of the gradient from step to step."""

from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from rnnlab.remedies.base import Remedy, Unrolled
from rnnlab.remedies.registry import register

LEAST = 1e-20
"""Squared norms below it are not held against what comes of them, as in the authors' code."""
CELLS = ("vanilla", "irnn")


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
        if cell.kind not in CELLS or cell.is_normalized:
            norm = f" with norm = '{cell.norm}'" if cell.is_normalized else ""
            raise ValueError(
                f"remedies.norm_preservation is for cells whose one state enters a step by W_hh alone, and cell.kind = "
                f"'{cell.kind}'{norm} is none: choose {' or '.join(CELLS)} without a norm"
            )

    def penalty(self, layer: Unrolled, generator: torch.Generator | None) -> Tensor:
        u, h, g = (x.flatten(0, 1) for x in (layer.projected.detach(), layer.states[0], layer.gradients[0]))
        v = layer.recur((h,))  # (T*B, H): taken out and put back as a constant, so that z does not move with W_hh
        h = h.clone().requires_grad_()
        (pulled,) = torch.autograd.grad(layer.step(u - v + v.detach(), (h,))[0], h, g, create_graph=True)
        norm = g.square().sum(-1)
        seen = norm >= LEAST
        ratio = pulled.square().sum(-1) / norm.where(seen, 1.0)
        return self.weight * (ratio - 1).square().where(seen, 0.0).sum() / seen.sum().clamp(min=1)
