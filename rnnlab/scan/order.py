"""The order in which a scan reads a padded batch: longest sequence first, each reversed within its own length."""

from collections.abc import Callable

import torch
from torch import Tensor


class Order:
    """Maps a batch between the order of its caller and the order of a scan.

    With the longest sequence first, the examples that are still active at a step are always the first rows, so a
    scan can leave the finished ones out.

    Args:
        steps: T, the padded length.
        reverse: whether the scan runs backwards in time.
        lengths: (B,) length of every sequence; none when all fill all steps.
    """

    def __init__(self, steps: int, reverse: bool, lengths: Tensor | None = None) -> None:
        self.reverse, self.rows, self.times, self.sizes, self.ended = reverse, None, None, None, None
        if lengths is None:
            return
        lengths = lengths.cpu()
        self.rows = lengths.argsort(descending=True, stable=True)
        steps_left = lengths[self.rows] - torch.arange(steps).unsqueeze(1)  # (T, B)
        self.ended = steps_left <= 0
        self.sizes = (~self.ended).sum(1).tolist()
        if reverse:  # step k of a scan reads time length - 1 - k; the same map leads back
            self.times = torch.where(self.ended, torch.arange(steps).unsqueeze(1), steps_left - 1)

    def read(self, x: Tensor) -> Tensor:
        """(T, B, F) from the caller's order to the scan's, with zeros for padding, whatever was there."""
        if self.rows is None or self.ended is None:
            return x.flip(0) if self.reverse else x
        x = self._reverse(x.index_select(1, self.rows.to(x.device)))
        return x.masked_fill(self.ended.unsqueeze(-1).to(x.device), 0.0)

    def restore(self, y: Tensor) -> Tensor:
        """(T, B, F) from the scan's order to the caller's."""
        if self.rows is None:
            return y.flip(0) if self.reverse else y
        return self._reverse(y).index_select(1, self.rows.argsort().to(y.device))

    def read_state(self, s: Tensor) -> Tensor:
        """(B, S) from the caller's order to the scan's."""
        return s if self.rows is None else s.index_select(0, self.rows.to(s.device))

    def restore_state(self, s: Tensor) -> Tensor:
        """(B, S) from the scan's order to the caller's."""
        return s if self.rows is None else s.index_select(0, self.rows.argsort().to(s.device))

    def map_active(self, x: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
        """Apply an elementwise function to (T, B, F) in the caller's order, but for padding, which turns to zeros.

        It sees the rows of a packed sequence, one after the other, so noise is drawn as torch.nn draws it.
        """
        if self.rows is None or self.ended is None:
            return function(x)
        x, active = x.index_select(1, self.rows.to(x.device)), ~self.ended.unsqueeze(-1).to(x.device)
        mapped = function(x[active.squeeze(-1)])  # (N, F)
        return torch.zeros_like(x).masked_scatter(active, mapped).index_select(1, self.rows.argsort().to(x.device))

    def _reverse(self, x: Tensor) -> Tensor:
        if self.times is None:
            return x
        index = self.times.to(x.device).view(*self.times.shape, *[1] * (x.dim() - 2)).expand_as(x)
        return x.gather(0, index)
