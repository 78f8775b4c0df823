"""Which arm reaches how far, and did its gradient foretell it? `python -m experiments.ablation --out FOLDER`."""

import argparse
import multiprocessing
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import pandas as pd

from rnnlab.common.errors import UserError
from rnnlab.common.files import write_whole
from rnnlab.plots import save
from rnnlab.tracking import store

from .again import COLUMNS, SEEDS, fresh_runs, measure_again
from .distances import expressible, write_distances
from .figure import draw
from .page import baselines, judge, page


def main() -> None:
    """Measure what has not been measured yet, judge all of it, and write table, page and figure."""
    parser = argparse.ArgumentParser(prog="python -m experiments.ablation", description=__doc__)
    parser.add_argument(
        "--out", type=Path, required=True, help="folder of the sweep's report, to write distances and health to"
    )
    parser.add_argument("--sweep", default="ablation", help="what this store holds of it (ablation)")
    parser.add_argument("--seeds", type=int, default=SEEDS, help=f"fresh seeds of each arm and task ({SEEDS})")
    parser.add_argument("--workers", type=int, default=2, help="processes (2)")
    options = parser.parse_args()
    uri = store.tracking_uri()
    print(write_distances(options.out))
    asked = fresh_runs(options.sweep, uri, options.seeds)
    table = pd.DataFrame()
    for table in complete(asked, uri, options.out / "health.csv", options.workers):
        print(f"{len(table)} runs measured of {len(asked)} in this store and those of other sittings", flush=True)
    table = expressible(table)
    judged, beaten = judge(table), baselines(table)
    text = page(table, judged, beaten)
    write_whole(options.out / "health.md", text.encode())
    save(draw(judged, beaten), options.out / "health.png")
    print(text)


def complete(asked: pd.DataFrame, uri: str, path: Path, workers: int) -> Iterator[pd.DataFrame]:
    """Measure the runs that a file lacks, arm by arm, and keep it up to date.

    Args:
        asked: of `fresh_runs`.
        uri: the store that they are in.
        path: the table of what is measured; a row that is there is not measured again, and one of a task that is not
            asked for is kept, as of another sitting.
        workers: processes.

    Yields:
        All measured runs, those asked for in their order after the others, whenever there are more.
    """
    order = {run_id: place for place, run_id in enumerate(asked["run_id"])}
    table = pd.read_csv(path) if path.exists() else pd.DataFrame(columns=COLUMNS)
    table = table.loc[table["run_id"].isin(order) | ~table["task"].isin(asked["task"])]
    yield table
    waiting = asked.loc[~asked["run_id"].isin(table["run_id"])]
    groups = [runs for _, runs in waiting.groupby(["task", "arm"], sort=False)]
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        for done in as_completed([pool.submit(measure_again, runs, uri) for runs in groups]):
            table = done.result() if table.empty else pd.concat([table, done.result()])
            table = table.sort_values(
                "run_id", key=lambda ids: ids.map(order).fillna(-1), kind="stable", ignore_index=True
            )
            write_whole(path, table.to_csv(index=False, float_format="%.6g").encode())
            yield table


if __name__ == "__main__":
    began = time.monotonic()
    try:
        main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    print(f"({time.monotonic() - began:.0f} s)")
