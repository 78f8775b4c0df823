"""What is compiled, what is refused in a sentence, and where programs are kept."""

import functools
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import numpy as np
import odd_cells
import pytest
import torch
from compiled_calls import Both, draw, layer
from odd_cells import REFUSED, Bounded, ByGlobal, ByOwnGates, HandedOn, LeakyCell

import rnnlab
from rnnlab.cells import CELLS, make_cell
from rnnlab.scan import compiled
from rnnlab.scan.compiled import compiler, library, support
from rnnlab.scan.compiled.step_program import numbers_of
from rnnlab.scan.native import build
from rnnlab.scan.native.build import has_compiler

needs_compiler = pytest.mark.skipif(not has_compiler(), reason="needs a C++ compiler")


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """As on a machine where nobody has compiled anything."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    caches = (support._kernel, library.scan_library, library.step_library)
    kept = dict(support._KERNELS)
    for cache in caches:
        cache.cache_clear()
    support._KERNELS.clear()
    yield tmp_path / "rnnlab"
    for cache in caches:
        cache.cache_clear()
    support._KERNELS.clear()
    support._KERNELS.update(kept)


@needs_compiler
def test_a_cell_of_ones_own_is_compiled_with_no_further_line():
    for cell in (LeakyCell, Bounded):
        Both(layer(cell(hidden_size=9)), draw(12, 5, 3)).check()


@needs_compiler
@pytest.mark.parametrize("cell", REFUSED)
def test_what_cannot_be_compiled_goes_to_the_reference_with_one_notice(cell):
    net, x = layer(cell(hidden_size=9)), draw(12, 5, 3)
    with pytest.warns(RuntimeWarning, match=f"'leaky' cells run on the slower reference scan.*{REFUSED[cell]}"):
        assert not compiled.supports(net.cell, net.weights(), x, [net.cell.initial_states(5, x)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net(x)[0].sum().backward()


@pytest.mark.parametrize("kind", CELLS)
def test_cells_of_one_program_have_the_same_numbers(kind):
    """Also where one leaves a number out and the other has one."""
    plain = make_cell(kind, hidden_size=8)
    free = [name for name, field in type(plain).model_fields.items() if type(None) in get_args(field.annotation)]
    others = [plain.model_copy(update={name: value}) for name in free for value in (None, 0.5)]
    for other in others:
        if support.structure(other) == support.structure(plain):
            assert list(numbers_of(other)) == list(numbers_of(plain))


@needs_compiler
@pytest.mark.parametrize("options", [{"peepholes": True}, {"norm": "layer"}, {"proj_size": 3}], ids=str)
def test_where_weights_start_is_no_number_of_a_step(options):
    for bias in (None, 1.0, None):
        Both(layer("lstm", **options, forget_bias=bias), draw(12, 5, 3)).check()


@needs_compiler
def test_numbers_that_set_shapes_are_structure():
    for leak in (0.5, 0.0, 0.2):
        Both(layer(ByOwnGates(hidden_size=9, leak=leak)), draw(12, 5, 3)).check()


@needs_compiler
def test_globals_that_a_step_reads_are_read_again(monkeypatch):
    for gain in (1.0, 0.2):
        monkeypatch.setattr(odd_cells, "GAIN", gain)
        Both(layer(ByGlobal(hidden_size=9)), draw(12, 5, 3)).check()


@needs_compiler
@pytest.mark.parametrize("by_reference", [False, True])
def test_a_state_that_is_handed_on_has_a_gradient_of_its_own(by_reference, monkeypatch):
    """Against a loop in which it is another tensor at every step."""
    net, x, made = layer(HandedOn(hidden_size=9)), draw(12, 2, 3), []
    w, (h, c) = net.weights(), net.cell.initial_states(2, x)
    for k in range(12):
        h, c = net.cell.step(w, net.cell.project(w, x)[k], (h, c), k)
        c = c * 1.0
        c.retain_grad() if k else None
        made.append((h, c))
    torch.stack([0.1 * k * h.sum() for k, (h, _) in enumerate(made)]).sum().backward()
    expected = [c.grad.norm(dim=-1).log10().mean().item() for _, c in made[1:-1]]
    if by_reference:
        monkeypatch.setattr(compiled, "supports", lambda *_: False)
    with rnnlab.record(net) as log:
        (net(x)[0] * torch.arange(12).view(-1, 1, 1) * 0.1).sum().backward()
    found = log.dataset()["log10_grad_norm"].sel(state="c").squeeze().values
    np.testing.assert_allclose(found[1:-1], expected, atol=1e-9)
    assert found[-1] == -np.inf


@needs_compiler
def test_numbers_are_arguments_and_structure_is_not():
    names = tuple(make_cell("lem").parameter_shapes(3))

    def of(**options: object) -> object:
        return support.kernel(make_cell("lem", **options), names, True, torch.float64)

    assert of(dt=0.1) is of(dt=0.7, hidden_size=5) is not None
    assert of(zoneout=0.1) is of(zoneout=0.2) is not of()


@needs_compiler
def test_which_cell_came_first_makes_no_difference(fresh):
    """A trial at absurd numbers shows nothing but how rounding grows."""
    names = tuple(make_cell("cornn").parameter_shapes(3))
    first = support.kernel(make_cell("cornn", dt=1e6), names, True, torch.float32)
    assert first is not None and support.kernel(make_cell("cornn"), names, True, torch.float32) is first


def test_complex_numbers_are_named():
    cell = make_cell("unitary", hidden_size=4)
    support._kernel.cache_clear()
    support._KERNELS.clear()
    with pytest.warns(RuntimeWarning, match="'unitary' cells run on the slower reference scan.*complex numbers"):
        assert support.kernel(cell, tuple(cell.parameter_shapes(3)), True, torch.float32) is None


@needs_compiler
def test_probes_traces_and_single_examples_of_batch_norm_get_the_reference():
    net, x = layer("lem"), draw(12, 5, 3)
    history = [net.cell.initial_states(5, x)]
    assert compiled.supports(net.cell, net.weights(), x, history)
    w = net.weights()
    w.gates = {}
    assert not compiled.supports(net.cell, w, x, history)
    normal = layer("lstm", norm="batch")
    assert not compiled.supports(normal.cell, normal.weights(), x[:, :1], [normal.cell.initial_states(1, x)])
    w = normal.weights()
    w.sizes = [5] * 11 + [1]
    assert not compiled.supports(normal.cell, w, x, [normal.cell.initial_states(5, x)])
    with rnnlab.trace(net) as tape:
        net(x)[0].sum().backward()
    assert tape is not None


@needs_compiler
def test_programs_are_kept_and_damaged_ones_made_anew(fresh, monkeypatch):
    """What is made is remembered here, so that the step is traced once; that it was asked for shows in the file."""
    monkeypatch.setattr(compiler, "compile_step", functools.cache(compiler.compile_step))
    cell = make_cell("mgu", hidden_size=7)
    names = tuple(cell.parameter_shapes(3))
    made = support._program(cell, names, True)
    [path] = fresh.glob("program-*.json")
    text = path.read_text()
    assert support._program(cell, names, True) == made and path.read_text() == text
    for damage in ("", text[:100], "[]", "{}", '{"program": "{}"}'):
        path.write_text(damage)
        assert support._program(cell, names, True) == made and path.read_text() == text


def test_without_a_compiler_the_reference_serves_and_says_so_once(fresh, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    net, x = layer("mgu"), draw(12, 5, 3)
    with pytest.warns(RuntimeWarning, match="reference path: no C\\+\\+ compiler"):
        assert not compiled.supports(net.cell, net.weights(), x, [net.cell.initial_states(5, x)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.isfinite(net(x)[0]).all()


@needs_compiler
def test_a_library_that_reads_calls_in_another_way_is_never_called(fresh, monkeypatch, tmp_path):
    """Compiled from the real header, and of the rest only what tells of a call, with another number."""
    code = '#include "calls.h"\nextern "C" {\nint64_t layout_number() { return 1000; }\n'
    (tmp_path / "steps.cpp").write_text(code + "int64_t call_size() { return sizeof(CompiledCall); }\n}\n")
    monkeypatch.setattr(library, "FOLDERS", (library.HERE,))
    monkeypatch.setattr(library, "HERE", tmp_path)
    monkeypatch.setattr(build, "FLAGS", ("-std=c++17", "-O0", "-fPIC", "-shared"))
    with pytest.raises(OSError, match=r"steps-\w+.so reads a call in another way"):
        library.scan_library()
