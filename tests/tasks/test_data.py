import hashlib
import threading
import time
from collections.abc import Iterator
from functools import cache, partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from rnnlab.common.errors import UserError
from rnnlab.tasks import data, mnist
from rnnlab.tasks.data import DataFile, places, read

CONTENT = b"the published bytes"
NOWHERE = "http://127.0.0.1:9"  # the discard port: refused at once


def wanted(*mirrors: str) -> DataFile:
    return DataFile("poems", "ode.gz", hashlib.sha256(CONTENT).hexdigest(), mirrors)


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(autouse=True)
def bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without any data, whose working directory is `work`."""
    for folder in ("work", "checkout/repository", "given"):
        (tmp_path / folder).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setattr(data, "CHECKOUT", tmp_path / "checkout/repository")
    monkeypatch.setenv("RNNLAB_DATA", str(tmp_path / "given"))
    monkeypatch.setenv("no_proxy", "*")
    return tmp_path


@pytest.fixture
def mirror(bare_machine: Path) -> Iterator[str]:
    """A web server that offers what lies in the folder `mirror`."""
    (bare_machine / "mirror").mkdir()
    handler = partial(Quiet, directory=str(bare_machine / "mirror"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(
    "folder", ["given/poems", "given", "checkout/shared/data/poems", "shared/data/poems", "work/data/poems"]
)
def test_a_file_is_found_in_every_documented_place(bare_machine: Path, folder: str):
    (bare_machine / folder).mkdir(parents=True, exist_ok=True)
    (bare_machine / folder / "ode.gz").write_bytes(CONTENT)
    assert read(wanted()) == CONTENT


def test_the_folder_given_by_the_user_comes_first(bare_machine: Path, monkeypatch: pytest.MonkeyPatch):
    assert places("poems")[:2] == [bare_machine / "given/poems", bare_machine / "given"]
    monkeypatch.delenv("RNNLAB_DATA")
    assert not any(place.is_relative_to(bare_machine / "given") for place in places("poems"))


@pytest.mark.parametrize("folder", ["given/poems", "work/data/poems"])
def test_a_corrupt_file_is_refused_by_name_and_never_replaced(bare_machine: Path, mirror: str, folder: str):
    path = bare_machine / folder / "ode.gz"
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT[:-1])
    (bare_machine / "mirror/ode.gz").write_bytes(CONTENT)
    with pytest.raises(UserError) as caught:
        read(wanted(mirror))
    assert str(path) in str(caught.value) and wanted().sha256 in str(caught.value)
    assert path.read_bytes() == CONTENT[:-1]


def test_a_download_is_checked_and_kept(bare_machine: Path, mirror: str):
    (bare_machine / "mirror/ode.gz").write_bytes(CONTENT)
    assert read(wanted(NOWHERE, mirror)) == CONTENT
    assert [path.name for path in (bare_machine / "work/data/poems").iterdir()] == ["ode.gz"]
    assert read(wanted()) == CONTENT  # now without any mirror


def test_wrong_bytes_from_a_mirror_are_refused_and_not_kept(bare_machine: Path, mirror: str):
    (bare_machine / "mirror/ode.gz").write_bytes(b"another poem")
    with pytest.raises(UserError, match="wrong SHA-256"):
        read(wanted(mirror))
    assert not (bare_machine / "work/data").exists()


def test_missing_data_says_where_it_was_sought_and_how_to_give_it(bare_machine: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(mnist, "MIRRORS", (NOWHERE, NOWHERE))
    monkeypatch.setattr(mnist, "_load", cache(mnist._load.__wrapped__))
    start = time.perf_counter()
    with pytest.raises(UserError) as caught:
        mnist.Mnist.images("test")
    assert time.perf_counter() - start < 2
    message = str(caught.value)
    for part in (*map(str, places("mnist")), NOWHERE, "train-images-idx3-ubyte.gz", "set RNNLAB_DATA"):
        assert part in message


def test_a_silent_mirror_is_given_up(mirror: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(data, "TIMEOUT", 0.2)
    monkeypatch.setattr(Quiet, "do_GET", lambda self: time.sleep(1))
    with pytest.raises(UserError, match="timed out"):
        read(wanted(mirror))


def test_a_corrupt_mnist_file_is_refused_by_name(bare_machine: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(mnist, "_load", cache(mnist._load.__wrapped__))
    path = bare_machine / "given" / "train-images-idx3-ubyte.gz"
    path.write_bytes(b"not an archive")
    with pytest.raises(UserError, match=str(path)):
        mnist.Mnist.images("train")
