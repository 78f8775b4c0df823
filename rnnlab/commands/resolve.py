"""The configuration that a command line names."""

from pathlib import Path

import yaml

from rnnlab.common.errors import UserError, nearest
from rnnlab.config.config import Config, load_config
from rnnlab.config.overrides import override, parse_overrides, read_yaml


def resolve(
    path: Path, overrides: list[str], task: str | None = None, arm: str | None = None, budget: str | None = None
) -> Config:
    """Read one experiment, from a file of its own or as one arm of a sweep.

    Args:
        path: YAML of an experiment or of a sweep.
        overrides: `"section.field=value"` items.
        task: label of one of the sweep's tasks; may be left out if there is one alone.
        arm: name of one of its arms.
        budget: one of the budgets it declares.

    Returns:
        The validated configuration.

    Raises:
        UserError: if the file, an override, the task or the arm is wrong.
    """
    if "arms" not in read_yaml(path):
        if task or arm or budget:
            raise UserError(
                f"--task, --arm and --budget pick from a sweep, and {path} is a single experiment: leave them out"
            )
        return load_config(path, overrides)
    from rnnlab.sweep.plan.definition import load_sweep_definition

    plans = load_sweep_definition(path, budget).studies
    tasks, arms = ({plan.task for plan in plans}, {plan.arm for plan in plans})
    task = next(iter(tasks)) if task is None and len(tasks) == 1 else task
    for option, value, valid in (("--task", task, tasks), ("--arm", arm, arms)):
        if value not in valid:
            whole = f"which `rnnlab sweep {path}` takes; to train one run of it, {option} is missing"
            why = whole if value is None else f"and {option} = '{value}' is not in it"
            raise UserError(f"{path} is a sweep, {why}: {nearest(str(value), valid)}")
    settings = next(plan.settings for plan in plans if (plan.task, plan.arm) == (task, arm))
    return Config.parse(override(settings, parse_overrides(overrides)), f"arm '{arm}' on {task}")


def print_config(config: Config) -> None:
    """Print every field with its value as YAML, and the hash that names the experiment."""
    print(f"# hash {config.hash}")
    print(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False), end="")
