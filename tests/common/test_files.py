"""Files are whole or not there, on a full disk too, and damage is noticed."""

import errno
import os
import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rnnlab.common.errors import UserError
from rnnlab.common.files import (
    DamagedFileError,
    lacks_room,
    read_sealed,
    room_needed,
    set_aside,
    write_sealed,
    write_whole,
)


@pytest.fixture
def small_files() -> Iterator[None]:
    """No file of this process may grow beyond 64 KiB."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_what_is_sealed_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    for content in (b"", b"one\n", os.urandom(1000)):
        write_sealed(path, content)
        assert read_sealed(path) == content
    assert [item.name for item in path.parent.iterdir()] == ["file"]


def test_every_single_damaged_byte_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_sealed(path, b"weights and curves")
    good = path.read_bytes()
    for position in range(len(good)):
        for damaged in (good[:position], good[:position] + bytes([good[position] ^ 4]) + good[position + 1 :]):
            path.write_bytes(damaged)
            with pytest.raises(DamagedFileError, match="file is damaged"):
                read_sealed(path)


def test_what_is_set_aside_never_replaces_what_was_before(tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / "file").write_text(str(number))
        assert set_aside(tmp_path / "file").name == f"file.damaged-{number}"
    assert (tmp_path / "file.damaged-1").read_text() == "1" and not (tmp_path / "file").exists()


def assert_the_old_file_stays(folder: Path) -> None:
    write_whole(folder / "file", b"old")
    expected = rf"cannot write to {folder}.* MB free.*go on with: the command"
    with pytest.raises(UserError, match=expected), room_needed(folder, "the command"):
        write_whole(folder / "file", b"new" * 1_000_000)
    assert (folder / "file").read_bytes() == b"old"
    assert [item.name for item in folder.iterdir()] == ["file"]


def test_on_a_full_disk_the_old_file_stays(small_disk: Path) -> None:
    assert_the_old_file_stays(small_disk)


def test_beyond_the_largest_file_the_old_one_stays(tmp_path: Path, small_files: None) -> None:
    assert_the_old_file_stays(tmp_path)


def test_other_errors_pass() -> None:
    assert lacks_room(OSError(errno.EDQUOT, "quota")) and not lacks_room(ValueError("no"))
    with pytest.raises(PermissionError), room_needed(Path(), ""):
        raise PermissionError(errno.EACCES, "no")


@pytest.mark.parametrize("limit", ["small_disk", "small_files"])
def test_a_journal_that_finds_no_room_stays_readable(
    tmp_path: Path, request: pytest.FixtureRequest, limit: str
) -> None:
    import optuna

    from rnnlab.sweep.store.journal import open_storage

    folder = request.getfixturevalue(limit) or tmp_path
    study = optuna.create_study(storage=open_storage(folder), study_name="s")
    told = 0
    append: Callable[[], None] = lambda: study.set_user_attr(f"note {told}", "x" * 5000)  # noqa: E731
    with pytest.raises(OSError, match=r"No space|too large") as error:
        while told < 10_000:
            append()
            told += 1
    assert lacks_room(error.value) and told > 3
    for _ in range(2):  # readers, and whoever starts it again
        kept = optuna.load_study(storage=open_storage(folder, repair=True), study_name="s").user_attrs
        assert list(kept) == [f"note {number}" for number in range(told)]
    assert not list(folder.glob("*torn*"))
