"""Genetic against random search at equal cost: `python -m experiments.genetic_search --out FOLDER`."""

import argparse
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pandas as pd

from rnnlab.common.files import write_whole
from rnnlab.plots import save
from rnnlab.tracking import store

from .figure import draw
from .page import page
from .searches import definitions, search

SEARCHES = 10


def main() -> None:
    """Run the searches that are not done yet, and write table, page and figure."""
    parser = argparse.ArgumentParser(prog="python -m experiments.genetic_search", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder to write trials.csv, report.md and best.png")
    parser.add_argument("--searches", type=int, default=SEARCHES, help=f"seeds each sampler starts from ({SEARCHES})")
    parser.add_argument("--workers", type=int, default=2, help="searches at a time (2)")
    parser.add_argument("--budget", help="smoke to see whether everything runs")
    options = parser.parse_args()
    if options.searches < 2:
        parser.error(f"--searches {options.searches} gives no interval: use at least 2")
    store.prepare_store(store.tracking_uri())
    planned = list(definitions(options.searches, options.budget))
    with ProcessPoolExecutor(options.workers, multiprocessing.get_context("spawn")) as pool:
        runs = pd.concat(pool.map(search, planned), ignore_index=True)
    text = page(planned[0], runs)
    options.out.mkdir(parents=True, exist_ok=True)
    write_whole(options.out / "trials.csv", runs.to_csv(index=False, float_format="%.6g").encode())
    write_whole(options.out / "report.md", text.encode())
    save(draw(runs), options.out / "best.png")
    print(text)


if __name__ == "__main__":
    began = time.monotonic()
    main()
    print(f"({time.monotonic() - began:.0f} s)")
