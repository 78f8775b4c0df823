"""A version of MLflow without the private names is served by its public ones."""

import importlib
import socket

import pytest

from rnnlab.common.errors import UserError
from rnnlab.tracking import mlflow_private, store


@pytest.mark.parametrize("name", ["rest_utils.http_request", "credentials.get_default_host_creds"])
def test_a_silent_server_is_named_without_them(name, monkeypatch):
    with monkeypatch.context() as older:
        older.delattr(f"mlflow.utils.{name}")
        importlib.reload(mlflow_private)
    try:
        assert mlflow_private.http_request is None
        monkeypatch.setattr(store, "ask", mlflow_private.ask)
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))  # and not listening
            uri = f"http://127.0.0.1:{nobody.getsockname()[1]}"
            with pytest.raises(UserError, match=f"no MLflow server answers at {uri}"):
                store.check(uri)
    finally:
        importlib.reload(mlflow_private)
