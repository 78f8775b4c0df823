"""Rows of runs as `load_sweep` gives them, for tests that need runs of a certain kind."""

import math
from typing import Any

from rnnlab.tasks import TASKS, Task

ADDING = TASKS["adding"].parse({"length": 30})
RECALL = TASKS["delayed_recall"].parse({"length": 20, "noise": 0.5})


def run(
    task: Task = ADDING,
    arm: str = "tanh",
    phase: str = "final",
    seed: int = 100,
    score: float = 0.1,
    outcome: str = "finished",
    **fields: Any,
) -> dict[str, Any]:
    """One row, with the given fields and plausible others."""
    row = {
        "run_id": f"{task.label}-{arm}-{phase}-{seed}",
        "task": task.label,
        "length": task.steps,
        "arm": arm,
        "phase": phase,
        "seed": seed,
        "trial": seed,
        "outcome": outcome,
        "score_name": task.score_name,
        "score": score,
        "loss": score,
        "solved": outcome == "solved",
        "diverged": outcome == "diverged",
        "steps": 500.0,
        "steps_to_solve": math.nan,
        "seconds": 2.0,
        "objective": score,
        "cost": 1e6,
        "decay_rate": -0.2,
        "decay_rate_init": -0.3,
        "decay_r2": 0.98,
        "decay_bent": 0.0,
        "command": f"rnnlab run seed={seed}",
        "git_commit": "abc",
        "param.optimizer.lr": 0.01,
        "param.training.steps": 500,
    }
    row |= {f"param.task.{name}": value for name, value in task.model_dump().items()}
    return row | fields
