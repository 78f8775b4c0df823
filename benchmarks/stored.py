"""Make a real MLflow store with a sweep of many runs, within minutes, then read it and report on it:

    python -m benchmarks.stored FOLDER [RUNS]

Two runs of every study are trained, and delivered by the writer, pictures and all. The others are rows copied from
theirs in MLflow's own tables, with identity, point, seed, times and numbers of their own: to deliver ten thousand runs
through MLflow would take longer than any measurement that is to be made of them.
"""

import argparse
import json
import math
import shutil
import sqlite3
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from rnnlab.report.report import write_report
from rnnlab.sweep.plan.definition import SweepDefinition
from rnnlab.sweep.plan.outline import Phase
from rnnlab.sweep.plan.study import StudyPlan
from rnnlab.sweep.show.mlflow_page import open_overview
from rnnlab.tracking.outbox import Entry, Outbox
from rnnlab.tracking.provenance import CONFIG, config_params, config_tags
from rnnlab.tracking.reader import load_sweep
from rnnlab.tracking.run_state import OBJECTIVE, RunState
from rnnlab.tracking.store import SQLITE, prepare_store
from rnnlab.tracking.writer import Writer, log_file, start_parent
from rnnlab.training.result import Result
from rnnlab.training.runs import run

NAME = "many"
ARMS: dict[str, dict[str, Any]] = {
    "tanh": {},
    "relu": {"cell.activation": "relu"},
    "softsign": {"cell.activation": "softsign"},
    "batch-norm": {"cell.norm": "batch"},
    "residual": {"cell.residual": 0.1},
    "truncated": {"remedies.truncation.window": 25},
    "clip": {"remedies.clipping.by": "norm", "remedies.clipping.threshold": 1.0},
    "lstm": {"cell.kind": "lstm"},
    "gru": {"cell.kind": "gru"},
    "indrnn": {"cell.kind": "indrnn"},
}
TASKS = [{"kind": "adding", "length": 50}, {"kind": "copying", "length": 20}]
SEEDS = 20
TABLES = ("tags", "params", "metrics", "latest_metrics")


def definition(runs: int) -> SweepDefinition:
    """Ten arms on two tasks, with fresh seeds, and as many trials as give this number of runs."""
    return SweepDefinition.parse(
        {
            "name": NAME,
            "question": "Does a sweep of ten thousand runs open?",
            "base": {
                "cell": {"kind": "vanilla", "hidden_size": 8},
                "training": {"steps": 200, "eval_every": 5, "batch_size": 8, "eval_examples": 50, "test_examples": 50},
            },
            "tasks": TASKS,
            "arms": ARMS,
            "search": {"optimizer.lr": {"low": 1e-4, "high": 1e-1, "log": True}},
            "sampler": "random",
            "trials": runs // (len(ARMS) * len(TASKS)) - SEEDS,
            "seeds": SEEDS,
        }
    )


def make_store(folder: Path, runs: int) -> str:
    """Make a store with one sweep of this many runs.

    Args:
        folder: gets mlflow.db, and the artifacts beside it.
        runs: how many; a multiple of the number of studies.

    Returns:
        Its tracking URI.
    """
    uri = f"{SQLITE}{folder / 'mlflow.db'}"
    prepare_store(uri)
    planned, source = definition(runs), folder / "sweep.yaml"
    source.write_text(yaml.safe_dump(planned.model_dump(mode="json", exclude_unset=True), sort_keys=False))
    open_overview(uri, planned, source)
    generator = np.random.default_rng(0)
    for plan in planned.studies:
        tags = {"rnnlab.kind": "study", "rnnlab.sweep": NAME, "rnnlab.task": plan.task, "rnnlab.arm": plan.arm}
        parent = start_parent(uri, NAME, plan.name, tags, planned.question)
        log_file(uri, parent, source)
        planned_slots: dict[Phase, int] = {"search": planned.search_trials, "final": SEEDS}
        for phase, slots in planned_slots.items():
            entry = trained(folder, planned, plan, parent, phase)
            run_id = Writer(uri).deliver(entry)
            assert run_id is not None
            copy_run(folder, run_id, planned, plan, phase, slots, generator)
    return uri


def trained(folder: Path, planned: SweepDefinition, plan: StudyPlan, parent: str, phase: Phase) -> Entry:
    """The first slot of a phase of a study, trained, in the outbox."""
    seed = planned.seed if phase == "search" else planned.final_seeds()[0]
    config = plan.config({"optimizer.lr": 0.003}, seed)
    return ended(folder, run(config), parent, plan, phase, 0)


def ended(folder: Path, result: Result, parent: str, plan: StudyPlan, phase: Phase, slot: int) -> Entry:
    """A run that has ended, in the outbox, as a worker leaves it."""
    identity = {"mlflow.parentRunId": parent, "rnnlab.phase": phase, "rnnlab.trial": str(slot)}
    tags = {"rnnlab.sweep": NAME, "rnnlab.arm": plan.arm, "rnnlab.command": _command(plan, 0.003, result.config.seed)}
    config = result.config
    name = f"{plan.task} {plan.arm} {phase} {slot}"
    state = RunState(NAME, name, identity, {**config_tags(config), **tags}, config_params(config))
    entry = Outbox(folder / "outbox").entry(f"{plan.name}/{phase}-{slot}")
    entry.open(state)
    entry.finish(result, {OBJECTIVE: repr(result.objective)})
    return entry


