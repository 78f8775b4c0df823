"""Where a private name of torch is gone, layers run as before, only slower, and what cannot do without says so."""

import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import rnnlab
from rnnlab.common import torch_private
from rnnlab.common.errors import UserError
from rnnlab.scan import engines
from rnnlab.scan.native.build import has_compiler


@pytest.fixture(autouse=True)
def ask_anew_afterwards() -> Iterator[None]:
    yield
    torch_private.missing_for_kernels.cache_clear()
    engines.can_tell.cache_clear()


class Without:
    """A module as it is, but for one name in it or below."""

    def __init__(self, whole: object, name: str) -> None:
        self._whole, (self._first, _, self._rest) = whole, name.partition(".")

    def __getattr__(self, name: str) -> object:
        if name == self._first and not self._rest:
            raise AttributeError(name)
        found = getattr(self._whole, name)
        return Without(found, self._rest) if name == self._first else found


def gradients(layer: torch.nn.Module) -> list[torch.Tensor]:
    x = torch.ones(8, 3, 2, requires_grad=True)
    return list(torch.autograd.grad(layer(x)[0].sum(), [x, *layer.parameters()]))


def test_no_other_file_uses_private_names():
    attributes = "_is_zerotensor|_version|_backward_hooks|_overloadname"
    private = re.compile(rf"torch(\.\w+)*\._(?!_version__)\w|from torch\S* import _|\.({attributes})\b|\b_VF\b")
    files = Path(rnnlab.__file__).parent.rglob("*.py")
    assert [file.stem for file in files if private.search(file.read_text())] == ["torch_private"]


def test_this_torch_has_them_all():
    assert torch_private.missing_for_kernels() is None
    torch_private.check_end_of_backward()


@pytest.mark.skipif(not has_compiler(), reason="needs a C++ compiler")
@pytest.mark.parametrize("name", ["_C._functorch", *torch_private.KERNEL_NAMES])
def test_without_a_name_the_reference_serves_and_says_so_once(monkeypatch, name):
    layer = rnnlab.LSTM(2, 4)
    expected = gradients(layer)
    with monkeypatch.context() as gone:
        gone.setattr(torch_private, "torch", Without(torch, name))
        torch_private.missing_for_kernels.cache_clear()
        engines.can_tell.cache_clear()
        with pytest.warns(RuntimeWarning, match=f"reference path: torch .* has no torch.{name}"):
            found = gradients(layer)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with rnnlab.record(layer) as log:
                layer(torch.ones(8, 3, 2))[0].sum().backward()
    torch.testing.assert_close(found, expected)
    assert log.dataset()["log10_grad_norm"].notnull().all()


def test_recording_needs_to_know_where_a_backward_pass_ends(monkeypatch):
    monkeypatch.setattr(torch_private, "torch", Without(torch, torch_private.END_OF_BACKWARD))
    with (
        pytest.raises(UserError, match=f"has no torch.{torch_private.END_OF_BACKWARD}"),
        rnnlab.record(rnnlab.GRU(2, 4)),
    ):
        pass
