"""Where runs are kept: an SQLite file by default, an MLflow server if one is named."""

import contextlib
import functools
import os
import re
import shlex
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

import requests
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from rnnlab.common.errors import UserError
from rnnlab.tracking.mlflow_private import ask

SQLITE = "sqlite:///"
DEFAULT = f"{SQLITE}runs/mlflow.db"
PROBE_SECONDS = 5.0
"""How long a store may take to answer when it is looked for."""
TRAINING_VIEW = {"mlflow.experimentKind": "custom_model_development"}
"""Opens the experiment on its runs and charts; the dashboard would greet with views for language models."""


def tracking_uri(named: str | None = None) -> str:
    """Return the store in use: `MLFLOW_TRACKING_URI`, else `runs/mlflow.db` under the working directory.

    Args:
        named: another store, in place of the one in use.

    Returns:
        An MLflow tracking URI; SQLite paths are absolute, so that workers elsewhere mean the same file.
    """
    uri = named or os.environ.get("MLFLOW_TRACKING_URI", "").strip() or DEFAULT
    return f"{SQLITE}{_file(uri).absolute()}" if uri.startswith(SQLITE) else uri


def prepare_store(uri: str) -> None:
    """Make a store ready for any number of processes; to be called once, before they start.

    MLflow's schema takes seconds and must not be made by two processes at once. It is built in a file of its
    own which then takes its name, so that nobody ever sees half a schema and the first of two wins.

    Args:
        uri: MLflow tracking URI.

    Raises:
        UserError: if the store cannot be made or reached.
    """
    if uri.startswith(SQLITE) and not _file(uri).exists():
        path = _file(uri)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=path.parent, prefix="schema-") as folder:
                fresh = Path(folder, path.name)
                MlflowClient(f"{SQLITE}{fresh}").search_experiments(max_results=1)
                with contextlib.suppress(FileExistsError):
                    os.link(fresh, path)
        except (OSError, MlflowException, SQLAlchemyError) as error:
            reason = getattr(error, "strerror", None) or getattr(error, "orig", None) or error
            raise UserError(
                f"cannot create the tracking store {path}: {reason}; make room, or name another in MLFLOW_TRACKING_URI"
            ) from None
    connect(uri)


def check_kind(uri: str) -> None:
    """Refuse what is neither an SQLite file nor a server, without asking for it.

    Raises:
        UserError: naming what there may be.
    """
    if not re.match(f"{SQLITE}|(?i:https?)://", uri):
        raise UserError(
            f"tracking URI '{shown(uri)}' is not a store rnnlab can use: name an SQLite file as "
            "sqlite:///runs/mlflow.db, or an MLflow server as http://host:5000, in MLFLOW_TRACKING_URI"
        )


@functools.cache
def connect(uri: str) -> MlflowClient:
    """Open a store that exists; the first look at it in a process takes about half a second.

    Processes that share a store have to be spawned: a forked one would inherit an open SQLite connection.

    Args:
        uri: MLflow tracking URI.

    Returns:
        A client that has answered once.

    Raises:
        UserError: if there is no store, or it is something else, or it does not answer.
    """
    check_kind(uri)
    check(uri)
    client = MlflowClient(uri)
    with explained(uri):
        client.search_experiments(max_results=1)
    return client


def experiment_id(uri: str, name: str) -> str:
    """Find an experiment by name, or create it.

    With an SQLite store the artifacts go to the folder `artifacts` beside the file, wherever the process works.

    Args:
        uri: MLflow tracking URI of a prepared store.
        name: name of the experiment.

    Returns:
        MLflow's id.

    Raises:
        UserError: if the experiment has been deleted in MLflow, which keeps its name.
    """
    client = connect(uri)
    # MLflow would put them under the working directory of whichever process comes first.
    location = (_file(uri).absolute().parent / "artifacts").as_uri()
    with explained(uri):
        known = client.get_experiment_by_name(name)
        if known is None:
            try:
                return client.create_experiment(name, location if uri.startswith(SQLITE) else None, TRAINING_VIEW)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
                known = client.get_experiment_by_name(name)  # another process was faster
    assert known is not None
    if known.lifecycle_stage != "active":
        raise UserError(
            f"experiment '{name}' was deleted from the tracking store: restore it with "
            f"`mlflow experiments restore -x {known.experiment_id}`, or choose another name"
        )
    return known.experiment_id


