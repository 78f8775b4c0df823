"""URLs of PostgreSQL databases, which hold passwords that no message may show."""

import contextlib
import importlib.util
from collections.abc import Iterator

import optuna
import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.pool import NullPool

from rnnlab.common.errors import UserError

STORAGE_VARIABLE = "RNNLAB_STORAGE"
CONNECT_SECONDS = 5
EXAMPLE = "postgresql+psycopg://USER@HOST/DATABASE"


def parse_url(text: str) -> sa.URL:
    """Read the URL of a PostgreSQL database.

    Raises:
        UserError: if it is something else; it is not repeated, for whatever it is may hold a password.
    """
    try:
        url = sa.make_url(text)
        if "@" in f"{url.host}{url.database}":  # the rest of a password, which would be shown
            raise ValueError
    except (exc.ArgumentError, ValueError):
        raise UserError(f"--storage is not a URL: write {EXAMPLE}, and quote special characters as %40") from None
    if url.drivername not in ("postgresql", "postgresql+psycopg"):
        raise UserError(
            f"--storage names {url.get_backend_name()!r}, which several workers cannot share safely: name a PostgreSQL "
            f"database as {EXAMPLE}, or leave it out for a journal in the sweep's folder"
        )
    if importlib.util.find_spec("psycopg") is None:
        raise UserError("--storage needs the package psycopg: pip install 'rnnlab[cluster]'")
    return url.set(drivername="postgresql+psycopg")


def describe(text: str) -> str:
    """What answers at a URL: the server's version, and how many connections it allows.

    Raises:
        UserError: if nobody does.
    """
    url = parse_url(text)
    engine = sa.create_engine(url, poolclass=NullPool, connect_args={"connect_timeout": CONNECT_SECONDS})
    with explained(url), engine.connect() as connection:
        version, most = (
            connection.execute(sa.text(f"SHOW {name}")).scalar_one() for name in ("server_version", "max_connections")
        )
    return f"{shown_url(url)} answers: PostgreSQL {version.split()[0]}, at most {most} connections"


def shown_url(url: sa.URL) -> str:
    """The URL without a password; libpq takes one as a parameter too, so parameters are left out."""
    return url.set(query={}).render_as_string(hide_password=True)


@contextlib.contextmanager
def explained(url: sa.URL) -> Iterator[None]:
    """Turn what the driver says inside the block into one sentence without the password."""
    try:
        yield
    except (optuna.exceptions.StorageInternalError, exc.DBAPIError) as error:
        cause = error if isinstance(error, exc.DBAPIError) else error.__cause__
        said = " ".join(str(getattr(cause, "orig", cause)).split()).rstrip(".")
        if url.password:
            said = said.replace(str(url.password), "***")
        raise UserError(
            f"the database {shown_url(url)} refuses: {said}; start it, or mend --storage or {STORAGE_VARIABLE}"
        ) from None
    except RuntimeError as error:
        if "schema" not in str(error):
            raise
        raise UserError(
            f"the database {shown_url(url)} was set up by another version of Optuna than {optuna.__version__}: install "
            "the same on every machine"
        ) from None
