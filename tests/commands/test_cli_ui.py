"""What the command of the dashboard refuses; what it serves, and how it ends, is in `tests/tracking/test_server.py`."""

import socket

import pytest
from typer.testing import CliRunner

from rnnlab.commands.cli import app
from rnnlab.common.errors import UserError


def test_a_busy_port_is_named(workplace):
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        with pytest.raises(UserError, match=f"port {port} is taken"):
            CliRunner().invoke(app, ["ui", "--port", str(port)], catch_exceptions=False)
