"""Vectors of words that language models learn: `python -m experiments.words --out FOLDER`."""

import argparse
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from rnnlab import plots
from rnnlab.common.files import write_whole

from .lists import kinds
from .measure import CELLS, RATES, VECTORS, Trained, configure, train
from .page import Study, page

SEEDS = 6
FIRST_SEED = 1000
"""Rates are chosen on seed 0 alone."""


def study(seeds: int, workers: int, changes: tuple[str, ...] = ()) -> Study:
    """Choose a rate for each cell on a seed of its own, then train every cell on fresh seeds.

    Args:
        seeds: fresh ones of each cell.
        workers: processes.
        changes: overrides of the experiment.
    """
    tried = [(cell, rate) for cell in CELLS for rate in RATES]
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        outcomes = pool.map(train, [configure(cell, rate, 0, changes) for cell, rate in tried])
        losses = {choice: outcome.validation for choice, outcome in zip(tried, outcomes, strict=True)}
        rates = {cell: min(RATES, key=lambda rate, cell=cell: losses[cell, rate]) for cell in CELLS}
        fresh = [configure(cell, rates[cell], FIRST_SEED + k, changes) for cell in CELLS for k in range(seeds)]
        runs: list[Trained] = list(pool.map(train, fresh))
    by_cell = {cell: runs[k * seeds : (k + 1) * seeds] for k, cell in enumerate(CELLS)}
    return Study(fresh[0], rates, losses, by_cell)


def main() -> None:
    """Train, measure, and write page and figures."""
    parser = argparse.ArgumentParser(prog="python -m experiments.words", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder to write report.md and a figure for each kind")
    parser.add_argument("--seeds", type=int, default=SEEDS, help=f"fresh seeds of each cell ({SEEDS})")
    parser.add_argument("--workers", type=int, default=2, help="processes (2)")
    options = parser.parse_args()
    if options.seeds < 2:
        parser.error(f"--seeds {options.seeds} gives no interval: use at least 2")
    found = study(options.seeds, options.workers)
    text = page(found)
    options.out.mkdir(parents=True, exist_ok=True)
    write_whole(options.out / "report.md", text.encode())
    words = [(word, kind) for kind, group in kinds().items() for word in group]
    places = [found.symbols.index(word) for word, _ in words]
    for name in VECTORS:
        vectors = found.first.vectors[name][places]
        ax = plots.embeddings(vectors, [word for word, _ in words], [kind for _, kind in words])
        plots.save(ax, options.out / f"{name}.png")
    print(text)


if __name__ == "__main__":
    began = time.monotonic()
    main()
    print(f"({time.monotonic() - began:.0f} s)")
