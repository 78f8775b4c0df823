"""The kernels are compiled once, and without a compiler nothing breaks; memory is used again and never too early."""

import gc
import os
import re
import shutil
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from forked import Forked
from native_calls import run, supports

from rnnlab.cells import Weights, make_cell
from rnnlab.scan.native import build
from rnnlab.scan.native.buffers import SLACK, BufferPool


@pytest.fixture
def fresh_load(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """As on a machine where nobody has compiled anything."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    build.load.cache_clear()
    yield tmp_path / "rnnlab"
    build.load.cache_clear()


def test_without_a_compiler_the_reference_serves_and_says_so_once(fresh_load, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.warns(RuntimeWarning, match="reference path: no C\\+\\+ compiler"):
        assert build.load() is None
    cell = make_cell("gru", hidden_size=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not supports(cell, Weights({}, True), torch.zeros(1, 1, 1), (torch.zeros(1, 2),))


def test_a_compiler_that_fails_is_reported_with_its_words(fresh_load, monkeypatch, tmp_path):
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho 'out of patience' >&2\nexit 1\n")
    broken.chmod(0o700)
    monkeypatch.setenv("CXX", str(broken))
    with pytest.warns(RuntimeWarning, match="out of patience"):
        assert build.load() is None
    assert [p.name for p in fresh_load.iterdir()] == ["lock"]


@pytest.mark.skipif(not build.has_compiler(), reason="needs a C++ compiler")
def test_what_is_here_compiles():
    assert build.load() is not None


PROGRAM = build.Source("kernels", "", ())


@pytest.fixture
def compiles(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """What would have been compiled, in order; a name takes the place of the library."""
    found = []

    def compile_slowly(program: build.Source, command: list[str], flags: tuple[str, ...], library: Path) -> None:
        found.append(library)
        time.sleep(0.05)
        library.write_text(library.name)
        build._noted(library).write_text(build._checksum(library))

    monkeypatch.setattr(build, "_compile", compile_slowly)
    monkeypatch.setattr(build, "_compiler", lambda choice: [choice])
    return found


def test_those_who_start_together_compile_once(fresh_load, compiles):
    found = []
    threads = [threading.Thread(target=lambda: found.append(build._compiled(PROGRAM, "c++", ()))) for _ in range(5)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(compiles) == 1 and found == compiles * 5


def test_another_compiler_or_other_flags_make_another_library(fresh_load, compiles):
    keys = {build._compiled(PROGRAM, *way) for way in [("c++", ()), ("g++", ()), ("c++", ("-mavx2",)), ("c++", ())]}
    assert len(keys) == len(compiles) == 3


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "truncated": lambda content: content[: len(content) // 2],
    "flipped": lambda content: content[:-1] + bytes([content[-1] ^ 1]),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_library_is_compiled_anew(fresh_load, compiles, damage):
    library = build._compiled(PROGRAM, "c++", ())
    content = library.read_bytes()
    for file in (library, build._noted(library)):
        file.write_bytes(DAMAGES[damage](file.read_bytes()))
        assert build._compiled(PROGRAM, "c++", ()).read_bytes() == content
    assert len(compiles) == 3
    build._noted(library).unlink()
    build._compiled(PROGRAM, "c++", ())
    build._compiled(PROGRAM, "c++", ())
    assert len(compiles) == 4


@pytest.fixture
def small_source(fresh_load: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The real headers, and of the rest only what tells of a call: compiled in a second. The folder it lies in."""
    exports = re.findall(r"^int64_t (?:layout_number|call_size).*", (build.SOURCES / "kernels.cpp").read_text(), re.M)
    for header in build.SOURCES.glob("*.h"):
        shutil.copy(header, tmp_path)
    (tmp_path / "kernels.cpp").write_text("\n".join(['#include "layout.h"', 'extern "C" {', *exports, "}"]))
    monkeypatch.setattr(build, "SOURCES", tmp_path)
    monkeypatch.setattr(build, "FLAGS", ("-std=c++17", "-O0", "-fPIC", "-shared"))
    return tmp_path


@pytest.mark.skipif(not build.has_compiler(), reason="needs a C++ compiler")
def test_what_was_compiled_serves_without_a_compiler_and_leaves_nothing_behind(fresh_load, small_source, monkeypatch):
    (fresh_load / "building").mkdir(parents=True)
    (fresh_load / "building" / "half.so").touch()  # of a process that was killed
    monkeypatch.delenv("CXX", raising=False)
    assert build.load() is not None
    left = sorted(p.suffix or p.name for p in fresh_load.iterdir())
    assert left == [".sha256", ".so", "lock"]
    build.load.cache_clear()
    monkeypatch.setenv("PATH", "/nowhere")
    assert not build.has_compiler() and build.load() is not None


LAYOUTS = {
    "a field more": ("const double* alpha;", "const double *alpha, *beta;"),
    "another number": ("LAYOUT_NUMBER = ", "LAYOUT_NUMBER = 1000 + "),
}


@pytest.mark.skipif(not build.has_compiler(), reason="needs a C++ compiler")
@pytest.mark.parametrize("kind", LAYOUTS)
def test_a_library_that_reads_calls_in_another_way_is_never_called(small_source, kind):
    """Compiled as in the test above, which loads it, but for the header."""
    header = (small_source / "layout.h").read_text()
    assert LAYOUTS[kind][0] in header
    (small_source / "layout.h").write_text(header.replace(*LAYOUTS[kind], 1))
    with pytest.warns(RuntimeWarning, match=r"reference path: .*kernels-\w+.so reads a call in another way"):
        assert build.load() is None


@pytest.mark.skipif(not build.has_compiler(), reason="needs a C++ compiler")
def test_a_compiler_may_come_with_arguments(monkeypatch):
    [path] = build._compiler("")
    assert build._compiler("env c++ -m64")[1:] == ["c++", "-m64"]
    assert build._compiler(f"{path} -m64") == [path, "-m64"]
    monkeypatch.setenv("CXX", "env 'c++")
    assert not build.has_compiler()


def test_a_cache_that_cannot_be_written_is_replaced_by_a_temporary_one(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(build.tempfile, "gettempdir", lambda: str(tmp_path))
    assert build.cache_folder() == tmp_path / f"rnnlab-{os.getuid()}"


def sums() -> list[float]:
    """Of what a scan and its way back yield."""
    cell, generator = make_cell("lstm", hidden_size=21), np.random.default_rng(0)
    shapes = cell.parameter_shapes(3)
    weights = {n: torch.from_numpy(generator.standard_normal(s) / 4).requires_grad_() for n, s in shapes.items()}
    y, _ = run(cell, Weights(weights, True), torch.ones(5, 7, 3).double(), (torch.zeros(7, 21).double(),) * 2)
    y.sum().backward()
    gradients = [w.grad for w in weights.values() if w.grad is not None]
    return [float(y.detach().sum()), *(float(g.square().sum()) for g in gradients)]


def sums_by(instructions: str, file: str) -> int:
    """The same in a process whose torch names another instruction set, by kernels compiled quickly."""
    torch.backends.cpu.get_cpu_capability = lambda: instructions
    build.FLAGS = ("-std=c++17", "-O0", "-fopenmp", "-fPIC", "-shared")
    build.load.cache_clear()
    library = build.load()
    assert library is not None and library._name == str(build.compiled(build._kernels()))
    np.save(file, sums())
    return 0


@pytest.mark.slow
@pytest.mark.skipif(build.load() is None, reason="needs a C++ compiler")
def test_every_instruction_set_gives_the_same_result(tmp_path):
    """The best that this processor has, here; each lower one in a process of its own."""
    sets, expected = ("DEFAULT", "AVX2", "AVX512"), sums()
    for instructions in sets[: sets.index(torch.backends.cpu.get_cpu_capability())]:
        file, said = tmp_path / f"{instructions}.npy", tmp_path / f"{instructions}.txt"
        assert Forked(sums_by, instructions, str(file), output=said).wait(120) == 0, said.read_text()
        np.testing.assert_allclose(np.load(file), expected, rtol=1e-10)


def test_memory_comes_back_when_nothing_refers_to_it():
    pool = BufferPool()
    t = pool.empty(100, 1000, dtype=torch.float64)
    address, view = t.data_ptr(), t[5:7].numpy()
    del t
    other = pool.empty(100, 1000, dtype=torch.float64)
    assert other.data_ptr() != address  # `view` still looks at it
    del view
    gc.collect()
    assert pool.empty(100, 1000, dtype=torch.float64).data_ptr() == address


def test_a_graph_keeps_its_memory_and_gives_it_back_after_backward():
    pool = BufferPool()
    a = torch.ones(200, 200, requires_grad=True)
    b = pool.empty(200, 200, dtype=torch.float32).fill_(3.0)
    product = a * b
    address = b.data_ptr()
    del b
    assert pool.held() == 0
    product.sum().backward(retain_graph=True)
    assert pool.held() == 0 and a.grad is not None and a.grad.eq(3.0).all()
    product.sum().backward()  # `product` and its graph live on, what was saved in it does not
    assert pool.held() >= 160_000
    assert pool.empty(200, 200, dtype=torch.float32).data_ptr() == address


def test_the_pool_does_not_hoard():
    pool = BufferPool()
    for n in range(20, 60):
        t = pool.empty(n, 10_000, dtype=torch.float32)
        del t
        assert pool.held() <= SLACK * n * 40_100
    pool.clear()
    assert pool.held() == 0


def test_memory_is_aligned_and_can_be_changed_in_place():
    pool = BufferPool()
    t = pool.empty(30, 1001, dtype=torch.float32).zero_()
    w = torch.ones(1001, requires_grad=True)
    t += w  # autograd refuses this on a view that was made behind its back
    t.sum().backward()
    assert w.grad is not None and w.grad.eq(30).all()
    assert t.data_ptr() % 64 == 0 and t.is_contiguous()


@pytest.mark.skipif(build.load() is None, reason="needs a C++ compiler")
def test_outputs_that_are_kept_stay_as_they_are():
    cell = make_cell("vanilla", hidden_size=64)
    weights = {n: torch.full(s, 0.01, requires_grad=True) for n, s in cell.parameter_shapes(1).items()}
    kept = []
    for step in range(4):  # (100, 20, 64) floats come from the pool
        y, _ = run(cell, Weights(weights, True), torch.full((100, 20, 1), float(step)), (torch.zeros(20, 64),))
        kept.append((y.detach(), y.detach().clone()))
        y.sum().backward()
    assert all(torch.equal(y, copy) for y, copy in kept)
