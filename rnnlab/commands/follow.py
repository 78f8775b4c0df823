"""Renews the page of a running sweep until it ends."""

import time
from pathlib import Path

import typer

from rnnlab.common.output import Output
from rnnlab.report.live import LivePage
from rnnlab.sweep.show.status import Status, advice, headline, read_status
from rnnlab.tracking.store import tracking_uri

ALIVE = ("running", "ending", "unattended")


def follow(name: str, out: Path, every: float, storage: str | None, output: Output) -> int:
    """Write live.html into a folder every so many seconds while somebody works on a sweep, and a last time afterwards.

    Args:
        name: name of the sweep.
        out: the folder.
        every: seconds between two looks.
        storage: URL of the PostgreSQL database that keeps the sweep's state, if one does.
        output: how much is said.

    Returns:
        The exit code of `rnnlab status`.

    Raises:
        UserError: if the sweep is unknown, or the folder cannot be written to.
    """
    status = read_status(name, storage=storage)  # an unknown sweep is refused before anything is written
    with LivePage.of(name, out, tracking_uri()) as page:
        path = page.renew(status, _again(status, every))
        if output.plain:
            typer.echo(f"Page  {path}" + f", renewed every {every:g} seconds" * (status.word in ALIVE))
        while status.word in ALIVE:
            time.sleep(every)
            status = read_status(name, storage=storage)
            page.renew(status, _again(status, every))
    if output.plain:
        typer.echo(f"{headline(status)}\n{advice(status)}")
    output.finish({"name": name, "state": status.word, "page": str(path)}, word=str(path))
    return status.exit_code


def _again(status: Status, every: float) -> float | None:
    """Seconds until the next look, if there will be one."""
    return every if status.word in ALIVE else None
