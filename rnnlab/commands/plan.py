"""Says what a sweep would run."""

from pathlib import Path
from typing import Any

from rich.console import Console

from rnnlab.sweep.plan.definition import load_sweep_definition
from rnnlab.sweep.runner import check_options
from rnnlab.sweep.show.dry_run import print_forecast


def show_plan(definition: Path, budget: str | None, imports: list[str], who: dict[str, Any]) -> None:
    """Print the plan of a sweep, and about how long it would take.

    Args:
        definition: its YAML file.
        budget: one of the budgets that it declares, if any.
        imports: Python files that register what it uses.
        who: works on it, see `check_options`.
    """
    planned = load_sweep_definition(definition, budget, imports)
    check_options(planned, **who)
    print_forecast(planned, who["workers"], Console())
