"""Serve the MLflow dashboard of the store in use."""

import os
import signal
import socket
import subprocess
import sys

from rnnlab.common.errors import UserError
from rnnlab.common.interrupts import signals_caught
from rnnlab.tracking.store import connect, tracking_uri
from rnnlab.tracking.views import TAG, link

POLL = 0.2
PATIENCE = 10
"""Seconds between two looks at whether to stop, and after which a server that does not end is killed."""


def serve(port: int) -> int:
    """Serve until Ctrl-C or SIGTERM, and leave no process behind.

    Args:
        port: port on 127.0.0.1; nothing outside this machine can reach it.

    Returns:
        The server's exit code; 0 where it was asked to stop.

    Raises:
        UserError: if there is no store yet, or the port is taken.
    """
    uri = tracking_uri()
    connect(uri)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise UserError(
                f"port {port} is taken on 127.0.0.1: choose another with `rnnlab ui --port {port % 65535 + 1}`"
            ) from None
    if uri.startswith("http"):
        print(f"The dashboard is served by the tracking server itself: {uri}")
        _print_sweep(uri, uri.rstrip("/"))
        return 0
    address = f"http://127.0.0.1:{port}"
    # MLflow greets a new browser with its views for language models, unless the address asks for others.
    print(f"MLflow dashboard: {address}/#/experiments?workflowType=machine_learning  (Ctrl-C ends it)", flush=True)
    _print_sweep(uri, address)
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--uvicorn-opts", "--log-level warning"]  # or it would print every request
    # The server's job runner serves evaluation of language models, and would start seven more processes.
    return _run(command, {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"})


def _print_sweep(uri: str, address: str) -> None:
    """Say where the arms of the sweep are that was changed last."""
    experiments = connect(uri).search_experiments(order_by=["last_update_time DESC"])
    newest = next((one for one in experiments if f"{TAG}arms" in one.tags), None)
    if newest is not None:
        print(f"Arms of sweep {newest.name}: {address}/{link(newest.experiment_id, 'arms')}", flush=True)


def _run(command: list[str], environment: dict[str, str]) -> int:
    """Run a server and all that it starts until it ends or somebody asks for it."""
    with signals_caught(second_kills=True) as asked:
        server = subprocess.Popen(command, env=environment, start_new_session=True)
        while not asked:
            try:
                return server.wait(POLL)
            except subprocess.TimeoutExpired:
                continue
        for how in (signal.SIGTERM, signal.SIGKILL):
            os.killpg(server.pid, how)
            try:
                server.wait(PATIENCE)
                break
            except subprocess.TimeoutExpired:
                continue
        return 0
