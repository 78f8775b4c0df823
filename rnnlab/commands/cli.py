"""The command line. Everything heavy is imported inside the commands, so that `--help` is instant."""

import os
import shlex
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from rnnlab.commands.ending import REPORTS, finish_sweep
from rnnlab.commands.options import Imports, Json, Quiet, Storage, TrackingUri
from rnnlab.common.errors import UserError

TRACEBACK = "RNNLAB_TRACEBACK"
"""Environment variable with which an error in a plugged-in file shows its traceback."""

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"rnnlab {version('rnnlab')}")
        raise typer.Exit


@app.callback(no_args_is_help=True)
def common(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """An instrument for vanishing gradients: runs, sweeps, reports."""


@app.command()
def init(folder: Annotated[Path, typer.Argument(help="Folder to make.")]) -> None:
    """Start a study: an experiment, a sweep, a cell, a remedy and a notebook to change."""
    from rnnlab.commands.init import start_study

    for path in start_study(folder):
        typer.echo(path)
    typer.echo(f"Next: cd {shlex.quote(str(folder))}, then rnnlab sweep sweep.yaml --budget smoke")


@app.command()
def run(
    config: Annotated[
        Path,
        typer.Argument(
            help="YAML of one experiment, or of a sweep with --task and --arm; or the name of a shipped one."
        ),
    ],
    overrides: Annotated[list[str] | None, typer.Argument(help="Fields to change: optimizer.lr=3e-3 ...")] = None,
    task: Annotated[str | None, typer.Option(help="Task of a sweep, such as adding-50.")] = None,
    arm: Annotated[str | None, typer.Option(help="Arm of a sweep, such as lstm.")] = None,
    budget: Annotated[str | None, typer.Option(help="Budget that the sweep declares, such as smoke.")] = None,
    seeds: Annotated[int | None, typer.Option(help="Train on so many seeds, from the field `seed` on.")] = None,
    imports: Imports = None,
    print_config: Annotated[bool, typer.Option("--print-config", help="Show the resolved configuration only.")] = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Train once, show the progress, and store the run in MLflow.

    An interrupted run is taken up where it stopped by the same command.
    """
    from rnnlab.commands.resolve import print_config as show
    from rnnlab.commands.resolve import resolve
    from rnnlab.common.plugins import import_files

    _for_people(print_config and "--print-config", quiet, json)
    import_files(imports or [])
    resolved = resolve(config, overrides or [], task, arm, budget)
    if print_config:
        show(resolved)
        return
    from rnnlab.commands.run import run_and_store
    from rnnlab.common.output import Output

    changes = [f"{option}={value}" for option, value in (("task", task), ("arm", arm), ("budget", budget)) if value]
    name = " ".join([config.stem, *changes, *(overrides or []), f"({resolved.hash[:6]})"])
    if seeds is None:
        run_and_store(resolved, name, Output(quiet, json))
        return
    from rnnlab.commands.seeds import run_seeds

    run_seeds(resolved, seeds, name, Output(quiet, json))


@app.command()
def sweep(
    definition: Annotated[Path, typer.Argument(help="YAML of a sweep, or the name of a shipped one.")],
    workers: Annotated[int | None, typer.Option(min=0, help="Worker processes; the file's number if left out.")] = None,
    budget: Annotated[str | None, typer.Option(help="Budget that the file declares, such as smoke.")] = None,
    imports: Imports = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan and the time it may take only.")] = False,
    quiet: Quiet = False,
    json: Json = False,
    storage: Storage = None,
    tracking_uri: TrackingUri = None,
    engine: Annotated[Literal["local", "ray"], typer.Option(help="Who starts the workers: local, or ray.")] = "local",
    address: Annotated[str | None, typer.Option(help="Ray cluster, such as 127.0.0.1:6379.")] = None,
    gpus_per_worker: Annotated[float, typer.Option(min=0, help="GPUs that Ray reserves for each worker.")] = 0.0,
) -> None:
    """Tune every arm, train its best point on fresh seeds, and write the report.

    Started again after an interruption, it continues where it stopped. The exit code is 4 where every run is done but
    MLflow has not taken them all: they wait on disk for the same command.
    """
    _for_people(dry_run and "--dry-run", quiet, json)
    there = _track(tracking_uri)
    who: dict[str, Any] = {"workers": workers, "storage": storage, "engine": engine, "address": address}
    who["gpus_per_worker"] = gpus_per_worker
    if dry_run:
        from rnnlab.commands.plan import show_plan

        show_plan(definition, budget, imports or [], who)
        return
    from rnnlab.common.output import Output
    from rnnlab.sweep.runner import run_sweep

    output = Output(quiet, json)
    state = run_sweep(definition, budget=budget, imports=imports or (), console=output.console(), **who)
    finish_sweep(state, output, there)


@app.command()
def worker(
    name: Annotated[str, typer.Argument(metavar="SWEEP", help="Name of a sweep that is running.")],
    storage: Storage = None,
    tracking_uri: TrackingUri = None,
) -> None:
    """Join a sweep that keeps its state in a database, from any machine, and run its trials.

    It leaves once the sweep is complete, or at SIGTERM or Ctrl-C after saving a checkpoint. The exit code is 0 where
    the sweep is complete, and 3 where it is not.
    """
    from rnnlab.sweep.show.status import INCOMPLETE
    from rnnlab.sweep.work.join import join_sweep

    _track(tracking_uri)
    raise typer.Exit(0 if join_sweep(name, storage).complete else INCOMPLETE)


@app.command()
def status(
    name: Annotated[str, typer.Argument(help="Name of a sweep.")], storage: Storage = None, json: Json = False
) -> None:
    """Show how far a sweep is, while it runs or after it was stopped; touch nothing.

    The exit code is 0 while it runs and once it is complete, 3 where it was stopped before its end, and 4 where every
    run is done but MLflow has not taken them all.
    """
    from rnnlab.common.output import Output
    from rnnlab.sweep.show.status import print_status, read_status

    found, output = read_status(name, storage=storage), Output(json=json)
    if output.plain:
        print_status(found, output.console())
    output.finish(found.as_dict())
    raise typer.Exit(found.exit_code)


@app.command()
def report(
    name: Annotated[str, typer.Argument(help="Name of a sweep.")],
    out: Annotated[Path | None, typer.Option(help="Folder to write to; runs/reports/NAME if left out.")] = None,
    every: Annotated[
        float | None, typer.Option(min=1, help="Seconds: renew live.html so often while the sweep runs, and no report.")
    ] = None,
    storage: Storage = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Write the ablation report of a sweep as Markdown, HTML, CSV and LaTeX, or a page that follows it as it runs."""
    from rnnlab.common.output import Output

    output, out = Output(quiet, json), out or REPORTS / name
    if every is not None:
        from rnnlab.commands.follow import follow

        raise typer.Exit(follow(name, out, every, storage, output))
    from rnnlab.report.report import write_report

    path = str(write_report(name, out))
    if output.plain:
        typer.echo(f"Report  {path}")
    output.finish({"name": name, "report": path}, word=path)


@app.command()
def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="Name of a sweep, or one arm of it as SWEEP/ARM.")],
    b: Annotated[str, typer.Argument(metavar="B", help="The same of another.")],
    out: Annotated[Path | None, typer.Option(help="Folder for a page of it, as Markdown and HTML.")] = None,
    store_b: Annotated[
        str | None, typer.Option("--store-b", help="MLflow server or SQLite file that holds B, if another.")
    ] = None,
    json: Json = False,
) -> None:
    """Hold two sweeps against each other, arm by arm on shared seeds, and say what differs between them."""
    from rnnlab.commands.compare import compare_sweeps
    from rnnlab.common.output import Output

    compare_sweeps(a, b, out, store_b, Output(json=json))


