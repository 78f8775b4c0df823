"""The dashboard's server: started by a command, and gone with it."""

import signal
import socket
import time

import pytest
from forked import Forked, command_line
from typer.testing import CliRunner

from rnnlab.commands.cli import app
from rnnlab.common.errors import UserError


@pytest.mark.slow
def test_the_dashboard_ends_with_all_it_started_when_told_to(workplace):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    ui = Forked(command_line, "ui", "--port", str(port))
    try:
        while socket.socket().connect_ex(("127.0.0.1", port)):
            assert ui.poll() is None
            time.sleep(0.1)
        ui.send_signal(signal.SIGTERM)  # to it alone
        assert ui.wait(30) == 0
        assert socket.socket().connect_ex(("127.0.0.1", port))
    finally:
        ui.kill()


def test_a_busy_port_is_named(workplace):
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        with pytest.raises(UserError, match=f"port {port} is taken"):
            CliRunner().invoke(app, ["ui", "--port", str(port)], catch_exceptions=False)
