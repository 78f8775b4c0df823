"""Compile the kernels on first use, once per machine and user."""

import ctypes
import fcntl
import functools
import hashlib
import os
import shlex
import shutil
import subprocess
import tempfile
import warnings
from pathlib import Path
from typing import NamedTuple

import torch

from rnnlab.scan import rows
from rnnlab.scan.native import layout

SOURCES = Path(__file__).parent
SPEED = ("-O3", "-fno-math-errno", "-fno-trapping-math", "-fno-tree-loop-distribute-patterns")
FLAGS = ("-std=c++17", *SPEED, "-fopenmp", "-fPIC", "-shared")
INSTRUCTIONS = {
    "AVX512": ("-mavx512f", "-mavx512dq", "-mavx512vl", "-mavx512bw", "-mavx2", "-mfma"),
    "AVX2": ("-mavx2", "-mfma"),
}
"""What the compiler may use, by the name torch gives to what the processor can do; the baseline for any other."""


class Source(NamedTuple):
    """What is compiled to one library.

    Attributes:
        name: what the name of the library begins with.
        text: of its C++.
        folders: where its headers lie.
    """

    name: str
    text: str
    folders: tuple[Path, ...]


def _kernels() -> Source:
    return Source("kernels", (SOURCES / "kernels.cpp").read_text(), (SOURCES,))


@functools.cache
def load() -> ctypes.CDLL | None:
    """Load the kernels, compiling them if nobody has on this machine.

    The library is a plain C one, without torch's headers, so that it compiles in seconds. It is kept in the user's
    cache under a name made from its source and how it is compiled, with a checksum beside it; from then on no compiler
    is needed. Processes that start together wait for the first.

    Returns:
        The library; none, with one warning, where it cannot be built.
    """
    try:
        library = _loaded(compiled(_kernels()))
    except OSError as error:
        warnings.warn(f"recurrent layers run on the slower reference path: {error}", RuntimeWarning, stacklevel=2)
        return None
    rows.offer(library)
    return library


def compiled(program: Source) -> Path:
    """Path of a library, compiled by now.

    Raises:
        OSError: if it cannot be; it says why.
    """
    try:
        return _compiled(program, os.environ.get("CXX", ""), _flags())
    except subprocess.CalledProcessError as error:
        raise OSError(_first_error(error.stderr)) from error


def _loaded(library: Path) -> ctypes.CDLL:
    """The library, if it reads a call as Python writes it: another would read and write anywhere."""
    found = ctypes.CDLL(str(library))
    if not layout.fits(found):
        raise OSError(f"{library} reads a call in another way than rnnlab/scan/native/layout.py writes it: remove it")
    return found


def is_compiled() -> bool:
    """Whether `load` needs no compiler: somebody has compiled the kernels on this machine."""
    try:
        return _is_whole(_library(_kernels(), os.environ.get("CXX", ""), _flags()))
    except OSError:
        return False


def _flags() -> tuple[str, ...]:
    return FLAGS + INSTRUCTIONS.get(torch.backends.cpu.get_cpu_capability(), ())


def _first_error(words: str) -> str:
    """The line of a compiler's output that says what is wrong."""
    lines = words.strip().splitlines() or ["the compiler failed without a word"]
    return next((line for line in lines if "error" in line), lines[0])


def has_compiler() -> bool:
    """Whether there is a compiler to try."""
    try:
        return bool(_compiler(os.environ.get("CXX", "")))
    except OSError:
        return False


def _compiler(choice: str) -> list[str]:
    """The user's choice, which may bring arguments such as those of `ccache g++`, or what is usual."""
    try:
        command = shlex.split(choice)
    except ValueError as error:
        raise OSError(f"CXX = {choice!r} is no command: {error}") from error
    names = command[:1] or ["c++", "g++", "clang++"]
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        raise OSError("no C++ compiler was found")
    return [found, *command[1:]]


def _library(program: Source, choice: str, flags: tuple[str, ...]) -> Path:
    """Path of a compiled library, whether it is there or not."""
    key = hashlib.sha256(repr((choice, flags, torch.__version__, program.text)).encode())
    for header in sorted(header for folder in program.folders for header in folder.glob("*.h")):
        key.update(header.read_bytes())
    return cache_folder() / f"{program.name}-{key.hexdigest()[:16]}.so"


def _compiled(program: Source, choice: str, flags: tuple[str, ...]) -> Path:
    library = _library(program, choice, flags)
    if _is_whole(library):
        return library
    with open(library.with_name("lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # let go when the file is closed, by a dying process too
        if not _is_whole(library):
            _compile(program, _compiler(choice), flags, library)
    return library


def _is_whole(library: Path) -> bool:
    """Whether a library is there as it was compiled: what is damaged could kill the process that loads it."""
    try:
        return _checksum(library) == _noted(library).read_text()
    except (OSError, UnicodeDecodeError):
        return False


def _checksum(library: Path) -> str:
    return hashlib.sha256(library.read_bytes()).hexdigest()


def _noted(library: Path) -> Path:
    """Where the checksum is kept."""
    return library.with_suffix(".sha256")


def _compile(program: Source, command: list[str], flags: tuple[str, ...], library: Path) -> None:
    """Compile beside the target, which is ours alone by now, and rename, so that nobody ever sees half a file."""
    folder = library.parent / "building"
    shutil.rmtree(folder, ignore_errors=True)  # of a process that was killed
    folder.mkdir()
    fresh, text = folder / library.name, folder / f"{program.name}.cpp"
    text.write_text(program.text)
    try:
        subprocess.run(
            [*command, *flags, *(f"-I{headers}" for headers in program.folders), str(text), "-o", str(fresh)],
            env=os.environ | {"TMPDIR": str(folder)},
            check=True,
            capture_output=True,
            text=True,
        )
        _noted(fresh).write_text(_checksum(fresh))
        for file in (fresh, _noted(fresh)):
            with open(file, "rb+") as written:
                os.fsync(written.fileno())
            file.replace(library.with_name(file.name))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def cache_folder() -> Path:
    """The user's cache, or a private temporary folder where that cannot be written."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rnnlab"
    for folder in (home, Path(tempfile.gettempdir()) / f"rnnlab-{os.getuid()}"):
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK) and folder.stat().st_uid == os.getuid():
            return folder
    raise OSError("no folder to keep the compiled kernels in can be written")