@app.command()
def reproduce(
    name: Annotated[str | None, typer.Argument(help="Name of a result; all of them are listed if left out.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Run every result that two cores can.")] = False,
    budget: Annotated[str | None, typer.Option(help="With --all: only what fits into it, such as 2h.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Test what is stored against the present code.")] = False,
    out: Annotated[Path | None, typer.Option(help="File for the page of all results.")] = None,
    imports: Imports = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Reproduce published results: run them, decide by statistics, and write a page with the figure.

    Started again after an interruption, it continues where it stopped. The exit code is 1 where --check finds
    something, and 4 where MLflow has not taken every run.
    """
    from rnnlab.common.output import Output
    from rnnlab.common.plugins import import_files

    import_files(imports or [])
    from rnnlab.commands.reproduce import reproduce as carry_out

    raise typer.Exit(carry_out(name, every, budget, check, out, Output(quiet, json)))


@app.command()
def ui(port: Annotated[int, typer.Option(min=1, max=65535, help="Port on 127.0.0.1.")] = 5000) -> None:
    """Open the MLflow dashboard on 127.0.0.1."""
    from rnnlab.tracking.ui import serve

    raise typer.Exit(serve(port))


@app.command()
def doctor(json: Json = False) -> None:
    """Check the installation, line by line, and say how to mend what is wrong.

    The exit code is 1 where there is a problem; warnings do not count.
    """
    from rnnlab.commands.doctor import fit, print_findings
    from rnnlab.common.output import Output

    output = Output(json=json)
    findings = print_findings(output.console())
    output.finish({"fit": fit(findings), "findings": [finding._asdict() for finding in findings]})
    raise typer.Exit(0 if fit(findings) else 1)


def _for_people(option: str | bool, quiet: bool, json: bool) -> None:
    """Refuse --quiet and --json beside an option whose text is all there is."""
    if option and (quiet or json):
        raise UserError(f"{option} shows text alone: leave out {'--json' if json else '--quiet'}")


def _track(uri: str | None) -> bool:
    """Make a store the one that everything in this process writes to, and everything that it starts.

    Returns:
        Whether later commands have to be told of it.
    """
    before = os.environ.get("MLFLOW_TRACKING_URI")
    if uri:
        os.environ["MLFLOW_TRACKING_URI"] = uri
    return uri is not None and uri != before


def main() -> None:
    """Run the command line; a user's mistake, also in a plugged-in file, is one sentence on stderr and exit code 2."""
    try:
        app()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except Exception as error:
        from rnnlab.common.plugins import blamed

        said = None if os.environ.get(TRACEBACK) else blamed(error)
        if said is None:
            raise
        print(f"error: {said}; {TRACEBACK}=1 in front of the command shows the way there", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
