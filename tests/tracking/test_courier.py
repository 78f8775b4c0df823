"""Whatever the store does, runs arrive in the end, once, and nobody who trains waits for it."""

import math
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from rnnlab.tracking import courier as courier_module
from rnnlab.tracking import outbox as outbox_module
from rnnlab.tracking import store
from rnnlab.tracking.courier import Courier
from rnnlab.tracking.outbox import Entry, Outbox
from rnnlab.tracking.run_state import RunState
from rnnlab.tracking.store import connect, experiment_id
from rnnlab.tracking.writer import Writer
from rnnlab.training.result import Curve, Result


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in {"LOOK_SECONDS": 0.05, "RETRY_SECONDS": 0.1, "PATIENCE_SECONDS": 0.3}.items():
        monkeypatch.setattr(courier_module, name, seconds)
    monkeypatch.setattr(outbox_module, "FOLLOW_SECONDS", -1.0)


@pytest.fixture
def box(tmp_path: Path) -> Outbox:
    return Outbox(tmp_path / "outbox")


@pytest.fixture
def begin(box: Outbox, state: RunState) -> Callable[[str], Entry]:
    """Starts a run of its own in the outbox."""

    def start(key: str) -> Entry:
        entry = box.entry(key)
        entry.open(replace(state, name=key, identity={"rnnlab.run": key}))
        return entry

    return start


@pytest.fixture
def plain(result: Result) -> Result:
    """A run without gradients, whose pictures take most of the time of a delivery."""
    return replace(result, profile=None)


def statuses(uri: str) -> dict[str | None, str]:
    runs = connect(uri).search_runs([experiment_id(uri, "demo")])
    assert len({run.info.run_name for run in runs}) == len(runs)
    return {run.info.run_name: run.info.status for run in runs}


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_run_can_be_followed_and_arrives_whole(uri, box, begin, plain):
    entry = begin("a/b/c")
    with Courier(box, uri) as courier:
        wait_for(lambda: statuses(uri) == {"a/b/c": "RUNNING"})
        entry.follow({"val/loss": Curve([5], [1.0])})
        (run,) = connect(uri).search_runs([experiment_id(uri, "demo")])
        wait_for(lambda: len(connect(uri).get_metric_history(run.info.run_id, "val/loss")) == 1)
        assert courier.wait() == 0  # a run that is going on keeps nobody
        entry.finish(plain)
        assert courier.wait() == 0
    assert statuses(uri) == {"a/b/c": "FINISHED"}
    receipt = entry.read()
    assert receipt is not None and receipt.run_id == run.info.run_id and not entry.folder.exists()
    assert receipt.summary["loss"] == plain.test_loss and not receipt.curves
    box.clear()
    assert not box.folder.exists()


