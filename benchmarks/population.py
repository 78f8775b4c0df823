"""Runs that train together against runs alone: `python -m benchmarks.population [SECONDS] [--write]`.

Whole updates, sampling, clipping and optimiser included, without evaluation; one thread, processor time, in turn.
"""

import argparse
import platform
from pathlib import Path
from typing import Any

import torch

from benchmarks.timing import processor, take_turns, write_measured
from rnnlab.commands.together import update
from rnnlab.config.config import Config

SIZES = ((50, 32, (1, 8, 32)), (100, 64, (1, 8, 32)), (200, 100, (1, 8)))
"""T, H, and how many train together; B = 32."""
CASES: list[tuple[str, dict[str, Any]]] = [
    ("vanilla", {}),
    ("lstm", {}),
    ("gru", {}),
    ("vanilla", {"norm": "batch"}),
    ("lem", {}),
    ("indrnn", {}),
    ("lru", {}),
    ("orthogonal", {}),
]
DOCUMENT = Path("docs/populations.md")


def configs(kind: str, options: dict[str, Any], T: int, H: int, count: int) -> list[Config]:
    """Runs that differ in their seed."""
    data = {
        "task": {"kind": "adding", "length": T},
        "cell": {"kind": kind, "hidden_size": H, **options},
        "training": {"steps": 10**7, "eval_every": 10**7, "batch_size": 32},
        "remedies": {"clipping": {}},
        "recording": {"points": 0},
    }
    return [Config.parse({**data, "seed": seed}) for seed in range(count)]


def rows(seconds: float) -> list[str]:
    """The table, as Markdown."""
    lines = ["| cell | size | alone | 8 together | 32 together |", "|---|---|---:|---:|---:|"]
    for T, H, counts in SIZES:
        for kind, options in CASES:
            times = take_turns({str(P): update(configs(kind, options, T, H, P)) for P in counts}, seconds)
            each = {P: times[str(P)].median / P for P in counts}
            cells = [f"{each[1] * 1e3:.2f} ms"]
            cells += [f"{each[P] * 1e3:.2f} ms, **{each[P] / each[1]:.2f}**" if P in each else "–" for P in (8, 32)]
            name = " ".join([f"`{kind}`", *(f"{k}={v}" for k, v in options.items())])
            lines.append(f"| {name} | T={T} H={H} | {' | '.join(cells)} |")
            print(lines[-1], flush=True)
    return lines


def main() -> None:
    """Print the table, and write it between the marks of the page if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seconds", nargs="?", type=float, default=2.0, help="of each case")
    parser.add_argument("--write", action="store_true", help=f"write the table to {DOCUMENT}")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    head = f"{processor()}, one thread, torch {torch.__version__}, {platform.system()}."
    print(head)
    table = "\n".join([head, "", *rows(arguments.seconds)])
    if arguments.write:
        write_measured(DOCUMENT, table)


if __name__ == "__main__":
    main()
