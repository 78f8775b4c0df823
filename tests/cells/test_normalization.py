"""Recurrent batch norm keeps statistics of its own at every time step, in training and after."""

import pytest
import torch
from torch import Tensor

from rnnlab.layers import Recurrent

T, B, I, H = 6, 16, 3, 5


def layer(kind: str, steps: int = T) -> Recurrent:
    torch.manual_seed(0)
    made = Recurrent(kind, I, H, norm="batch", steps=steps, dtype=torch.float64)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if "norm" in name:
                parameter.uniform_(0.1, 1.0)
    return made


def normalize(v: Tensor, gain: Tensor, mean: Tensor | None = None, var: Tensor | None = None) -> Tensor:
    """Equation 4 of Cooijmans et al., with batch statistics unless running ones are given."""
    mean = v.mean(0) if mean is None else mean
    var = v.var(0, unbiased=False) if var is None else var
    return gain * (v - mean) / torch.sqrt(var + 1e-5)


def lstm_by_hand(net: Recurrent, x: Tensor, running: bool) -> Tensor:
    """Equations 6 to 8 of Cooijmans et al., step by step."""
    p = {name.removesuffix("_l0"): value for name, value in net.state_dict().items()}
    h = c = torch.zeros(B, H, dtype=x.dtype)
    outputs = []
    for t, x_t in enumerate(x):

        def norm(what: str, v: Tensor, t: int = t) -> Tensor:
            known = (p[f"running_mean_{what}"][t], p[f"running_var_{what}"][t]) if running else (None, None)
            return normalize(v, p[f"norm_gain_{what}"], *known)

        z = norm("x", x_t @ p["weight_ih"].T) + norm("h", h @ p["weight_hh"].T) + p["bias_ih"] + p["bias_hh"]
        i, f, g, o = z.chunk(4, -1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * torch.tanh(norm("c", c) + p["norm_shift_c"])
        outputs.append(h)
    return torch.stack(outputs)


def test_lstm_follows_the_paper_in_training_and_evaluation():
    net, x = layer("lstm"), torch.randn(T, B, I, dtype=torch.float64)
    for _ in range(3):
        torch.testing.assert_close(net(x)[0], lstm_by_hand(net, x, running=False), rtol=0, atol=1e-12)
    net.eval()
    torch.testing.assert_close(net(x)[0], lstm_by_hand(net, x, running=True), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ["vanilla", "lstm", "gru"])
def test_running_statistics_converge_to_those_of_each_step(kind):
    net, x = layer(kind), torch.randn(T, B, I, dtype=torch.float64) * torch.arange(1, T + 1).view(-1, 1, 1)
    for _ in range(199):
        net(x)
    trained = net(x)[0]  # momentum 0.1: 0.9^200 = 7e-10 of the starting value is left
    projected = x @ net.get_parameter("weight_ih_l0").T
    torch.testing.assert_close(net.get_buffer("running_mean_x_l0"), projected.mean(1), rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(net.get_buffer("running_var_x_l0"), projected.var(1), rtol=1e-6, atol=1e-7)
    # Evaluation then differs by the unbiased variance alone, a factor sqrt(16/15) before the non-linearity.
    torch.testing.assert_close(net.eval()(x)[0], trained, rtol=0, atol=0.2)


@pytest.mark.parametrize("kind", ["vanilla", "lstm", "gru"])
def test_longer_sequences_share_the_last_statistics(kind):
    short, x = layer(kind, steps=2), torch.randn(T, B, I, dtype=torch.float64)
    for _ in range(5):
        short(x)
    short.eval()
    long = layer(kind, steps=T)
    state = long.state_dict()
    for name, value in short.state_dict().items():
        if name.startswith("running"):
            value = torch.cat([value, value[-1:].expand(T - 2, -1)])
        state[name] = value
    long.load_state_dict(state)
    torch.testing.assert_close(short(x)[0], long.eval()(x)[0], rtol=0, atol=1e-13)


def test_evaluation_changes_no_statistics_and_pieces_use_their_own_steps():
    net, x = layer("gru"), torch.randn(T, B, I, dtype=torch.float64)
    net(x)
    net.eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    whole, _ = net(x)
    first, state = net(x[:4])
    second, _ = net(x[4:], state, start=4)
    torch.testing.assert_close(torch.cat([first, second]), whole, rtol=0, atol=1e-14)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_gain_starts_where_the_paper_says():
    net = Recurrent("lstm", I, H, norm="batch")
    for what in ("x", "h", "c"):
        assert (net.get_parameter(f"norm_gain_{what}_l0") == 0.1).all()
    assert (net.get_parameter("norm_shift_c_l0") == 0).all()
