"""Print time and slope at the start of every cell, for docs/cells.md: `python -m benchmarks.cells [SECONDS]`."""

import statistics
import sys
from collections.abc import Callable
from typing import Any

import torch

import rnnlab
from benchmarks.timing import take_turns
from rnnlab.cells import CELLS
from rnnlab.layers.recurrent import Recurrent
from rnnlab.scan.reference import scan

T, B, I, H, SEEDS = 100, 32, 8, 64, 5
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    *((kind, {}) for kind in CELLS),
    *((kind, {"norm": norm}) for kind in ("vanilla", "gru", "lstm") for norm in ("batch", "batch_input", "layer")),
    *((kind, {"zoneout": 0.1}) for kind in ("vanilla", "lstm")),
    ("lstm", {"forget_bias": 1.0}),
    ("antisymmetric", {"gated": True}),
]


def step(kind: str, options: dict[str, Any]) -> Callable[[], None]:
    """A forward and a backward pass of the reference scan, a loss at every step."""
    net, x = Recurrent(kind, I, H, steps=T, **options), torch.randn(T, B, I)

    def run() -> None:
        outputs, _ = scan(net.cell, net.weights(), x, [net.cell.initial_states(B, x)])
        outputs.square().mean().backward()

    return run


def slope(kind: str, options: dict[str, Any], seed: int) -> float:
    """Decades a step of lag of the output state before any training, a loss at the last step."""
    torch.manual_seed(seed)
    net = Recurrent(kind, I, H, steps=T, dtype=torch.float64, **options)
    x = torch.randn(T, B, I, dtype=torch.float64)
    with rnnlab.record(net) as log:
        last = net(x)[0][-1]
        (last * torch.randn_like(last)).sum().backward()
    profile = log.dataset()["log10_grad_norm_by_lag"].isel(step=0, layer=0, direction=0).sel(state="h")
    return rnnlab.fit_decay(profile.values, profile["lag"].values).slope


def main() -> None:
    """Take turns, one thread, denormals flushed; times are relative to the vanilla cell."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    names = [" ".join([kind, *(f"{k}={v}" for k, v in options.items())]) for kind, options in VARIANTS]
    runs = {name: step(*variant) for name, variant in zip(names, VARIANTS, strict=True)}
    times = take_turns(runs, float(sys.argv[1]) if len(sys.argv) > 1 else 60.0)
    for name, variant in zip(names, VARIANTS, strict=True):
        start = statistics.median(slope(*variant, seed) for seed in range(SEEDS))
        print(f"{name:28s} time {times[name].median / times['vanilla'].median:5.1f}   slope {start:+.3f}", flush=True)


if __name__ == "__main__":
    main()
