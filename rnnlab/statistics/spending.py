"""What a sweep has spent, arm by arm."""

import numpy as np
import pandas as pd

PHASES = ("search", "final")


def spending_table(runs: pd.DataFrame) -> pd.DataFrame:
    """Count runs, updates and wall time of every arm on every task, in the search and on the fresh seeds.

    Updates and time of runs that are not over are not on record yet; such runs are counted apart.

    Args:
        runs: from `rnnlab.tracking.reader.load_sweep`.

    Returns:
        Columns task, arm and, for each phase, <phase>_runs, <phase>_updates, <phase>_seconds (wall time of training
        and evaluation) and <phase>_unmetered (runs without record).
    """
    rows = []
    for _, group in runs.groupby(["task", "arm"], sort=False):
        row: dict[str, object] = {"task": group["task"].iloc[0], "arm": group["arm"].iloc[0]}
        for phase in PHASES:
            spent = group.loc[group["phase"] == phase]
            row |= {
                f"{phase}_runs": len(spent),
                f"{phase}_updates": float(np.nansum(spent["steps"].to_numpy(float))),
                f"{phase}_seconds": float(np.nansum(spent["seconds"].to_numpy(float))),
                f"{phase}_unmetered": int(spent["seconds"].isna().to_numpy().sum()),
            }
        rows.append(row)
    return pd.DataFrame(rows)
