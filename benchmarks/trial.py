"""Print where the time of a trial goes: `python -m benchmarks.trial [STEPS]`.

How much of a trial, from claim to result, its training loop takes is read from the journal of a real sweep; what
happens inside the loop is timed in this process.
"""

import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import yaml

from rnnlab.config.config import Config
from rnnlab.tasks.adding import Adding
from rnnlab.tracking.reader import load_sweep
from rnnlab.training.population import Population
from rnnlab.training.program import Program
from rnnlab.training.progress import Progress
from rnnlab.training.runs import run

KINDS = ("vanilla", "lstm", "gru")
WORK = "forward, backward, optimiser"
STEPS = 4000
TRIALS = 3


class Stopwatch:
    """Adds up the wall time inside of named functions, without that of other named ones inside of them."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._inner = 0.0

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap a function."""

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            outer, self._inner = self._inner, 0.0
            began = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                elapsed = time.perf_counter() - began
                self.seconds[name] += elapsed - self._inner
                self._inner = outer + elapsed

        return wrapped


def settings(kind: str, steps: int) -> dict[str, Any]:
    """The adding problem at T = 100, B = 20, H = 50, everything else as it comes."""
    return {
        "cell": {"kind": kind, "hidden_size": 50},
        "training": {"steps": steps, "batch_size": 20, "stop_when_solved": False},
    }


def loop_shares(kind: str, steps: int) -> dict[str, float]:
    """Share of each part in the wall time of the training loop."""
    config = Config.parse({"task": {"kind": "adding", "length": 100}, **settings(kind, steps)})
    watch = Stopwatch()
    parts = [
        (Program, "go_back_alone", WORK),
        (Program, "update", WORK),
        (Adding, "sample", "sampling"),
        (Progress, "evaluate", "evaluation"),
        (Progress, "_summarise_profile", "recording"),
        (Population, "_changed", "remedies"),
    ]
    with ExitStack() as stack:
        for owner, name, part in parts:
            stack.enter_context(patch.object(owner, name, watch.timed(part, getattr(owner, name))))
        seconds = run(config).seconds
    return {name: inside / seconds for name, inside in watch.seconds.items()}


def trial_shares(folder: Path, steps: int) -> dict[str, float]:
    """Share of the training loop in a trial of each arm, in a sweep with one worker; the first trial only warms up."""
    definition = {
        "name": "share",
        "base": settings("vanilla", steps),
        "tasks": [{"kind": "adding", "length": 100}],
        "arms": {kind: {"cell.kind": kind} for kind in KINDS},
        "search": {"optimizer.lr": {"low": 1e-4, "high": 1e-3, "log": True}},
        "trials": TRIALS,
        "seeds": 1,
        "workers": 1,
    }
    (folder / "share.yaml").write_text(yaml.safe_dump(definition))
    command = [sys.executable, "-c", "from rnnlab.commands.cli import main; main()", "sweep", "share.yaml"]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    runs = load_sweep("share", f"sqlite:///{folder / 'runs' / 'mlflow.db'}")
    whole = claimed_seconds(folder)
    shares = {}
    for kind in KINDS:
        trials = runs.query("phase == 'search' and trial > 0 and arm == @kind")
        shares[kind] = float(sum(trials["seconds"]) / sum(whole[kind, int(slot)] for slot in trials["trial"]))
    return shares


def claimed_seconds(folder: Path) -> dict[tuple[str, int], float]:
    """Wall time of every search slot from claim to result, by arm and slot."""
    import optuna

    from rnnlab.sweep.store.journal import open_storage

    storage = open_storage(folder / "runs" / "sweeps" / "share")
    found = {}
    for kind in KINDS:
        study = optuna.load_study(study_name=f"adding-100/{kind}", storage=storage)
        for trial in study.trials:
            assert trial.duration is not None, "the sweep is complete"
            found[kind, trial.user_attrs["slot"]] = trial.duration.total_seconds()
    return found


def main() -> None:
    """Print the table."""
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else STEPS
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        trials = trial_shares(Path(folder), steps)
    for kind in KINDS:
        loop_shares(kind, 50)  # warms up
        shares = loop_shares(kind, steps)
        listed = ", ".join(f"{name} {share:.1%}" for name, share in shares.items())
        print(f"{kind}: loop {trials[kind]:.1%} of the trial; in the loop: {listed}")
        print(f"{kind}: {WORK}: {trials[kind] * shares[WORK]:.1%} of the trial")


if __name__ == "__main__":
    main()
