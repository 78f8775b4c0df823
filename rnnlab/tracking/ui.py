"""Serve the MLflow dashboard of the store in use."""

import os
import socket
import subprocess
import sys

from rnnlab.common.errors import UserError
from rnnlab.tracking.store import connect, tracking_uri


def serve(port: int) -> int:
    """Serve until Ctrl-C.

    Args:
        port: port on 127.0.0.1; nothing outside this machine can reach it.

    Returns:
        The server's exit code; 0 after Ctrl-C.

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
        return 0
    print(f"MLflow dashboard: http://127.0.0.1:{port}  (Ctrl-C ends it)", flush=True)
    # MLflow greets a new browser with its views for language models, and asks nothing that would say otherwise.
    print("At the first visit choose 'Model training' at the top left", flush=True)
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--uvicorn-opts", "--log-level warning"]  # or it would print every request
    # The server's job runner serves evaluation of language models, and would start seven more processes.
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    try:
        return subprocess.run(command, env=environment, check=False).returncode
    except KeyboardInterrupt:
        return 0
