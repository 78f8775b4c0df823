"""What MLflow has no public name for, and what is done where a version has it no longer."""

import logging

from mlflow import MlflowClient

try:
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request
except ImportError:
    get_default_host_creds = http_request = None

# A new schema announces every migration, and a locked or broken file prints its traceback before raising it.
logging.getLogger("alembic").setLevel(logging.WARNING)
logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)


def ask(uri: str, seconds: float) -> None:
    """Ask a server once whether it is there; without the private names with MLflow's own patience.

    Args:
        uri: of an MLflow server.
        seconds: how long it may take to answer.

    Raises:
        MlflowException: if it does not answer, as may other errors of MLflow's client.
    """
    if http_request is None or get_default_host_creds is None:
        MlflowClient(uri).search_experiments(max_results=1)
    else:
        http_request(get_default_host_creds(uri), "/health", "GET", max_retries=0, timeout=seconds)
