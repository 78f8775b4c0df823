"""What a sweep says when it has come to its end."""

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rnnlab.common.output import Output
    from rnnlab.sweep.store.state import SweepState

REPORTS = Path("runs/reports")
NOTEBOOK = Path("analysis/02_mitigations.ipynb")


def finish_sweep(state: "SweepState", output: "Output", elsewhere: bool) -> None:
    """Write the report of a sweep that has come to its end, and say how it ended."""
    from rnnlab.common.text import count
    from rnnlab.report.report import write_report

    delivered = state.complete and not state.undelivered
    report = str(write_report(state.name, REPORTS / state.name)) if delivered else None
    if report and output.plain:
        _say_where(state.name, report, elsewhere)
    for failure in state.failures if output.quiet else []:
        typer.echo(f"failed: {failure}", err=True)
    if output.quiet and state.complete and state.undelivered:
        waiting = count(state.undelivered, "run")
        typer.echo(f"not in MLflow yet, left on disk: {waiting}; start the sweep again", err=True)
    output.finish({**state.as_dict(), "report": report}, word=report)
    raise typer.Exit(state.exit_code)


def _say_where(name: str, report: str, elsewhere: bool) -> None:
    """Say where to look at a complete sweep."""
    from rnnlab.tracking.store import shown, tracking_uri

    variable = f"MLFLOW_TRACKING_URI={shown(tracking_uri())} " if elsewhere else ""
    started = f"{sys.executable} -m rnnlab" if sys.argv[0].endswith("__main__.py") else sys.argv[0]
    command = "rnnlab" if shutil.which("rnnlab") else started  # an environment that is not activated, as by make
    typer.echo(f"\nReport     {report}\nDashboard  {variable}{command} ui")
    if NOTEBOOK.exists():  # it comes with a clone
        typer.echo(f"Notebook   {variable}RNNLAB_SWEEP={name} make notebooks, then {NOTEBOOK}")
