"""Norms of layers below others, far below float32, against float64, which holds them as they are."""

import pytest
import torch

import rnnlab
from rnnlab.layers.recurrent import Recurrent
from rnnlab.scan.native.build import has_compiler


@pytest.mark.skipif(not has_compiler(), reason="needs a C++ compiler")
@pytest.mark.parametrize("kind", ["mgu", "lem", "highway", "slstm"])
def test_exponents_pass_from_layer_to_layer(kind: str) -> None:
    found = []
    for dtype in (torch.float32, torch.float64):
        net = Recurrent(kind, 4, 4, num_layers=2, generator=torch.Generator().manual_seed(1)).to(dtype)
        x = torch.randn(600, 2, 4, generator=torch.Generator().manual_seed(3)).to(dtype)
        with rnnlab.record(net) as log:
            net(x)[0][-1].sum().backward()
        found.append(log.dataset()["log10_grad_norm"].isel(step=0, direction=0, state=0).values)
    assert found[1].min() < -60 and (found[0] == found[0]).all()
    torch.testing.assert_close(torch.tensor(found[0]), torch.tensor(found[1]), rtol=1e-3, atol=1e-2)
