"""Plug-ins: files and installed packages of the user's whose import registers cells, tasks, probes or remedies."""

import ast
import functools
import sys
import traceback
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from rnnlab.common.errors import UserError
from rnnlab.common.files import digest

GROUP = "rnnlab.plugins"
"""Entry points of this group name modules, which are imported before anything is looked up."""

_files: dict[Path, str] = {}
_sources: dict[str, str] = {}


def import_files(files: Any) -> dict[str, str]:
    """Run Python files for what they register; one that has run in this process is not run again.

    Args:
        files: a list of paths, or by path the SHA-256 that each must have.

    Returns:
        The SHA-256 of each by its path.

    Raises:
        UserError: if one is missing, fails, or is not the one that is asked for.
    """
    if not isinstance(files, list | tuple | dict):
        raise UserError(f"imports = {files!r} is not allowed: give a list of Python files, such as [my_cells.py]")
    found = {str(path): _import(str(path)) for path in files}
    for path, expected in files.items() if isinstance(files, dict) else ():
        if found[path] != expected:
            raise UserError(
                f"{path} has changed since the sweep that imports it was started: put it back as it was, or choose "
                "another name for the sweep"
            )
    return found


def blamed(error: BaseException) -> str | None:
    """An exception out of a plugged-in file, in words that name its line; None where no such file took part."""
    for path in _files:
        if line := _line(error, path):
            return f"{path}{line}: {_said(error)}"
    return None


def plugins() -> dict[str, str]:
    """Everything that was plugged in: the SHA-256 of each file, by its path or by the entry point that names it."""
    return dict(_sources)


def files() -> list[str]:
    """Every file that was imported, for a process that is to know the same."""
    return [str(path) for path in _files]


@functools.cache
def load_installed() -> None:
    """Import the modules that installed packages name as plug-ins.

    Raises:
        UserError: if one cannot be imported.
    """
    for point in entry_points(group=GROUP):
        try:
            module = point.load()
        except UserError:
            raise
        except Exception as error:
            raise UserError(
                f"plug-in '{point.name}' ({point.value}) cannot be imported: {_said(error)}; mend or uninstall it"
            ) from error
        file = getattr(module, "__file__", None)
        _sources[point.value] = digest(Path(file).read_bytes()) if file else "unknown"


def _import(path: str) -> str:
    resolved = Path(path).resolve()
    if resolved not in _files:
        try:
            text = resolved.read_bytes()
        except OSError as error:
            raise UserError(
                f"cannot import {path}: {error.strerror}; name an existing Python file, from {Path.cwd()} on"
            ) from None
        _run(path, resolved, text)
        _files[resolved] = _sources[path] = digest(text)
    return _files[resolved]


def _run(path: str, resolved: Path, text: bytes) -> None:
    """Execute just the bytes whose hash is noted, as a module named by its file."""
    module = ModuleType(str(resolved))
    module.__file__ = str(resolved)
    sys.modules[module.__name__] = module
    try:
        _refuse_twins(path, ast.parse(text, str(resolved)))
        exec(compile(text, str(resolved), "exec"), module.__dict__)
    except BaseException as error:
        del sys.modules[module.__name__]
        if isinstance(error, UserError | KeyboardInterrupt):
            raise
        raise UserError(f"cannot import {path}{_line(error, resolved)}: {_said(error)}; mend it first") from error


def _refuse_twins(path: str, module: ast.Module) -> None:
    """Refuse a class that stands twice in a file, where the second would take the place of the first unnoticed."""
    lines: dict[str, int] = {}
    for node in module.body:
        if not isinstance(node, ast.ClassDef):
            continue
        first = lines.setdefault(node.name, node.lineno)
        if first != node.lineno:
            raise UserError(
                f"cannot import {path}: class {node.name} stands on line {first} and again on line {node.lineno}; drop "
                "one, or give it another name"
            )


def _line(error: BaseException, path: Path) -> str:
    """The last line of the file that took part in an error."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    if isinstance(error, SyntaxError) and error.filename == str(path):
        lines = [error.lineno]
    return f", line {lines[-1]}" if lines else ""


def _said(error: BaseException) -> str:
    said = error.msg if isinstance(error, SyntaxError) else " ".join(str(error).split())
    return f"{type(error).__name__}: {said}"
