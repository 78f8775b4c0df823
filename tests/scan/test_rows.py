"""The largest value of each row, which is remembered for as long as the tensor is what it was."""

import torch
from torch import Tensor

from rnnlab.layers.recurrent import Recurrent
from rnnlab.scan.rows import largest


def plain(t: Tensor) -> Tensor:
    return t.abs().amax(-1)


def test_rows_that_have_changed_are_searched_again() -> None:
    Recurrent("vanilla", 2, 8)(torch.randn(50, 8, 2))[0].sum().backward()  # kernels are there, where they can be
    t, other = torch.randn(2, 5, 3, 8, generator=torch.Generator().manual_seed(0)).unbind()
    assert torch.equal(largest(t), plain(t))
    assert torch.equal(largest(t), plain(t))
    assert torch.equal(largest(other), plain(other))
    other.mul_(2)
    assert torch.equal(largest(other), plain(other))
    other.view(-1)[0] = 100.0
    assert torch.equal(largest(other), plain(other))
    del other
    assert torch.equal(largest(t), plain(t))
