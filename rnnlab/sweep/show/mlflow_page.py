"""The page of a sweep in MLflow: its question, its views, and one run for all that belongs to the whole of it."""

import json
import tempfile
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import optuna
from mlflow.exceptions import MlflowException

from rnnlab.common.errors import UserError
from rnnlab.sweep.plan.definition import SweepDefinition
from rnnlab.sweep.plan.outline import Outline
from rnnlab.tracking.provenance import environment
from rnnlab.tracking.store import connect, experiment_id, explained, shown
from rnnlab.tracking.views import Contents, link, saved_views
from rnnlab.tracking.writer import log_file, start_parent

NOTE = "mlflow.note.content"
HISTORY = "rnnlab.history"
"""Tag of a study's run with how the sweep came to its plan, as JSON."""


def open_overview(uri: str, definition: SweepDefinition, source: Path) -> str:
    """Prepare the page of a sweep; to be called by one process.

    Args:
        uri: MLflow tracking URI of a prepared store.
        definition: the sweep.
        source: its YAML file.

    Returns:
        MLflow's id of the run that keeps the definition, the environment and, in the end, the report.
    """
    run_id = overview_run(uri, definition.name)
    log_file(uri, run_id, source)
    with tempfile.TemporaryDirectory(prefix="rnnlab-") as folder:
        path = Path(folder, "environment.json")
        path.write_text(json.dumps(environment(), indent=2) + "\n", encoding="utf-8")
        log_file(uri, run_id, path)
    experiment, client = experiment_id(uri, definition.name), connect(uri)
    plans = definition.studies
    tasks = {plan.task: plan.config({}, definition.seed).task.score_name for plan in plans}
    views = saved_views(Contents(tasks, list(dict.fromkeys(name for plan in plans for name in plan.space))))
    note = (
        f"{headline(definition, experiment)}\n\n{reading(experiment)}\n\nThe report follows when the sweep is complete."
    )
    with explained(uri):
        for tag, value in {**views, NOTE: note}.items():
            client.set_experiment_tag(experiment, tag, value)
    return run_id


def keep_plan(uri: str, run_id: str, source: Path, outline: Outline) -> None:
    """Give the run of a study the plan that it is run by.

    Args:
        uri: MLflow tracking URI of a prepared store.
        run_id: of the study's run.
        source: YAML file of the sweep.
        outline: its outline, with how it came to it.
    """
    log_file(uri, run_id, source)
    with explained(uri):
        connect(uri).set_tag(run_id, HISTORY, json.dumps([asdict(step) for step in outline.history]))


def check_store(uri: str, sweep: str, studies: Iterable[optuna.Study]) -> None:
    """Look for the runs that a sweep has begun: in another store new ones would have no parents, and no report.

    Args:
        uri: MLflow tracking URI of a prepared store.
        sweep: its name.
        studies: some of its studies.

    Raises:
        UserError: if they are not there.
    """
    parent = next((study.user_attrs["parent_run"] for study in studies if "parent_run" in study.user_attrs), None)
    if parent is None:
        return
    try:
        connect(uri).get_run(parent)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        raise UserError(
            f"the tracking store {shown(uri)} does not hold sweep '{sweep}': name the one it was started with in "
            "--tracking-uri or MLFLOW_TRACKING_URI"
        ) from None


def overview_run(uri: str, name: str) -> str:
    """Find the run that stands for a whole sweep, or create it; it is RUNNING then.

    Args:
        uri: MLflow tracking URI of a prepared store.
        name: name of the sweep.
    """
    tags = {"rnnlab.kind": "report", "rnnlab.sweep": name}
    return start_parent(uri, name, "report", tags, f"Definition, environment and, in the end, report of sweep {name}.")


def headline(definition: SweepDefinition, experiment: str) -> str:
    """The question and where its answer is, in the one line of Markdown that a folded description shows.

    Args:
        definition: the sweep.
        experiment: MLflow's id of its experiment.
    """
    way = f"[Open the arms]({link(experiment, 'arms')})."  # last: lists of experiments show the beginning as it is
    return f"{definition.question} {way}".lstrip()


def reading(experiment: str) -> str:
    """Say where to look, in Markdown.

    Args:
        experiment: MLflow's id of the sweep's experiment.
    """
    return (
        f"**Where to look**: [the arms, averaged over fresh seeds]({link(experiment, 'arms')}); "
        f"[every fresh seed, with pictures of its gradient]({link(experiment, 'runs')}); "
        f"[the search for hyperparameters]({link(experiment, 'search')}). The same are under *Views*."
    )
