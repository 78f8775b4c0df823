"""Success by length: how many runs of each arm solve a task, the longer it is."""

import pandas as pd

from rnnlab.common.errors import UserError
from rnnlab.statistics.ablation import final_runs, has_failed, has_result
from rnnlab.statistics.intervals import wilson


def success_table(runs: pd.DataFrame) -> pd.DataFrame:
    """Count the solved runs of every arm at every length, on the fresh seeds alone.

    Args:
        runs: from `rnnlab.tracking.reader.load_sweep`, all of one kind of task.

    Returns:
        Columns arm, length (time steps), solved (share), low, high (Wilson's 95% bounds), runs; one that failed counts
        as not solved.

    Raises:
        UserError: if there are several kinds of tasks, whose lengths do not compare.
    """
    kinds = sorted(runs["param.task.kind"].unique())
    if len(kinds) > 1:
        raise UserError(
            f"runs hold tasks of the kinds {', '.join(kinds)}, whose lengths do not compare: "
            f"choose one, as in runs[runs['param.task.kind'] == '{kinds[0]}']"
        )
    final = final_runs(runs)
    counted = final.loc[has_result(final) | has_failed(final)]
    rows = [
        {"arm": arm, "length": length, **dict(zip(("solved", "low", "high"), wilson(wins, n), strict=True)), "runs": n}
        for (arm, length), group in counted.groupby(["arm", "length"])
        for wins, n in [(int(group["solved"].sum()), len(group))]
    ]
    return pd.DataFrame(rows, columns=["arm", "length", "solved", "low", "high", "runs"])
