"""Compiled cells against the reference scan: `python -m benchmarks.compiled [SECONDS] [--write]`.

Forward and backward pass with `record`, one thread, processor time, in turn.
"""

import argparse
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

import rnnlab
from benchmarks.timing import processor, take_turns, write_measured
from rnnlab.layers.recurrent import Recurrent
from rnnlab.scan import compiled, native

SIZES = ((200, 32, 32), (100, 32, 64), (400, 16, 100))
"""T, B and H."""
LIGHT, GATED, NORMED, ELEMENTWISE = (0.08, 0.14, 0.14), (0.10, 0.18, 0.18), (0.12, 0.20, 0.20), (0.12, 0.15, 0.15)
CASES: list[tuple[str, dict[str, Any], tuple[float, ...]]] = [
    *((kind, {}, LIGHT) for kind in ("cornn", "antisymmetric", "skip", "orthogonal")),
    *((kind, {}, GATED) for kind in ("lem", "highway", "mgu", "slstm")),
    ("lstm", {"peepholes": True}, GATED),
    ("lstm", {"coupled": True}, GATED),
    ("gru", {"zoneout": 0.1}, GATED),
    *((kind, {"norm": norm}, NORMED) for kind in ("vanilla", "lstm", "gru") for norm in ("batch", "layer")),
    *((kind, {}, ELEMENTWISE) for kind in ("indrnn", "mingru", "minlstm", "rglru")),
    *((kind, {}, (0.2, 0.2, 0.2)) for kind in ("lru", "s5", "linoss")),
]
HAND_WRITTEN = ("vanilla", "lstm", "gru")
DOCUMENT = Path("docs/compiled.md")


def contestants(kind: str, options: dict[str, Any], T: int, B: int, H: int) -> dict[str, Callable[[], None]]:
    """The same pass by each engine that can take it."""
    net, x = Recurrent(kind, 2, H, steps=T, **options), torch.randn(T, B, 2)
    upstream = torch.randn(T, B, net.output_size)

    def by(*engines: Any) -> Callable[[], None]:
        def run() -> None:
            off = [patch.object(e, "supports", lambda *_: False) for e in (native, compiled) if e not in engines]
            for each in off:
                each.start()
            with rnnlab.record(net):
                net(x)[0].backward(upstream)
            for each in off:
                each.stop()

        return run

    found = {"reference": by(), "compiled": by(compiled)}
    if native.serves(net.cell):
        found["by hand"] = by(native)
    return found


def rows(seconds: float) -> list[str]:
    """The tables, as Markdown."""
    size = " | ".join(f"T={T} B={B} H={H}" for T, B, H in SIZES)
    lines = [f"| cell | {size} |", "|---|---|---|---|"]
    for kind, options, goals in CASES:
        name = " ".join([f"`{kind}`", *(f"{k}={v}" for k, v in options.items())])
        cells = []
        for (T, B, H), goal in zip(SIZES, goals, strict=True):
            times = take_turns(contestants(kind, options, T, B, H), seconds)
            ours, theirs = times["compiled"].median, times["reference"].median
            cells.append(f"{ours * 1e3:.1f} ms, **{ours / theirs:.3f}** (≤ {goal})")
        lines.append(f"| {name} | {' | '.join(cells)} |")
        print(lines[-1], flush=True)
    lines += ["", "Compiled over written by hand:", "", f"| cell | {size} |", "|---|---|---|---|"]
    for kind in HAND_WRITTEN:
        cells = []
        for T, B, H in SIZES:
            times = take_turns(contestants(kind, {}, T, B, H), seconds)
            cells.append(f"{times['compiled'].median / times['by hand'].median:.2f}")
        lines.append(f"| `{kind}` | {' | '.join(cells)} |")
        print(lines[-1], flush=True)
    return lines


def main() -> None:
    """Print the tables, and write them between the marks of the page if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seconds", nargs="?", type=float, default=1.0, help="of each case")
    parser.add_argument("--write", action="store_true", help=f"write the tables to {DOCUMENT}")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    head = f"{processor()}, one thread, torch {torch.__version__}, {platform.system()}."
    print(head)
    table = "\n".join([head, "", *rows(arguments.seconds)])
    if arguments.write:
        write_measured(DOCUMENT, table)


if __name__ == "__main__":
    main()
