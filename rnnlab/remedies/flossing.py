"""Gradient flossing: Lyapunov exponents are pushed towards zero before training."""

from collections.abc import Callable
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from rnnlab.remedies.base import Penalty, Remedy, Unrolled
from rnnlab.remedies.registry import register


@register
class GradientFlossing(Remedy):
    """Before training, descends Σ λ_i² over the largest Lyapunov exponents λ_i of each layer, on batches of the task.

    λ_i = (1/T) Σ_t ln |R_t[i, i]| with Q_t R_t = J_t Q_{t-1}, for the first example of a batch, J_t the Jacobian of all
    states of a step. What Q, J and the states have of the weights is all followed. At zero the gradient neither
    vanishes nor explodes in that many directions.

    Reference: Engelken 2023, "Gradient Flossing: Improving Gradient Descent through Dynamic Control of Jacobians".
    """

    kind: Literal["flossing"] = "flossing"
    exponents: int = Field(default=16, ge=1)
    """How many of the largest, in each layer."""
    updates: int = Field(default=100, ge=1)
    lr: float = Field(default=1e-2, gt=0)
    """Rate of Adam, by which it descends."""
    steps: int = Field(default=50, ge=2)
    """Of the sequence that are followed, at most."""

    def check(self, config: Any) -> None:
        units = sum(config.cell.state_sizes)
        if self.exponents > units:
            raise ValueError(
                f"remedies.flossing.exponents = {self.exponents} are more than the {units} units of a layer's states: "
                f"choose at most {units}"
            )
        if not config.cell.is_repeatable:
            raise ValueError(
                "remedies.flossing takes single steps again, which zoneout and batch norm do not allow: set it to "
                "null, or leave those out of the cell"
            )

    def prepare(self, model: nn.Module, penalise: Callable[[Penalty], None], generator: torch.Generator) -> None:
        optimizer = torch.optim.Adam(model.parameters(), lr=self.lr)
        for _ in range(self.updates):
            penalise(self.squared_exponents)
            optimizer.step()

    def squared_exponents(self, layer: Unrolled) -> Tensor:
        """Σ λ_i², in natural logarithms per step."""
        return lyapunov_exponents(layer, self.exponents, self.steps).square().sum()


def lyapunov_exponents(layer: Unrolled, count: int, steps: int) -> Tensor:
    """The largest Lyapunov exponents of the first example, differentiable in the weights.

    Args:
        layer: as it ran.
        count: how many.
        steps: of the sequence, at most.

    Returns:
        (count,), in natural logarithms per step.

    Reference: Engelken et al. 2023, "Lyapunov Spectra of Chaotic Recurrent Neural Networks", section 2.
    """
    sizes = [state.shape[-1] for state in layer.states]
    s = torch.cat([state[0, 0] for state in layer.states])  # (S,)
    Q = torch.eye(sum(sizes), count, dtype=s.dtype, device=s.device)
    sums = s.new_zeros(count)
    T = min(steps, len(layer.projected))
    for u in layer.projected[:T, :1]:  # (1, G*H)

        def step(s: Tensor, u: Tensor = u) -> Tensor:
            return torch.cat(layer.step(u, s[None].split(sizes, -1)), -1)[0]

        pushed = torch.vmap(lambda q, s=s, step=step: torch.func.jvp(step, (s,), (q,))[1])(Q.T)
        s = step(s)
        Q, R = torch.linalg.qr(pushed.T)
        sums = sums + R.diagonal().abs().log()
    return sums / T
