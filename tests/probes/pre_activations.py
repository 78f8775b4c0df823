"""Pre-activations of the three classical cells, from their equations in torch.nn's documentation, step by step."""

import torch
from torch import Tensor

from rnnlab.layers.recurrent import Recurrent
from rnnlab.probes.tape import trace
from rnnlab.probes.trace import Trace


def traced(net: Recurrent, x: Tensor) -> Trace:
    """The first trace of a pass with a loss at every step and at the states after the last."""
    with trace(net) as tape:
        output, states = net(x)
        states = states if isinstance(states, tuple) else (states,)
        (output.sin().sum() + sum(s.square().sum() for s in states)).backward()
    return tape.traces[0]


@torch.no_grad()
def pre_activations(net: Recurrent, x: Tensor, direction: str = "forward") -> dict[str, Tensor]:
    """(T, B, H) for every gate and activation, of the first layer; `x` is in the order of the scan."""
    suffix = "_l0_reverse" if direction == "reverse" else "_l0"
    W, R, b, d = (getattr(net, f"{name}{suffix}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    h = c = x.new_zeros(x.shape[1], net.hidden_size)
    steps: list[dict[str, Tensor]] = []
    for x_t in x:
        a, v = x_t @ W.T + b, h @ R.T + d
        if net.cell.kind == "vanilla":
            z = {"hidden": a + v}
            h = torch.tanh(a + v)
        elif net.cell.kind == "lstm":
            z: dict[str, Tensor] = dict(zip(("input", "forget", "cell", "output"), (a + v).chunk(4, 1), strict=True))
            c = torch.sigmoid(z["forget"]) * c + torch.sigmoid(z["input"]) * torch.tanh(z["cell"])
            z["read"] = c
            h = torch.sigmoid(z["output"]) * torch.tanh(c)
        else:
            (a_r, a_z, a_n), (v_r, v_z, v_n) = a.chunk(3, 1), v.chunk(3, 1)
            z = {"reset": a_r + v_r, "update": a_z + v_z}
            z["new"] = a_n + torch.sigmoid(z["reset"]) * v_n
            update = torch.sigmoid(z["update"])
            h = (1 - update) * torch.tanh(z["new"]) + update * h
        steps.append(z)
    return {name: torch.stack([z[name] for z in steps]) for name in steps[0]}
