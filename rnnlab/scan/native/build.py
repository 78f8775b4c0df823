"""Compile the kernels on first use, once per machine and user."""

import ctypes
import fcntl
import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
import warnings
from pathlib import Path

import torch

SOURCES = Path(__file__).parent
SPEED = ("-O3", "-fno-math-errno", "-fno-trapping-math", "-fno-tree-loop-distribute-patterns")
FLAGS = ("-std=c++17", *SPEED, "-fopenmp", "-fPIC", "-shared")
INSTRUCTIONS = {
    "AVX512": ("-mavx512f", "-mavx512dq", "-mavx512vl", "-mavx512bw", "-mavx2", "-mfma"),
    "AVX2": ("-mavx2", "-mfma"),
}
"""What the compiler may use, by the name torch gives to what the processor can do; the baseline for any other."""


@functools.cache
def load() -> ctypes.CDLL | None:
    """Load the kernels, compiling them if nobody has on this machine.

    The library is a plain C one, without torch's headers, so that it compiles in seconds. It is kept in the user's
    cache under a name made from its source and how it is compiled. Processes that start together wait for the first.

    Returns:
        The library; none, with one warning, where it cannot be built.
    """
    compiler = next((path for name in _compilers() if (path := shutil.which(name))), None)
    flags = FLAGS + INSTRUCTIONS.get(torch.backends.cpu.get_cpu_capability(), ())
    try:
        if compiler is None:
            raise OSError("no C++ compiler was found")
        return ctypes.CDLL(str(_compiled(compiler, flags)))
    except (OSError, subprocess.CalledProcessError) as error:
        reason = _first_error(error.stderr) if isinstance(error, subprocess.CalledProcessError) else error
        warnings.warn(f"recurrent layers run on the slower reference path: {reason}", RuntimeWarning, stacklevel=2)
        return None


def _first_error(words: str) -> str:
    """The line of a compiler's output that says what is wrong."""
    lines = words.strip().splitlines() or ["the compiler failed without a word"]
    return next((line for line in lines if "error" in line), lines[0])


def has_compiler() -> bool:
    """Whether there is a compiler to try."""
    return any(shutil.which(name) for name in _compilers())


def _compilers() -> list[str]:
    """Names to look for, the user's own choice first."""
    own = os.environ.get("CXX")
    return [own] if own else ["c++", "g++", "clang++"]


def _compiled(compiler: str, flags: tuple[str, ...]) -> Path:
    """Path of the compiled library."""
    key = hashlib.sha256(repr((compiler, flags, torch.__version__)).encode())
    for source in sorted([*SOURCES.glob("*.h"), *SOURCES.glob("*.cpp")]):
        key.update(source.read_bytes())
    folder = cache_folder()
    library = folder / f"kernels-{key.hexdigest()[:16]}.so"
    if library.exists():
        return library
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # let go when the file is closed, by a dying process too
        if not library.exists():
            _compile(compiler, flags, library)
    return library


def _compile(compiler: str, flags: tuple[str, ...], library: Path) -> None:
    """Compile beside the target and rename, so that nobody ever sees half a file."""
    with tempfile.TemporaryDirectory(dir=library.parent) as folder:
        fresh = Path(folder) / library.name
        command = [compiler, *flags, str(SOURCES / "kernels.cpp"), "-o", str(fresh)]
        subprocess.run(command, check=True, capture_output=True, text=True)
        fresh.replace(library)


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
