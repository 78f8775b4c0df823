"""Looks whether this machine has what rnnlab needs, and says how to mend what it has not.

Every check imports what it looks at by itself, so that a package that is missing or broken is a finding.
"""

import os
import platform
import shutil
import sys
import tempfile
import textwrap
import warnings
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from rnnlab.commands import packages
from rnnlab.common.errors import UserError
from rnnlab.common.machine import usable_cores

if TYPE_CHECKING:
    from rich.console import Console

    from rnnlab.tasks.data import DataFile

Level = Literal["ok", "warning", "problem"]
STYLES: dict[Level, str] = {"ok": "green", "warning": "yellow", "problem": "bold red"}

SCARCE, TOO_LITTLE = 2.0, 0.2
"""GB of free disk below which there is a warning, and a problem: a sweep of a hundred runs takes about 0.1."""
CONSTRAINTS = Path(__file__).resolve().parents[2] / "constraints.txt"
"""The versions that rnnlab was tested with, where it lies beside the package, as in a checkout."""
NAMED = 4
"""Most packages named in one line."""


class Diagnosis(NamedTuple):
    """What one check found.

    Attributes:
        level: whether it matters.
        subject: what was looked at.
        text: what was found, and for anything but ok how to mend it.
    """

    level: Level
    subject: str
    text: str


def examine() -> Iterator[Diagnosis]:
    """Run every check, each as it is asked for; one that breaks is a problem of its own."""
    software = (_python, _packages, _versions, _kernels, _engines)
    for check in (*software, _cores, _together, _gpu, _mnist, _text, _storage, _tracking, _database):
        try:
            yield check()
        except Exception as error:  # a doctor does not faint
            mend = "install rnnlab anew, from a checkout with `pip install -e .`"
            yield Diagnosis("problem", check.__name__[1:], f"{type(error).__name__}: {error}; {mend}")


def print_findings(console: "Console") -> list[Diagnosis]:
    """Print a line for each check, as it is done."""
    from rich.text import Text

    findings = []
    for finding in examine():
        head = f"{finding.level:<9}{finding.subject:<10}"
        width = console.width if console.is_terminal else len(head) + len(finding.text) + 1
        text = Text(
            textwrap.fill(
                head + finding.text,
                width,
                subsequent_indent=" " * len(head),
                break_on_hyphens=False,
                break_long_words=False,
            )
        )
        text.stylize(STYLES[finding.level], 0, len(finding.level))
        console.print(text, soft_wrap=True)
        findings.append(finding)
    return findings


def fit(findings: list[Diagnosis]) -> bool:
    """Whether rnnlab can work: no finding is a problem."""
    return all(finding.level != "problem" for finding in findings)


def _python() -> Diagnosis:
    from packaging.specifiers import SpecifierSet

    wanted, found = metadata.metadata("rnnlab")["Requires-Python"], platform.python_version()
    if not SpecifierSet(wanted).contains(found, prereleases=True):
        return Diagnosis("problem", "python", f"{found} where {wanted} is needed: install rnnlab with another Python")
    return Diagnosis("ok", "python", f"{found} in {sys.prefix}")


def _packages() -> Diagnosis:
    """What rnnlab imports, against the ranges it declares."""
    needed = packages.needed()
    wrong = [requirement for requirement in needed if not packages.fits(requirement)]
    if not wrong:
        return Diagnosis(
            "ok", "packages", f"rnnlab {metadata.version('rnnlab')} and the {len(needed)} packages it needs"
        )
    named = [f"{requirement} (found {packages.installed(requirement.name) or 'none'})" for requirement in wrong]
    mend = f"pip install {' '.join(repr(str(requirement)) for requirement in wrong)}"
    return Diagnosis("problem", "packages", f"{_listed(named)}: {mend}")


def _versions() -> Diagnosis:
    """What is installed, against the versions that rnnlab was tested with."""
    if not CONSTRAINTS.is_file():
        return Diagnosis("ok", "versions", "no constraints.txt beside the package, so any that fit are as good")
    pins = dict(line.split("==") for line in CONSTRAINTS.read_text().split() if "==" in line)
    found = {name: packages.installed(name) for name in pins}
    # A local part such as +cpu says how a package was built, not which it is.
    other = [f"{n} {have} (tested {pins[n]})" for n, have in found.items() if have and have.split("+")[0] != pins[n]]
    if other:
        mend = f"for the same results, pip install --constraint {CONSTRAINTS} rnnlab"
        return Diagnosis("warning", "versions", f"{_listed(other)}: {mend}")
    return Diagnosis(
        "ok", "versions", f"the {sum(map(bool, found.values()))} installed are those of {CONSTRAINTS.name}"
    )


def _kernels() -> Diagnosis:
    from rnnlab.scan.native.build import load

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        library = load()
    if library is not None:
        return Diagnosis("ok", "kernels", f"compiled, in {Path(library._name).parent}")
    reason = " ".join(str(caught[-1].message).split())[:300] if caught else "recurrent layers run on the slower path"
    return Diagnosis(
        "warning", "kernels", f"{reason}; install a C++ compiler with OpenMP, such as g++, or name it in CXX"
    )


def _engines() -> Diagnosis:
    """Which cell runs how, as far as this machine has a compiler."""
    from rnnlab.cells import CELLS, make_cell
    from rnnlab.scan import compiled, native

    kinds: dict[str, list[str]] = {"by hand": [], "compiled": [], "step by step": []}
    for kind in CELLS:
        cell = make_cell(kind)
        obstacle = None if native.serves(cell) else compiled.obstacle(cell)
        how = "by hand" if native.serves(cell) else "compiled" if obstacle is None else "step by step"
        kinds[how].append(f"{kind} ({obstacle})" if obstacle else kind)
    return Diagnosis("ok", "cells", "; ".join(f"{how}: {', '.join(names)}" for how, names in kinds.items() if names))


