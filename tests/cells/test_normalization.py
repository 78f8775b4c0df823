"""Normalisation: what enters the statistics, in training and after, and what the outputs do not depend on."""

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from rnnlab.cells import make_cell, normalization
from rnnlab.common.errors import UserError
from rnnlab.layers.recurrent import Recurrent

T, B, I, H = 6, 16, 3, 5


def layer(kind: str, norm: str = "batch", steps: int = T) -> Recurrent:
    torch.manual_seed(0)
    made = Recurrent(kind, I, H, norm=norm, steps=steps, dtype=torch.float64)
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


def layer_norm(v: Tensor, gain: Tensor) -> Tensor:
    """Equation 3 of Ba et al. over the last dimension."""
    mean, var = v.mean(-1, keepdim=True), v.var(-1, unbiased=False, keepdim=True)
    return gain * (v - mean) / torch.sqrt(var + 1e-5)


def test_layer_norm_follows_the_papers_lstm():
    """Supplementary equations 20 to 22 of Ba et al., step by step."""
    net, x = layer("lstm", "layer"), torch.randn(T, B, I, dtype=torch.float64)
    p = {name.removesuffix("_l0"): value for name, value in net.state_dict().items()}
    h = c = torch.zeros(B, H, dtype=x.dtype)
    for x_t, found in zip(x, net(x)[0], strict=True):
        z = layer_norm(x_t @ p["weight_ih"].T, p["norm_gain_x"]) + layer_norm(h @ p["weight_hh"].T, p["norm_gain_h"])
        i, f, g, o = (z + p["bias_ih"] + p["bias_hh"]).chunk(4, -1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * torch.tanh(layer_norm(c, p["norm_gain_c"]) + p["norm_shift_c"])
        torch.testing.assert_close(found, h, rtol=0, atol=1e-12)


def test_layer_norm_follows_the_papers_gru():
    """Supplementary equations 23 to 27: the two gates are standardised together, the new state by itself."""
    net, x = layer("gru", "layer"), torch.randn(T, B, I, dtype=torch.float64)
    p = {name.removesuffix("_l0"): value for name, value in net.state_dict().items()}

    def products(side: str, v: Tensor) -> tuple[Tensor, ...]:
        weight, gain, bias = (p[name + side] for name in ("weight_", "norm_gain_", "bias_"))
        both = layer_norm(v @ weight[: 2 * H].T, gain[: 2 * H]) + bias[: 2 * H]
        return *both.chunk(2, -1), layer_norm(v @ weight[2 * H :].T, gain[2 * H :]) + bias[2 * H :]

    p |= {"weight_x": p["weight_ih"], "bias_x": p["bias_ih"], "weight_h": p["weight_hh"], "bias_h": p["bias_hh"]}
    h = torch.zeros(B, H, dtype=x.dtype)
    for x_t, found in zip(x, net(x)[0], strict=True):
        (x_r, x_z, x_n), (h_r, h_z, h_n) = products("x", x_t), products("h", h)
        n = torch.tanh(x_n + (x_r + h_r).sigmoid() * h_n)
        z = (x_z + h_z).sigmoid()
        h = (1 - z) * n + z * h
        torch.testing.assert_close(found, h, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ["vanilla", "lstm", "gru", "irnn"])
def test_layer_norm_ignores_the_scale_of_either_weight_matrix(kind, monkeypatch):
    monkeypatch.setattr(normalization, "EPSILON", 1e-30)  # the law holds but for ε
    net, x = layer(kind, "layer"), torch.randn(T, B, I, dtype=torch.float64)
    before = net(x)[0]
    with torch.no_grad():
        net.get_parameter("weight_hh_l0").mul_(100.0)
        net.get_parameter("weight_ih_l0").mul_(0.01)
    torch.testing.assert_close(net(x)[0], before, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", ["vanilla", "lstm", "gru"])
def test_layer_norm_sees_one_example_at_a_time_and_keeps_no_statistics(kind):
    net, x = layer(kind, "layer"), torch.randn(T, B, I, dtype=torch.float64)
    together = net(x)[0]
    apart = torch.cat([net(x[:, b : b + 1])[0] for b in range(B)], 1)
    torch.testing.assert_close(apart, together, rtol=0, atol=1e-13)
    torch.testing.assert_close(net.eval()(x)[0], together, rtol=0, atol=1e-15)
    assert not list(net.buffers())


LENGTHS = torch.tensor([T, 4, 1, 3] * (B // 4))


def padded(padding: float) -> Tensor:
    """Sequences of `LENGTHS`, the same at every call, with the given number behind their ends."""
    x = torch.randn(T, B, I, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return x.masked_fill((torch.arange(T).unsqueeze(1) >= LENGTHS).unsqueeze(-1), padding)


@pytest.mark.parametrize("norm", ["batch", "batch_input", "layer"])
@pytest.mark.parametrize("kind", ["vanilla", "lstm", "gru"])
def test_what_stands_behind_the_end_of_a_sequence_does_not_matter(kind, norm):
    zeros, numbers, packed = (layer(kind, norm) for _ in range(3))
    expected, _ = zeros(padded(0.0), lengths=LENGTHS)
    found, _ = numbers(padded(1e6), lengths=LENGTHS)
    assert torch.equal(found, expected)
    sequences, _ = packed(pack_padded_sequence(padded(7.0), LENGTHS, enforce_sorted=False))
    torch.testing.assert_close(pad_packed_sequence(sequences)[0], expected, rtol=0, atol=1e-13)
    for name, value in zeros.named_buffers():
        assert torch.equal(value, numbers.get_buffer(name))
        torch.testing.assert_close(value, packed.get_buffer(name), rtol=0, atol=1e-13)


@pytest.mark.parametrize("kind", ["vanilla", "lstm", "gru"])
def test_statistics_of_a_step_are_those_of_the_examples_that_reach_it(kind):
    net, x = layer(kind), padded(1e6)
    outputs, _ = net(x, lengths=LENGTHS)
    for what, side, read, start in (("x", "ih", x, 0), ("h", "hh", outputs, 1)):
        weight = net.get_parameter(f"weight_{side}_l0")
        for t in range(start, T):
            active = read[t - start, t < LENGTHS] @ weight.T
            mean, var = 0.1 * active.mean(0), 0.9 + 0.1 * active.var(0)  # from 0 and 1, with momentum 0.1
            torch.testing.assert_close(net.get_buffer(f"running_mean_{what}_l0")[t], mean, rtol=0, atol=1e-12)
            torch.testing.assert_close(net.get_buffer(f"running_var_{what}_l0")[t], var, rtol=0, atol=1e-12)


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "padded"])
def test_sequence_wise_batch_norm_takes_its_statistics_over_all_active_steps(lengths):
    """Equation 10 of Laurent et al.: h_t = tanh(BN(W_x x_t) + W_h h_{t-1} + b)."""
    net, x = layer("vanilla", "batch_input"), padded(1e6 if lengths is not None else 0.3)
    p = {name.removesuffix("_l0"): value.clone() for name, value in net.state_dict().items()}
    active = torch.ones(T, B, dtype=torch.bool) if lengths is None else torch.arange(T).unsqueeze(1) < lengths
    v = x @ p["weight_ih"].T
    found, _ = net(x, lengths=lengths)

    def by_hand(mean: Tensor, var: Tensor) -> Tensor:
        h, outputs = torch.zeros(B, H, dtype=torch.float64), []
        for v_t in v:
            bias = p["bias_ih"] + p["bias_hh"]
            h = torch.tanh(normalize(v_t, p["norm_gain_x"], mean, var) + h @ p["weight_hh"].T + bias)
            outputs.append(h)
        return torch.stack(outputs) * active.unsqueeze(-1)

    rows = v[active]
    torch.testing.assert_close(found, by_hand(rows.mean(0), rows.var(0, unbiased=False)), rtol=0, atol=1e-12)
    mean, var = net.get_buffer("running_mean_x_l0"), net.get_buffer("running_var_x_l0")
    torch.testing.assert_close(mean, 0.1 * rows.mean(0), rtol=1e-12, atol=0)
    torch.testing.assert_close(var, 0.9 + 0.1 * rows.var(0), rtol=1e-12, atol=0)
    torch.testing.assert_close(net.eval()(x, lengths=lengths)[0], by_hand(mean, var), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ["vanilla", "lstm", "gru"])
@pytest.mark.parametrize("norm", ["batch_input", "layer"])
def test_norms_that_steps_share_run_on_past_the_length_of_training(norm, kind):
    """Seven times the length in one go is the same as in pieces that were never longer than in training."""
    net = layer(kind, norm)
    net(torch.randn(T, B, I, dtype=torch.float64))
    net.eval()
    x, states, pieces = torch.randn(7 * T, B, I, dtype=torch.float64), None, []
    for k in range(7):
        piece, states = net(x[k * T : (k + 1) * T], states, start=k * T)
        pieces.append(piece)
    torch.testing.assert_close(net(x)[0], torch.cat(pieces), rtol=0, atol=1e-13)


@pytest.mark.parametrize("kind", ["vanilla", "lstm", "gru"])
def test_a_single_active_example_is_standardised_by_running_statistics_and_leaves_them_alone(kind):
    net, x = layer(kind), torch.randn(T, B, I, dtype=torch.float64)
    net(x)
    before = {name: value.clone() for name, value in net.named_buffers()}
    alone = net(x[:, :1])[0]
    assert all(torch.equal(value, before[name]) for name, value in net.named_buffers())
    torch.testing.assert_close(alone, net.eval()(x[:, :1])[0], rtol=0, atol=1e-14)
    net.train()
    net(x[:, :2], lengths=torch.tensor([T, 3]))
    for name, value in net.named_buffers():
        assert (value[1:3] != before[name][1:3]).any(-1).all()  # h_0 is zero, and so are its statistics
        assert torch.equal(value[3:], before[name][3:])


@pytest.mark.parametrize("kind", ["vanilla", "irnn"])
def test_one_norm_over_the_sum_of_both_products(kind):
    """h_t = φ(BN(W_x x_t + W_h h_{t-1}) + b), as in the authors' code for figure 1."""
    net, x = layer(kind, "batch_sum"), torch.randn(T, B, I, dtype=torch.float64)
    p = {name.removesuffix("_l0"): value.clone() for name, value in net.state_dict().items()}
    bias = p["bias_ih"] + p.get("bias_hh", torch.zeros(H, dtype=torch.float64))
    phi = torch.tanh if kind == "vanilla" else torch.relu
    h, outputs = torch.zeros(B, H, dtype=torch.float64), []
    for t in range(T):
        z = x[t] @ p["weight_ih"].T + h @ p["weight_hh"].T
        h = phi(normalize(z, p["norm_gain_z"]) + bias)
        outputs.append(h)
    torch.testing.assert_close(net(x)[0], torch.stack(outputs), rtol=0, atol=1e-12)
    assert not {name for name, _ in net.named_parameters() if "shift" in name}
    with pytest.raises(UserError, match="for cells that read the sum of both products"):
        make_cell("lstm", norm="batch_sum")


def test_gains_start_where_the_papers_say():
    for norm, quantities, gain in (("batch", "xhc", 0.1), ("layer", "xhc", 1.0), ("batch_input", "x", 1.0)):
        net = Recurrent("lstm", I, H, norm=norm)
        names = {name for name, _ in net.named_parameters() if "norm_gain" in name}
        assert names == {f"norm_gain_{what}_l0" for what in quantities}
        assert all((net.get_parameter(name) == gain).all() for name in names)
        chosen = Recurrent("lstm", I, H, norm=norm, norm_gain=0.5)
        assert all((chosen.get_parameter(name) == 0.5).all() for name in names)
        if "c" in quantities:
            assert (net.get_parameter("norm_shift_c_l0") == 0).all()