@contextlib.contextmanager
def explained(uri: str) -> Iterator[None]:
    """Turn MLflow's refusals inside the block into one sentence."""
    try:
        yield
    except MlflowException as error:
        if not uri.startswith(SQLITE):
            check(uri)  # a server that is gone meanwhile has refused nothing
        first = without_credentials(uri, " ".join(str(error.message).split("\n")[0].split()).rstrip("."))
        raise UserError(f"the tracking store {shown(uri)} refuses: {first}") from error


def tagged(tags: Mapping[str, str]) -> str:
    """The MLflow filter for runs that carry all of these tags."""
    quotes = {value: '"' if "'" in value else "'" for value in tags.values()}
    return " and ".join(f"tags.`{key}` = {quotes[v]}{v}{quotes[v]}" for key, v in tags.items())


def shown(uri: str) -> str:
    """The URI without any password in it, for messages."""
    return without_credentials(uri, uri)


def option(uri: str) -> str:
    """What a command needs to find a store again; empty for the one that it finds by itself."""
    return "" if uri == f"{SQLITE}{_file(DEFAULT).absolute()}" else f"--tracking-uri {shlex.quote(shown(uri))}"


def without_credentials(uri: str, text: str) -> str:
    """A text in which user, password and query of a URI no longer occur."""
    # Of any scheme: a database's URL given here by mistake holds a password too. Up to the last @: a password may hold
    # every character, also those that a URL has to write as %2F.
    found = re.match(r"(?i)(?!sqlite:)[a-z][\w+.-]*://(.*@)?[^?]*(\?.*)?", uri)
    for secret in filter(None, found.groups() if found else ()):
        text = text.replace(secret, "")
    return text


def check(uri: str) -> None:
    """Look whether a store is there, without MLflow's patience.

    Raises:
        UserError: if it is not.
    """
    if uri.startswith(SQLITE):
        _check_file(_file(uri))
    else:
        _check_server(uri)


def sqlite_file(uri: str) -> Path | None:
    """The file of an SQLite store; None for a server."""
    return _file(uri) if uri.startswith(SQLITE) else None


def _file(uri: str) -> Path:
    return Path(uri.removeprefix(SQLITE))


def _check_file(path: Path) -> None:
    """Look before MLflow does: it would retry a broken file for minutes, and fill a stranger's with its tables."""
    if not path.exists():
        raise UserError(
            f"there is no tracking store {path}: run an experiment first, or name the store in MLFLOW_TRACKING_URI"
        )
    try:
        # Not mode=ro, in which SQLite cannot undo what a kill or a full disk has left half written beside the file.
        file = f"file:{quote(str(path))}?mode=rw"
        with contextlib.closing(sqlite3.connect(file, timeout=PROBE_SECONDS, uri=True)) as database:
            found = database.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone()
    except sqlite3.Error as error:
        raise UserError(
            f"cannot read the tracking store {path}: {error}; name an MLflow database in MLFLOW_TRACKING_URI"
        ) from None
    if not found:
        raise UserError(f"{path} is not a tracking store of MLflow: name one in MLFLOW_TRACKING_URI")


def _check_server(uri: str) -> None:
    """Ask once whether a server is there: MLflow itself would go on asking for minutes."""
    try:
        ask(uri, PROBE_SECONDS)
    except (MlflowException, requests.RequestException, ValueError):
        raise UserError(
            f"no MLflow server answers at {shown(uri)}: start it, or name another store in MLFLOW_TRACKING_URI"
        ) from None
