"""A store with a small sweep and everything that can happen to a run in it."""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from rnnlab.sweep.plan.definition import SweepDefinition
from rnnlab.sweep.plan.outline import Phase
from rnnlab.sweep.plan.study import StudyPlan
from rnnlab.sweep.show.mlflow_page import open_overview
from rnnlab.tracking.outbox import Outbox
from rnnlab.tracking.provenance import config_params, config_tags
from rnnlab.tracking.run_state import RunState
from rnnlab.tracking.writer import Writer, log_file, start_parent
from rnnlab.training.runs import run

SMALL: dict[str, Any] = {
    "name": "small",
    "question": "Does <b>anything</b> help?",
    "base": {
        "cell": {"kind": "vanilla", "hidden_size": 4},
        "training": {"steps": 8, "eval_every": 4, "batch_size": 4, "eval_examples": 20, "test_examples": 20},
        "recording": {"points": 3},
    },
    "tasks": [
        {"kind": "adding", "length": 8},
        {"kind": "delayed_recall", "length": 5, "with": {"recording.points": 0}},
    ],
    "arms": {"tanh": {"cell.activation": "tanh"}, "lstm": {"cell.kind": "lstm"}},
    "search": {"optimizer.lr": {"low": 1e-4, "high": 1e-1, "log": True}},
    "trials": 2,
    "seeds": 2,
}


def store_small_sweep(uri: str, folder: Path, tasks: int) -> None:
    """Run the sweep `small`, or its first tasks, in this process and store it as workers would."""
    fields = {**SMALL, "tasks": SMALL["tasks"][:tasks]}
    source = folder / "sweep.yaml"
    source.write_text(yaml.safe_dump(fields, sort_keys=False))
    definition = SweepDefinition.parse(fields)
    open_overview(uri, definition, source)
    for plan in definition.studies:
        tags = {"rnnlab.kind": "study", "rnnlab.sweep": "small", "rnnlab.task": plan.task, "rnnlab.arm": plan.arm}
        parent = start_parent(uri, "small", plan.name, tags, definition.question)
        log_file(uri, parent, source)
        for phase, slot, seed in _slots(definition):
            _write_run(uri, folder, parent, definition, plan, phase, slot, seed)


def _slots(definition: SweepDefinition) -> Iterator[tuple[Phase, int, int]]:
    for slot in range(definition.search_trials):
        yield "search", slot, definition.seed
    for slot, seed in enumerate(definition.final_seeds()):
        yield "final", slot, seed


def _write_run(
    uri: str,
    folder: Path,
    parent: str,
    definition: SweepDefinition,
    plan: StudyPlan,
    phase: Phase,
    slot: int,
    seed: int,
) -> None:
    """Train one slot and store it as a worker does."""
    points = definition.planned_points(plan)
    point = points[slot if phase == "search" else 0]
    config = plan.config(point, seed)
    settings = " ".join(f"{name}={value}" for name, value in {**point, "seed": seed}.items())
    identity = {"mlflow.parentRunId": parent, "rnnlab.phase": phase, "rnnlab.trial": str(slot)}
    tags = {
        "rnnlab.sweep": definition.name,
        "rnnlab.arm": plan.arm,
        "rnnlab.command": f"rnnlab run sweeps/all.yaml --budget small --task {plan.task} --arm {plan.arm} {settings}",
    }
    record = RunState(
        "small",
        f"{plan.task} " * (len(definition.tasks) > 1) + f"{plan.arm} {phase} {slot}",
        identity,
        {**config_tags(config), **tags},
        config_params(config),
    )
    entry = Outbox(folder / "outbox").entry(f"{plan.name}/{phase}-{slot}")
    entry.open(record)
    if (plan.task, phase, slot) == ("adding-8", "search", 1):
        entry.fail("out of memory")
    else:
        result = run(config)
        if (plan.name, phase, slot) == ("adding-8/tanh", "final", 1):
            result = replace(result, outcome="diverged", test_loss=math.nan, test_score=math.nan)
        entry.finish(result)
    Writer(uri).deliver(entry)
