"""Which calls a compiled step can take, and where the programs of cells are kept."""

import functools
import hashlib
import json
import os
import threading
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FunctionType
from typing import Any

import torch
from torch import Tensor

from rnnlab import cells
from rnnlab.cells import Cell, States, Weights
from rnnlab.common import torch_private
from rnnlab.scan.compiled.agreement import agrees
from rnnlab.scan.compiled.errors import Inexpressible
from rnnlab.scan.compiled.kernel import Kernel
from rnnlab.scan.compiled.operation import run_kernel
from rnnlab.scan.compiled.step_program import StepProgram, numbers_of
from rnnlab.scan.engines import can_tell, is_plain, is_reached
from rnnlab.scan.native.build import cache_folder, has_compiler
from rnnlab.scan.observer import ScanObserver
from rnnlab.scan.shadow import Shadows

PLAIN = (bool, int, float, str, tuple, type(None))
LEAST_STEPS = 10
"""Fewer are not worth the calls before and after them."""


def supports(cell: Cell, w: Weights, x: Tensor, history: Sequence[States], members: Sequence[Cell] = ()) -> bool:
    """Tell whether `run` can take this call.

    Args:
        cell: any cell.
        w: its weights; where probes listen inside the step only the reference scan will do.
        x: (T, B, I).
        history: the states before the first step.
        members: cells of stacked members, whose tensors have a dimension P before all others.
    """
    given = (x, *w.tensors.values(), *(s for states in history for s in states))
    return (
        not torch.compiler.is_compiling()  # first: a compiler that follows this function need not look further
        and x.numel() > 0
        and w.gates is None
        and w.drawn is None
        and not w.replayed
        and can_tell()
        and is_plain(given)
        and is_reached(given)
        and not (torch_private.is_transforming() and _is_told_apart(cell, w))
        and not _is_too_small(cell, w, x)
        and pays(w, x)  # before something is compiled for it
        and all(kernel(each, tuple(w.tensors), w.training, x.dtype) is not None for each in members or (cell,))
    )


def pays(w: Weights, x: Tensor) -> bool:
    """Tell whether a call has steps enough to earn back what is done once."""
    return x.shape[-3] >= LEAST_STEPS


def run(
    cell: Cell,
    w: Weights,
    x: Tensor,
    history: Sequence[States],
    start: int,
    observers: Sequence[ScanObserver] = (),
    shadows: Shadows | None = None,
    members: Sequence[Cell] = (),
) -> tuple[Tensor, list[States]]:
    """Run a cell that `supports` accepts; see `rnnlab.scan.reference.scan` for the arguments and what is returned.

    Where the cells of stacked members are given, all tensors have a dimension P before all others.
    """
    compiled = kernel(cell, tuple(w.tensors), w.training, x.dtype)
    if compiled is None:
        raise ValueError(f"cells of kind '{cell.kind}' cannot be compiled")
    return run_kernel(members or cell, compiled, w, x, history, start, observers, shadows)


def kernel(cell: Cell, names: tuple[str, ...], training: bool, dtype: torch.dtype) -> Kernel | None:
    """The compiled step of a cell; none, with one warning, where there cannot be one.

    Args:
        cell: any cell; numbers make no difference, nor do sizes once they have been tried.
        names: of the layer's tensors.
        training: whether the layer is being trained.
        dtype: float32 or float64.
    """
    arguments = cell, surroundings(cell), names, training, dtype
    if not torch_private.is_transforming():
        return _kernel(*arguments)  # type: ignore[arg-type]  # frozen: has a hash
    with ThreadPoolExecutor(1) as apart:  # where no map is active that would go over what is tried
        return apart.submit(_kernel, *arguments).result()  # type: ignore[arg-type]


@functools.lru_cache(maxsize=4096)
def _kernel(
    cell: Cell, around: tuple[str, ...], names: tuple[str, ...], training: bool, dtype: torch.dtype
) -> Kernel | None:
    names = tuple(name for name in cell.parameter_shapes(1) if name in names)
    key, own = (type(cell), structure(cell), around, names, training, dtype), _is_own(type(cell))
    with _LOCK:
        if key not in _KERNELS:
            made = _made(cell, names, training, dtype)
            _KERNELS[key] = _tried(made, _ordinary(cell), names, training) if own else made
        found = _KERNELS[key]
    return found if own else _tried(found, cell, names, training)


_KERNELS: dict[Any, Kernel | None] = {}
_LOCK = threading.Lock()


def prepare(cell: Cell, dtype: torch.dtype, say: Callable[[str], object] | None = None) -> None:
    """Compile a cell, so that this counts in no measurement.

    Args:
        cell: any cell.
        dtype: of its weights.
        say: told in one line that something is compiled, which takes some seconds, once a machine.
    """
    names = tuple(cell.parameter_shapes(1))
    path = _path(cell, names, True)
    if say is not None and has_compiler() and not (path and path.exists()):
        say(f"compiling the {cell.kind} cell, once")
    for training in (True, False):
        kernel(cell, names, training, dtype)


def obstacle(cell: Cell) -> str | None:
    """What keeps a cell from being compiled, if anything does."""
    try:
        _program(cell, tuple(cell.parameter_shapes(1)), True)
    except Inexpressible as reason:
        return str(reason)
    return None


def _is_told_apart(cell: Cell, w: Weights) -> bool:
    """Whether a layer has noise or running statistics of its own, which a map over layers has to tell apart."""
    return w.training and not cell.is_repeatable


