"""Where the reference takes a scan of few steps, what is too small for the dtype is not known, and never zero."""

import pytest
import torch

import rnnlab
from rnnlab.layers.recurrent import Recurrent


def norms(pieces: list[int], kind: str, layers: int, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, ...]:
    """log10 norms and unknown shares of h, (layers, T), of one example whose loss is at the last step."""
    generator = torch.Generator().manual_seed(1)
    net, T = Recurrent(kind, 4, 4, num_layers=layers, generator=generator), sum(pieces)
    if kind == "vanilla":
        with torch.no_grad():  # 10^-0.3 a step, so that float32 ends after some 130
            for layer in range(layers):
                getattr(net, f"weight_hh_l{layer}").copy_(torch.eye(4) * 0.5)
    x = torch.randn(T, 1, 4, generator=generator)
    net, x = net.to(dtype), x.to(dtype)
    with rnnlab.record(net) as log:
        states, y, t = None, x, 0
        for steps in pieces:
            y, states = net(x[t : t + steps], states, start=t)
            t += steps
        y[-1].sum().backward()
    found = log.dataset().isel(step=0, direction=0).sel(state="h")
    return tuple(torch.tensor(found[name].values) for name in ("log10_grad_norm", "underflowed_fraction"))


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("kind", ["vanilla", "gru"])
@pytest.mark.parametrize("pieces", [[1, 299], [150, 1, 149], [2, 298], [1, 1, 298], [149, 2, 149]])
def test_a_short_call_between_others_makes_no_norm_zero(kind: str, layers: int, pieces: list[int]) -> None:
    expected, _ = norms([300], kind, layers, torch.float64)
    found, unknown = norms(pieces, kind, layers)
    known = unknown == 0
    assert torch.equal(found.isnan(), ~known) and known.any()
    torch.testing.assert_close(found[known].float(), expected[known].float(), rtol=1e-3, atol=1e-2)
