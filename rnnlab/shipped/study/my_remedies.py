"""A remedy of your own. It may act before training, on the graph, on the loss, or, as here, on the gradient."""

from typing import Literal

import torch
from pydantic import Field

from rnnlab.remedies.base import Gradient, Remedy
from rnnlab.remedies.registry import register


@register
class UnitGradient(Remedy):
    """g ← scale g / ‖g‖: every update has a gradient of one length."""

    kind: Literal["unit_gradient"] = "unit_gradient"
    scale: float = Field(default=1.0, gt=0)

    def change(self, gradient: Gradient, step: int, generator: torch.Generator | None) -> Gradient:
        usable = torch.isfinite(gradient.norm) & (gradient.norm > 0)
        factor = torch.where(usable, self.scale / gradient.norm, 1.0)
        return Gradient.of(gradient.values * factor.to(gradient.values))
