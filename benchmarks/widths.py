"""How many runs are worth training together: `python -m benchmarks.widths [SECONDS] [--write]`.

Processor time of an update of one run among so many, over that of one alone; one thread, in turn. `--write` puts the
table into docs/populations.md.
"""

import argparse

import torch

from benchmarks.population import DOCUMENT, SIZES, configs
from benchmarks.timing import processor, take_turns, write_measured
from rnnlab.commands.together import update
from rnnlab.training.memory import kept_bytes, most_members

CELLS = ("vanilla", "lstm", "gru", "lem", "lru")
COUNTS = (1, 2, 4, 8, 16, 32, 64)


def row(kind: str, T: int, H: int, seconds: float) -> str:
    """One line of the table, as Markdown; what a worker takes is bold, or the next smaller count."""
    runs = configs(kind, {}, T, H, max(COUNTS))
    times = take_turns({str(P): update(runs[:P]) for P in COUNTS}, seconds)
    taken = max(P for P in COUNTS if most_members(runs[0]) >= P)
    ratios = {P: f"{times[str(P)].median / P / times['1'].median:.2f}" for P in COUNTS}
    cells = [f"**{ratio}**" if taken == P else ratio for P, ratio in ratios.items()]
    return f"| `{kind}` | T={T} H={H} | {kept_bytes(runs[0]) / 2**20:.1f} MiB | {' | '.join(cells)} |"


def main() -> None:
    """Print the table, and write it between the marks of the page if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seconds", nargs="?", type=float, default=5.0, help="of each case")
    parser.add_argument("--write", action="store_true", help=f"write the table to {DOCUMENT}")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    head = f"{processor()}, one thread, torch {torch.__version__}."
    columns = ["cell", "size", "a run keeps", *map(str, COUNTS)]
    lines = [head, "", f"| {' | '.join(columns)} |", f"|---|---|{'---:|' * (len(COUNTS) + 1)}"]
    print("\n".join(lines))
    for kind in CELLS:
        for T, H, _ in SIZES:
            lines.append(row(kind, T, H, arguments.seconds))
            print(lines[-1], flush=True)
    if arguments.write:
        write_measured(DOCUMENT, "\n".join(lines), "widths")


if __name__ == "__main__":
    main()
