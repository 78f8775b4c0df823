"""On a GPU every layer gives what it gives on the CPU, and is recorded, trained and measured there."""

import time

import numpy as np
import pytest
import torch
from torch import Tensor

import rnnlab
from rnnlab.cells import CELLS
from rnnlab.commands import gpus
from rnnlab.common.interrupts import Interrupted
from rnnlab.config.config import Config
from rnnlab.layers.recurrent import Recurrent
from rnnlab.scan import fused
from rnnlab.training.runs import run

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

T, B, I, H = 7, 4, 3, 6


def recorded(net: torch.nn.Module, x: Tensor, **options: object) -> tuple[Tensor, list[Tensor], np.ndarray]:
    """Outputs, gradients, and norms."""
    net.zero_grad()
    with rnnlab.record(net) as log:
        y, _ = net(x, **options)
        y.square().sum().backward()
    gradients = [p.grad.cpu().clone() for p in net.parameters() if p.grad is not None]
    return y.detach().cpu(), gradients, log.dataset()["log10_grad_norm"].values


@pytest.mark.parametrize("kind", sorted(CELLS))
def test_outputs_gradients_and_norms_are_those_of_the_cpu(kind):
    torch.manual_seed(0)
    net = Recurrent(kind, I, H, bidirectional=True, dtype=torch.float64)
    x, lengths = torch.randn(T, B, I, dtype=torch.float64), torch.tensor([3, T, 1, 5])
    y, gradients, norms = recorded(net, x, lengths=lengths)
    again, same, also = recorded(net.to("cuda"), x.cuda(), lengths=lengths)
    torch.testing.assert_close(again, y, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(same, gradients, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(also, norms, atol=1e-9)


@pytest.mark.parametrize("options", [{}, {"proj_size": 3}, {"num_layers": 2, "bidirectional": True}])
@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_cudnn_is_recorded_in_whole_float32(kind, options):
    if "proj_size" in options and kind != "LSTM":
        pytest.skip("torch projects in the LSTM alone")
    torch.manual_seed(0)
    net, x = getattr(rnnlab, kind)(I, H, **options), torch.randn(50, B, I)
    y, gradients, norms = recorded(net, x)
    again, same, also = recorded(net.to("cuda"), x.cuda())
    torch.testing.assert_close(again, y, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(same, gradients, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(also, norms, atol=1e-3)  # TF32 would be off by as much


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_drop_in_layers_match_cudnn(kind):
    torch.manual_seed(0)
    theirs = getattr(torch.nn, kind)(I, H, 2, device="cuda")
    ours = rnnlab.convert(getattr(torch.nn, kind)(I, H, 2, device="cuda"))
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(T, B, I, device="cuda")
    torch.testing.assert_close(ours(x)[0], theirs(x)[0], rtol=1e-4, atol=1e-5)  # cuDNN may use TF32


@pytest.mark.filterwarnings("error")  # such as that weights do not lie in one piece
@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_the_fused_layer_runs_in_training_and_in_evaluation_mode(kind):
    net, x = getattr(rnnlab, kind)(I, H, 2, bidirectional=True, device="cuda"), torch.randn(T, B, I, device="cuda")
    w, history = net.weights(), [net.cell.initial_states(B, x)]
    assert fused.supports(net.cell, w, x, history) and fused.pays(w, x)
    for mode in (True, False):  # torch's own layer cannot go back in evaluation mode
        net.train(mode)
        net(x)[0].sum().backward()
    with torch.no_grad():
        net(x)


def test_second_derivatives():
    net, x = rnnlab.GRU(I, H, device="cuda").double(), torch.randn(T, B, I).cuda().double().requires_grad_()
    (g,) = torch.autograd.grad(net(x)[0].square().sum(), x, create_graph=True)
    assert torch.autograd.grad(g.square().sum(), x)[0].isfinite().all()


def small(**sections: object) -> Config:
    defaults = {
        "task": {"kind": "adding", "length": 8},
        "cell": {"kind": "lstm", "hidden_size": 8},
        "training": {"steps": 20, "eval_every": 10, "eval_examples": 40, "test_examples": 40},
        "recording": {"points": 4},
        "dtype": "float64",
    }
    return Config.parse({**defaults, **sections})


@pytest.mark.parametrize(
    "sections",
    [
        {},
        {"cell": {"kind": "gru", "hidden_size": 8, "zoneout": 0.1}},
        {"cell": {"kind": "vanilla", "hidden_size": 8, "norm": "batch", "norm_noise": 0.1}},
        {"cell": {"kind": "lem", "hidden_size": 8}},
        {"remedies": {"clipping": {"threshold": 0.1}, "truncation": {"window": 4}}},
        {"recording": {"points": 4, "probes": "standard", "probe_points": 2}},
    ],
    ids=str,
)
def test_a_run_is_that_of_the_cpu_up_to_rounding(sections):
    cpu, cuda = run(small(**sections)), run(small(**sections, device="cuda"))
    assert cuda.model is not None and next(cuda.model.parameters()).is_cuda
    assert cuda.test_loss == pytest.approx(cpu.test_loss, rel=1e-6)
    assert cpu.profile is not None and cuda.profile is not None
    np.testing.assert_allclose(cuda.profile["log10_grad_norm"], cpu.profile["log10_grad_norm"], atol=1e-6)


def test_a_checkpoint_goes_from_one_device_to_the_other(tmp_path):
    stops = iter([False] * 9 + [True])
    with pytest.raises(Interrupted):
        run(small(device="cuda"), checkpoint=tmp_path / "file", should_stop=lambda: next(stops))
    resumed = run(small(), checkpoint=tmp_path / "file")
    assert resumed.test_loss == pytest.approx(run(small()).test_loss, rel=1e-6)


def test_the_doctor_tries_it():
    began = time.perf_counter()
    assert " ms" in gpus.describe(0) and time.perf_counter() - began < 60
