"""A readout of several networks is that of each, to the bit, and torch's own linear map up to rounding."""

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from rnnlab.common.seeding import make_generator
from rnnlab.training.readout import Readout


def gradients(outputs: Tensor, upstream: Tensor, *leaves: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(outputs, leaves, upstream))


@pytest.mark.parametrize(
    ("P", "S", "B", "H", "O"), [(2, 1, 32, 48, 1), (3, 7, 5, 33, 9), (2, 9, 1, 3, 2), (9, 70, 32, 48, 9)]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_company_changes_no_bit(P: int, S: int, B: int, H: int, O: int, dtype: torch.dtype):
    g = make_generator(0, "readout")
    readout = Readout(H, O, g).to(dtype)
    h = torch.randn(S, P * B, H, generator=g, dtype=dtype, requires_grad=True)
    weight = torch.randn(P, O, H, generator=g, dtype=dtype, requires_grad=True)
    bias = torch.randn(P, O, generator=g, dtype=dtype, requires_grad=True)
    upstream = torch.randn(P, S, B, O, generator=g, dtype=dtype)
    together = functional_call(readout, {"weight": weight, "bias": bias}, (h,))
    dh, dweight, dbias = gradients(together, upstream, h, weight, bias)
    for p in range(P):
        examples = slice(p * B, (p + 1) * B)
        own = [t.detach().clone().requires_grad_() for t in (h[:, examples], weight[p], bias[p])]
        alone = functional_call(readout, {"weight": own[1], "bias": own[2]}, (own[0],))
        assert torch.equal(alone, together[p])
        found = gradients(alone, upstream[p], *own)
        for mine, theirs in zip(found, (dh[:, examples], dweight[p], dbias[p]), strict=True):
            assert torch.equal(mine, theirs)
        plain = nn.functional.linear(*own)
        torch.testing.assert_close(alone, plain)
        for mine, torchs in zip(found, gradients(plain, upstream[p], *own), strict=True):
            torch.testing.assert_close(mine, torchs, rtol=1e-4, atol=1e-3 if dtype == torch.float32 else 1e-8)


def test_one_network_alone_can_be_differentiated_twice():
    g = make_generator(0, "readout")
    readout = Readout(3, 2, g).double()
    h = torch.randn(4, 2, 3, generator=g, dtype=torch.float64, requires_grad=True)

    def answers(h: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return functional_call(readout, {"weight": weight, "bias": bias}, (h,))

    assert torch.autograd.gradgradcheck(answers, (h, *(p.detach().requires_grad_() for p in readout.parameters())))
