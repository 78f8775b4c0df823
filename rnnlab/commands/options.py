"""Options that several commands share."""

from typing import Annotated

import typer

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors and the one thing to go on with.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout; progress goes to stderr.")]
Storage = Annotated[
    str | None,
    typer.Option(envvar="RNNLAB_STORAGE", help="PostgreSQL database of a sweep on several machines, by URL."),
]
TrackingUri = Annotated[
    str | None,
    typer.Option(envvar="MLFLOW_TRACKING_URI", help="MLflow server or SQLite file; runs/mlflow.db if left out."),
]
Imports = Annotated[
    list[str] | None,
    typer.Option("--import", help="Python file of cells, tasks, probes, remedies or optimisers of your own."),
]
