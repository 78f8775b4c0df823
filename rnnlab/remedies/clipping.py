"""Gradient clipping, by norm or by value."""

from typing import Literal

import torch
from pydantic import Field

from rnnlab.remedies.base import Gradient, Remedy
from rnnlab.remedies.registry import register


@register
class Clipping(Remedy):
    """Bound the gradient of all weights together by its norm, or each of its entries by value.

    Reference: Pascanu et al. 2013, algorithm 1 (by norm); Mikolov 2012, section 3.2.2 (by value).
    """

    kind: Literal["clipping"] = "clipping"
    by: Literal["norm", "value"] = "norm"
    threshold: float = Field(default=1.0, gt=0)

    def change(self, gradient: Gradient, step: int, generator: torch.Generator | None) -> Gradient:
        values, norm, clipped = gradient
        if self.by == "value":
            beyond = (values.abs() > self.threshold).any()
            return Gradient.of(values.clamp(-self.threshold, self.threshold), clipped | beyond)
        beyond = norm > self.threshold
        factor = torch.where(beyond, self.threshold / norm, 1.0)
        return Gradient(values * factor.to(values.dtype), torch.where(beyond, self.threshold, norm), clipped | beyond)
