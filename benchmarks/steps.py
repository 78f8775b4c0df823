"""Print what few steps cost by kernel and by reference, one thread: `python -m benchmarks.steps [SECONDS]`."""

import sys
from collections.abc import Callable, Sequence

import torch

from benchmarks.timing import take_turns
from rnnlab.cells import States
from rnnlab.layers.recurrent import Recurrent
from rnnlab.scan import native, reference

KINDS = ("lstm", "gru", "vanilla")
SIZES = ((1, 1), (8, 16), (8, 64), (64, 256), (64, 1024), (1024, 1024))
"""Inputs and units."""
BATCHES, STEPS = (1, 32), (1, 2, 5, 10, 20)

Scan = Callable[[Recurrent, torch.Tensor, States], torch.Tensor]


def by_kernel(net: Recurrent, x: torch.Tensor, states: States) -> torch.Tensor:
    """Outputs as compiled code computes them."""
    return native.run(net.cell, net.weights(), x, [states])[0]


def by_reference(net: Recurrent, x: torch.Tensor, states: States) -> torch.Tensor:
    """Outputs as torch's operations compute them."""
    return reference.scan(net.cell, net.weights(), x, [states])[0]


def ratio(kind: str, sizes: Sequence[int], back: bool, seconds: float) -> str:
    """Time of the kernel over that of the reference, in brackets where the reference is chosen."""
    I, H, B, T = sizes
    net, x = Recurrent(kind, I, H), torch.randn(T, B, I)
    states = net.cell.initial_states(B, x)

    def run(scan: Scan) -> None:
        with torch.set_grad_enabled(back):
            y = scan(net, x, states)
            if back:
                y[-1].sum().backward()

    found = take_turns({"kernel": lambda: run(by_kernel), "reference": lambda: run(by_reference)}, seconds)
    with torch.set_grad_enabled(back):
        chosen = native.pays(net.weights(), x)
    value = f"{found['kernel'].median / found['reference'].median:.2f}"
    return value if chosen else f"({value})"


def main() -> None:
    """Print a row a size, forward and both ways at every number of steps."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 0.2
    heads = [f"T={T}, {way}" for T in STEPS for way in ("forward", "both")]
    print(f"| cell | {' | '.join(heads)} |\n|{'---|' * (len(heads) + 1)}")
    for kind in KINDS:
        for I, H in SIZES:
            for B in BATCHES:
                row = [ratio(kind, (I, H, B, T), back, seconds) for T in STEPS for back in (False, True)]
                print(f"| {kind} I={I} H={H} B={B} | {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