def _command(plan: StudyPlan, rate: float, seed: int) -> str:
    return f"rnnlab run many.yaml --task {plan.task} --arm {plan.arm} optimizer.lr={rate} seed={seed}"


@dataclass(frozen=True)
class _Copy:
    """What a copied run has of its own."""

    run_id: str
    slot: int
    seed: int
    rate: float
    factor: float

    def tag(self, key: str, value: str, plan: StudyPlan, phase: Phase) -> str:
        own = {
            "rnnlab.trial": str(self.slot),
            "rnnlab.seed": str(self.seed),
            "rnnlab.command": _command(plan, self.rate, self.seed),
            "rnnlab.config_hash": self.run_id[:12],
            "mlflow.runName": f"{plan.task} {plan.arm} {phase} {self.slot}",
        }
        if key == CONFIG:
            config = json.loads(value)
            config["optimizer"]["lr"], config["seed"] = self.rate, self.seed
            return json.dumps(config)
        if key == OBJECTIVE:
            return repr(float(value) * self.factor)
        return own.get(key, value)

    def param(self, key: str, value: str) -> str:
        return {"optimizer.lr": json.dumps(self.rate), "seed": str(self.seed)}.get(key, value)

    def metric(self, key: str, value: float) -> float:
        return value * self.factor if key.rpartition("/")[2] in ("score", "loss", "mse", "decay_rate") else value


def copy_run(
    folder: Path,
    run_id: str,
    planned: SweepDefinition,
    plan: StudyPlan,
    phase: Phase,
    slots: int,
    generator: np.random.Generator,
) -> None:
    """Copy the first slot of a phase into every other one, in one transaction."""
    with closing(sqlite3.connect(folder / "mlflow.db")) as database, database:
        database.row_factory = sqlite3.Row
        original = dict(database.execute("SELECT * FROM runs WHERE run_uuid = ?", (run_id,)).fetchone())
        rows = {
            table: [dict(row) for row in database.execute(f"SELECT * FROM {table} WHERE run_uuid = ?", (run_id,))]
            for table in TABLES
        }
        inputs = [dict(r) for r in database.execute("SELECT * FROM inputs WHERE destination_id = ?", (run_id,))]
        for slot in range(1, slots):
            seed = planned.seed if phase == "search" else planned.final_seeds()[slot]
            rate = float(10 ** generator.uniform(-4, -1)) if phase == "search" else 0.003
            copy = _Copy(uuid.uuid4().hex, slot, seed, rate, math.exp(generator.normal(0, 0.3)))
            fresh = {
                "run_uuid": copy.run_id,
                "artifact_uri": original["artifact_uri"].replace(run_id, copy.run_id),
                "name": f"{plan.task} {plan.arm} {phase} {slot}",
                "start_time": original["start_time"] + slot,
                "end_time": original["end_time"] + slot,
            }
            _insert(database, "runs", [{**original, **fresh}])
            for table in TABLES:
                _insert(database, table, [_changed(table, row, copy, plan, phase) for row in rows[table]])
            _insert(
                database,
                "inputs",
                [{**row, "input_uuid": uuid.uuid4().hex, "destination_id": copy.run_id} for row in inputs],
            )
            _link_artifacts(original["artifact_uri"], fresh["artifact_uri"])


def _changed(table: str, row: dict[str, Any], copy: _Copy, plan: StudyPlan, phase: Phase) -> dict[str, Any]:
    key, value = row["key"], row["value"]
    if table == "tags":
        value = copy.tag(key, value, plan, phase)
    elif table == "params":
        value = copy.param(key, value)
    else:
        value = copy.metric(key, value)
    return {**row, "run_uuid": copy.run_id, "value": value}


def _insert(database: sqlite3.Connection, table: str, rows: list[dict[str, Any]]) -> None:
    if rows:
        names = ", ".join(rows[0])
        places = ", ".join(f":{name}" for name in rows[0])
        database.executemany(f"INSERT INTO {table} ({names}) VALUES ({places})", rows)


def _link_artifacts(source: str, target: str) -> None:
    """The same files under another name, which take no room."""
    old, new = (Path(uri.removeprefix("file://")) for uri in (source, target))
    shutil.copytree(old, new, copy_function=lambda a, b: Path(b).hardlink_to(a))


def main() -> None:
    """Say how long it takes to make the store, to read all runs, to read them again, and to write their report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stored")
    parser.add_argument("folder", type=Path, help="for the store and the report")
    parser.add_argument("runs", type=int, nargs="?", default=10_000, help="of the sweep, about (10000)")
    chosen = parser.parse_args()
    folder = chosen.folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    with timed("made"):
        uri = make_store(folder, chosen.runs)
    for what in ("read", "read again"):
        with timed(what):
            load_sweep(NAME, uri)
    with timed("reported"):
        write_report(NAME, folder / "report", uri)


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Say how long something took."""
    began = time.monotonic()
    yield
    print(f"{what} in {time.monotonic() - began:.1f} s", flush=True)


if __name__ == "__main__":
    main()
