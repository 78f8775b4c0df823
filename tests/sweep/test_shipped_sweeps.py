"""The sweeps that come with the repository: sound as they stand, and each runs to its report at its smoke budget."""

import math
import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from rnnlab.commands.resolve import resolve
from rnnlab.config.config import Config
from rnnlab.config.overrides import override, parse_overrides
from rnnlab.report.report import write_report
from rnnlab.sweep.plan.definition import load_sweep_definition
from rnnlab.sweep.runner import run_sweep
from rnnlab.tracking.reader import load_sweep
from rnnlab.training.runs import train

SWEEPS = Path(__file__).parents[2] / "sweeps"
TOPICS = ("activations", "normalization", "residual", "truncation", "clipping", "gated")
WHOLE = "normalization"
"""One of them, which has a hyperparameter of some arms alone, runs as a sweep does, to its report."""
TASKS = {f"{kind}-{length}" for kind in ("adding", "copying", "temporal_order") for length in (50, 100)}


@pytest.mark.parametrize("name", TOPICS)
def test_every_arm_meets_every_task_with_enough_seeds_to_tell(name: str) -> None:
    definition = load_sweep_definition(SWEEPS / f"{name}.yaml")
    assert definition.name == name and definition.question.endswith("?")
    assert {plan.task for plan in definition.studies} == TASKS
    assert definition.search_trials == 20 and definition.seeds == 10
    assert "optimizer.lr" in definition.search


@pytest.mark.parametrize("name", [name for name in (*TOPICS, "ablation") if name != WHOLE])
def test_every_arm_trains_at_the_smoke_budget(name: str) -> None:
    smoke = load_sweep_definition(SWEEPS / f"{name}.yaml", "smoke")
    assert set(smoke.arms) == set(load_sweep_definition(SWEEPS / f"{name}.yaml").arms)
    configs = [plan.config(smoke.planned_points(plan)[0], smoke.seed) for plan in smoke.studies]
    for config, result in zip(configs, train(configs), strict=True):
        assert result.steps == config.training.steps and math.isfinite(result.test_loss)


@pytest.mark.slow
def test_a_smoke_budget_runs_to_its_end(workplace: Path, own_workers: None) -> None:
    """Every planned run is done, the report has every arm, and what is kept and what is told repeats it exactly."""
    path = SWEEPS / f"{WHOLE}.yaml"
    smoke = load_sweep_definition(path, "smoke")
    state = run_sweep(path, budget="smoke", workers=1, console=Console(quiet=True))
    assert state.complete and not state.failures
    assert state.all_slots.done == len(smoke.studies) * (smoke.search_trials + smoke.seeds)
    assert load_sweep_definition(workplace / "runs" / "sweeps" / smoke.name / "sweep.yaml").hash == smoke.hash

    runs = load_sweep(smoke.name)
    assert set(runs["status"]) == {"FINISHED"} and np.isfinite(runs["loss"]).all()
    for run in runs.to_dict("records"):
        file, task, arm, overrides = told(run["command"])
        assert file == str(path)
        (plan,) = [plan for plan in smoke.studies if (plan.task, plan.arm) == (task, arm)]
        assert Config.parse(override(plan.settings, parse_overrides(overrides))).hash == run["config_hash"]
    file, task, arm, overrides = told(runs["command"].iloc[-1])  # the sweep is read once more for each command
    assert resolve(Path(file), overrides, task, arm, "smoke").hash == runs["config_hash"].iloc[-1]
    of_arm = runs.drop_duplicates("arm").set_index("arm")["param.cell.hidden_size"]
    assert of_arm.to_dict() == {plan.arm: plan.config({}, 0).cell.hidden_size for plan in smoke.studies}

    report = write_report(smoke.name, workplace / "report")
    assert set(pd.read_csv(workplace / "report" / "ablation.csv")["arm"]) == set(smoke.arms)
    for plan in smoke.studies:
        assert re.search(rf"<td[^>]*>(<strong>)?{re.escape(plan.arm)}<", report.read_text(encoding="utf-8"))


def told(command: str) -> tuple[str, str, str, list[str]]:
    """File, task, arm and overrides of the command that is told with a run of the smoke budget."""
    file, *words = shlex.split(command)[2:]
    options = dict(zip(words[0:6:2], words[1:6:2], strict=True))
    assert options["--budget"] == "smoke"
    return file, options["--task"], options["--arm"], words[6:]