def _cores() -> Diagnosis:
    import torch

    cores = usable_cores()
    text = f"{cores} usable, {torch.backends.cpu.get_cpu_capability()}; a sweep of {cores} workers fills them"
    flushes = torch.set_flush_denormal(True)
    torch.set_flush_denormal(False)
    if not flushes:
        return Diagnosis(
            "warning", "cores", f"{text}; they cannot flush denormals, so vanishing gradients train slowly"
        )
    return Diagnosis("ok", "cores", text)


def _together() -> Diagnosis:
    from rnnlab.commands.together import describe

    with warnings.catch_warnings():  # a compiler that is missing has a line of its own
        warnings.simplefilter("ignore")
        return Diagnosis("ok", "together", describe())


def _gpu() -> Diagnosis:
    import torch

    if torch.cuda.is_available():
        from rnnlab.commands.gpus import describe

        try:
            found = [describe(number) for number in range(torch.cuda.device_count())]
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:300]
            return Diagnosis("warning", "gpu", f"there is one, and a layer fails on it: {reason}; set device to cpu")
        return Diagnosis("ok", "gpu", f"{'; '.join(found)}; experiments use the CPU unless device says otherwise")
    if shutil.which("nvidia-smi"):
        text = f"there seems to be one, but torch {torch.__version__} cannot use it"
        return Diagnosis(
            "warning", "gpu", f"{text}: if you want it, install the CUDA build of torch that fits its driver"
        )
    return Diagnosis("ok", "gpu", "none; experiments and sweeps use the CPU")


def _mnist() -> Diagnosis:
    from rnnlab.tasks.data import DataFile
    from rnnlab.tasks.mnist import MIRRORS, SHA256

    return _data("mnist", [DataFile("mnist", name, sha256, MIRRORS) for name, sha256 in SHA256.items()])


def _text() -> Diagnosis:
    from rnnlab.tasks.text import SHAKESPEARE

    return _data("text", [SHAKESPEARE])


def _storage() -> Diagnosis:
    """Where runs and journals go: whether files can be written and locked there, and how much room is left."""
    from rnnlab.common.locks import FileLock

    runs = Path("runs").absolute()
    home = next(folder for folder in (runs, *runs.parents) if folder.exists())
    try:
        with tempfile.TemporaryDirectory(dir=home, prefix=".doctor-") as folder:
            first, second = (FileLock(Path(folder, "lock")) for _ in range(2))
            first.acquire()
            excluded = not second.acquire(wait=False)
            for lock in (first, second):
                lock.release()
    except OSError as error:
        text = f"cannot write or lock files in {home}: {error.strerror}; start from a folder on a disk where you can"
        return Diagnosis("problem", "storage", text)
    if not excluded:
        text = f"file locks do nothing in {home}, and two workers could take one trial: work on a local disk"
        return Diagnosis("problem", "storage", text)
    free = shutil.disk_usage(home).free / 1e9
    text = f"{runs} can be written and locked, {free:.1f} GB free"
    level: Level = "ok" if free >= SCARCE else "warning" if free >= TOO_LITTLE else "problem"
    return Diagnosis(level, "storage", text if level == "ok" else f"{text}: make room, or work on another disk")


def _tracking() -> Diagnosis:
    from rnnlab.tracking.store import SQLITE, connect, shown, tracking_uri

    uri = tracking_uri()
    if uri.startswith(SQLITE) and not Path(uri.removeprefix(SQLITE)).exists():
        return Diagnosis("ok", "tracking", f"no runs yet: the first makes {uri.removeprefix(SQLITE)}")
    try:
        connect(uri)
    except UserError as error:
        return Diagnosis("problem", "tracking", str(error))
    return Diagnosis("ok", "tracking", f"{shown(uri)} answers")


def _database() -> Diagnosis:
    """The database in which sweeps on several machines keep their state."""
    from rnnlab.sweep.store.database_url import STORAGE_VARIABLE, describe

    url = os.environ.get(STORAGE_VARIABLE)
    if not url:
        return Diagnosis("ok", "database", f"none named in {STORAGE_VARIABLE}: sweeps keep a journal in their folder")
    try:
        return Diagnosis("ok", "database", describe(url))
    except UserError as error:
        return Diagnosis("problem", "database", str(error))


def _data(subject: str, files: "list[DataFile]") -> Diagnosis:
    """Verify the files of a data set that are here; those that are not are never downloaded by looking."""
    from rnnlab.tasks.data import places, read

    folders = places(files[0].dataset)
    missing = [file for file in files if not any((folder / file.name).is_file() for folder in folders)]
    try:
        for file in files:
            if file not in missing:
                read(file)
    except UserError as error:
        return Diagnosis("problem", subject, str(error))
    if missing:
        text = f"{_listed([file.name for file in missing])} not in {_listed(list(map(str, folders)))}"
        mend = "the first run that needs them downloads them, or name a folder that holds them in RNNLAB_DATA"
        return Diagnosis("warning", subject, f"{text}: {mend}")
    return Diagnosis(
        "ok", subject, f"{len(files)} file{'s' * (len(files) > 1)} of {files[0].dataset} with the right SHA-256"
    )


def _listed(names: list[str]) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
