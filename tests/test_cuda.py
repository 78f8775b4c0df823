"""On a GPU every layer gives what it gives on the CPU, and can be recorded there."""

import numpy as np
import pytest
import torch

import rnnlab
from rnnlab.cells import CELLS
from rnnlab.layers.recurrent import Recurrent

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

T, B, I, H = 7, 4, 3, 6


@pytest.mark.parametrize("kind", sorted(CELLS))
def test_outputs_gradients_and_norms_are_those_of_the_cpu(kind):
    torch.manual_seed(0)
    net = Recurrent(kind, I, H, bidirectional=True, dtype=torch.float64)
    x, lengths = torch.randn(T, B, I, dtype=torch.float64), torch.tensor([3, T, 1, 5])
    found = []
    for device in ("cpu", "cuda"):
        net.to(device).zero_grad()
        with rnnlab.record(net) as log:
            y, _ = net(x.to(device), lengths=lengths)
            y.square().sum().backward()
        gradients = [p.grad.cpu().clone() for p in net.parameters() if p.grad is not None]
        found.append((y.detach().cpu(), gradients, log.dataset()["log10_grad_norm"].values))
    (y, gradients, norms), (again, same, also) = found
    torch.testing.assert_close(again, y, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(same, gradients, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(also, norms, atol=1e-9)


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_drop_in_layers_match_cudnn(kind):
    torch.manual_seed(0)
    theirs = getattr(torch.nn, kind)(I, H, 2, device="cuda")
    ours = rnnlab.convert(getattr(torch.nn, kind)(I, H, 2, device="cuda"))
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(T, B, I, device="cuda")
    torch.testing.assert_close(ours(x)[0], theirs(x)[0], rtol=1e-4, atol=1e-5)  # cuDNN may use TF32