@pytest.mark.slow
def test_a_locked_database_is_an_outage_like_any_other(uri, box, begin, plain, impatient):
    begin("first").finish(plain)
    with Courier(box, uri) as courier:
        assert courier.wait() == 0
        other = sqlite3.connect(uri.removeprefix("sqlite:///"), isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        began = time.monotonic()
        begin("second").finish(plain)
        assert time.monotonic() - began < 3  # MLflow's own patience is four seconds here
        assert courier.wait() == 1
        assert courier.problem is not None and "locked" in courier.problem
        other.execute("ROLLBACK")
        wait_for(lambda: courier.problem is None)
    assert statuses(uri) == {"first": "FINISHED", "second": "FINISHED"}


@pytest.fixture
def silent_server() -> Iterator[str]:
    """Accepts whoever comes and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://me:secret@127.0.0.1:{server.getsockname()[1]}"


def test_a_server_that_hangs_keeps_nobody(silent_server, box, begin, plain, monkeypatch):
    monkeypatch.setattr(store, "PROBE_SECONDS", 0.5)
    began = time.monotonic()
    with Courier(box, silent_server) as courier:
        begin("a").finish(plain)
        assert time.monotonic() - began < 3
        assert courier.wait() == 1
        assert courier.problem is not None and "no MLflow server answers" in courier.problem
        assert "secret" not in courier.problem
    assert time.monotonic() - began < 10


class Dying(BaseHTTPRequestHandler):
    """Is well when asked for its health, and gone at the next request."""

    def do_GET(self) -> None:
        if self.path != "/health":
            self.server.server_close()
            return
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"OK")

    do_POST = do_GET


def test_a_server_that_dies_meanwhile_is_spoken_of_in_words(box, begin, plain):
    with ThreadingHTTPServer(("127.0.0.1", 0), Dying) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        begin("a").finish(plain)
        courier = Courier(box, f"http://127.0.0.1:{server.server_port}")
        courier.deliver_all()
        server.shutdown()
    assert courier.problem is not None and courier.problem.startswith("no MLflow server answers")


@pytest.mark.slow
def test_a_courier_waits_as_long_as_another_one_delivers(uri, box, begin, monkeypatch):
    monkeypatch.setattr(courier_module, "PATIENCE_SECONDS", 2.0)
    deliver = Writer.deliver

    def slowly(self: Writer, entry: Entry) -> str | None:
        time.sleep(0.3)
        return deliver(self, entry)

    monkeypatch.setattr(Writer, "deliver", slowly)
    for number in range(10):
        begin(str(number)).fail("it broke")
    with Courier(box, uri), Courier(box, uri) as other:
        assert other.wait() == 0


def test_a_run_that_is_refused_holds_up_no_other(uri, box, begin, state, plain):
    connect(uri).delete_experiment(experiment_id(uri, "gone"))
    refused = box.entry("a")
    refused.open(replace(state, experiment="gone"))
    refused.finish(plain)
    for key in "bc":
        begin(key).finish(plain)
    with Courier(box, uri) as courier:
        assert courier.wait() == 1
        assert courier.problem is not None and "'gone' was deleted" in courier.problem
    assert statuses(uri) == {"b": "FINISHED", "c": "FINISHED"}


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flip(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.usefixtures("drawn_once")
@pytest.mark.parametrize("damage", [cut, flip])
@pytest.mark.parametrize("file", ["ended.json", "live.json", "files/profile.nc"])
def test_damage_is_set_aside_and_the_rest_delivered(uri, box, begin, result, plain, file, damage):
    result = result if file == "files/profile.nc" else plain
    bad, good = begin("tasks/arm/bad"), begin("tasks/arm/good")
    for entry in (bad, good):
        if file != "live.json":
            entry.finish(result)
    path = bad.folder / file
    path.write_bytes(damage(path.read_bytes()))
    courier = Courier(box, uri)
    with pytest.warns(UserWarning, match=r"damaged.*kept as bad.damaged-1"):
        courier.deliver_all()
    assert courier.problem is None and list(box.lost()) == ["tasks/arm/bad"] and not box.undelivered()
    assert statuses(uri) == {"tasks/arm/good": "FINISHED" if file != "live.json" else "RUNNING"}
    begin("tasks/arm/bad").finish(result)  # taken up anew
    assert not list(box.lost())
    courier.deliver_all()
    assert statuses(uri)["tasks/arm/bad"] == "FINISHED"
    box.clear()
    assert (box.folder / "runs" / "tasks" / "arm" / "bad.damaged-1").exists()


def test_a_damaged_receipt_costs_nothing(uri, box, begin, plain):
    entry = begin("a")
    entry.finish(plain)
    Courier(box, uri).deliver_all()
    entry.receipt.write_bytes(cut(entry.receipt.read_bytes()))
    assert entry.read() is None
    begin("a").finish(plain)
    Courier(box, uri).deliver_all()
    assert statuses(uri) == {"a": "FINISHED"}


def test_a_record_is_read_as_it_was_written(begin, plain):
    entry = begin("a")
    entry.follow({"val/loss": Curve([1, 2, 3], [0.1, math.nan, -math.inf])})
    entry.follow({"val/loss": Curve([1, 2, 3, 4], [0.1, math.nan, -math.inf, 2.0])})
    again = begin("a")
    assert again.state is not None and entry.state is not None
    assert again.state.encode() == entry.state.encode() and again.state.updates == 4
    assert list(again.state.times) == [1, 2, 3, 4]
    ended = again.finish(plain, {"more": "tags"})
    assert again.read() == ended or again.read().encode() == ended.encode()


def test_a_reader_never_sees_half_an_entry(box, begin, plain):
    """Somebody writes as fast as they can while another looks."""
    entry = begin("a")
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            entry.follow({"val/loss": Curve(list(range(500)), [0.5] * 500)})

    writer = threading.Thread(target=write)
    writer.start()
    for _ in range(200):
        seen = box.entry("a").read()
        assert seen is not None
    stop.set()
    writer.join()


def test_a_delivered_entry_leaves_no_folder_and_takes_none_of_its_neighbours(box, begin, plain):
    first, second = begin("a/b/c/seed-1"), begin("a/b/c/seed-2")
    first.finish(plain)
    first.close("one")
    assert [entry.key for entry in box.entries()] == ["a/b/c/seed-2"] and second.live.exists()
    second.finish(plain)
    second.close("two")
    assert not second.folder.parent.exists() and box.entries() == []
    begin("a/b/c/seed-3")
    assert [entry.key for entry in box.entries()] == ["a/b/c/seed-3"]