def _is_too_small(cell: Cell, w: Weights, x: Tensor) -> bool:
    """Whether a single example is left at a step that standardises over the batch: running statistics serve it."""
    return cell.couples_examples and w.training and min([x.shape[-2], *(w.sizes or ())]) < 2


def structure(cell: Cell) -> tuple[tuple[str, Any], ...]:
    """What the code of a cell depends on: all options but sizes, numbers, and those that only say where weights start;
    of zoneout, whether there is some; shapes, which may follow from numbers too, at a size that stands for all."""
    numbers = {name: True for name in numbers_of(cell)} | {"zoneout": cell.zoneout > 0}
    one = cell.resized(12, 6)
    fields = one.model_dump() | numbers
    shapes = {"shapes": one.parameter_shapes(5), "states": one.state_sizes, "gates": one.gates}
    return tuple((name, repr(value)) for name, value in (fields | shapes).items() if name not in cell.starting)


def surroundings(cell: Cell) -> tuple[str, ...]:
    """Plain values that equations of somebody's own read beside fields: globals, attributes of the class."""
    if _is_own(type(cell)):
        return ()
    found = [repr(space.get(name)) for space, name in _read_names(type(cell)) if type(space.get(name)) in PLAIN]
    return *found, repr(cell.__pydantic_private__)


@functools.cache
def _read_names(cell: type[Cell]) -> list[tuple[Any, str]]:
    """Where the methods of a class look names up."""
    names = []
    for owner in cell.__mro__:
        if not issubclass(owner, Cell) or _is_own(owner):
            continue
        names += [(vars(owner), name) for name in vars(owner)]
        for value in vars(owner).values():
            function = value.fget if isinstance(value, property) else value
            if isinstance(function, FunctionType):
                names += [(function.__globals__, name) for name in function.__code__.co_names]
    return names


def _is_own(cell: type) -> bool:
    """Whether a cell is one of the package's."""
    return cell.__module__.startswith(f"{cells.__name__}.")


def _tried(kernel: Kernel | None, cell: Cell, names: tuple[str, ...], training: bool) -> Kernel | None:
    """A kernel, if there is one and a trial of it gives what the reference scan gives."""
    if kernel is None or agrees(kernel, cell, names, training):
        return kernel
    warnings.warn(
        f"'{cell.kind}' cells run on the slower reference scan, because a trial of the compiled step gave other "
        "numbers: it does something that its trace does not show, such as stopping a gradient, a look at a size, or a "
        "projection that reads other steps",
        RuntimeWarning,
        stacklevel=2,
    )
    return None


def _ordinary(cell: Cell) -> Cell:
    """A cell of the same structure with its numbers as they are by default: at absurd ones a trial would only show how
    rounding grows."""
    fields = type(cell).model_fields
    numbers = {name: fields[name].default for name in numbers_of(cell) if isinstance(fields[name].default, float)}
    return cell.model_copy(update=numbers | {"zoneout": 0.1 if cell.zoneout else 0.0})


def _made(cell: Cell, names: tuple[str, ...], training: bool, dtype: torch.dtype) -> Kernel | None:
    try:
        return Kernel(_program(cell, names, training), dtype)
    except Inexpressible as reason:
        why = f"'{cell.kind}' cells run on the slower reference scan, because no compiled step can do this: {reason}"
    except OSError as error:
        why = f"recurrent layers run on the slower reference path: {error}"
    warnings.warn(why, RuntimeWarning, stacklevel=2)
    return None


def _program(cell: Cell, names: tuple[str, ...], training: bool) -> StepProgram:
    """The program of a cell, from the user's cache if it is one of the package's own cells."""
    path = _path(cell, names, training)
    if path is not None:
        try:
            kept = json.loads(path.read_text())
            if "inexpressible" in kept:
                raise Inexpressible(kept["inexpressible"])
            return StepProgram.load(kept["program"])
        except (OSError, ValueError, KeyError, TypeError):
            pass  # not there, or damaged
    from rnnlab.scan.compiled.compiler import compile_step  # imports torch's tracer, which takes a second

    try:
        program = compile_step(cell, names, training)
    except Inexpressible as reason:
        _write(path, {"inexpressible": str(reason)})
        raise
    _write(path, {"program": program.dump()})
    return program


def _path(cell: Cell, names: tuple[str, ...], training: bool) -> Path | None:
    """Where the program of a cell is kept: none for a cell of somebody's own, which may depend on anything."""
    if not _is_own(type(cell)):
        return None
    key = hashlib.sha256(repr((_sources(), torch.__version__, type(cell), structure(cell), names, training)).encode())
    return cache_folder() / f"program-{key.hexdigest()[:16]}.json"


@functools.cache
def _sources() -> str:
    """What programs depend on: the text of all cells and of the compiler."""
    text = hashlib.sha256()
    for folder in (Path(cells.__file__).parent, Path(__file__).parent):
        for file in sorted(folder.glob("*.py")):
            text.update(file.read_bytes())
    return text.hexdigest()


def _write(path: Path | None, content: dict[str, str]) -> None:
    """Keep a program; one that cannot be is made anew by the next process."""
    if path is None:
        return
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        fresh.write_text(json.dumps(content))
        fresh.replace(path)
    except OSError:
        fresh.unlink(missing_ok=True)
