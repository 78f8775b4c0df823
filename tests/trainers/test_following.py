"""The libraries of trainers and trackers are only there for whoever has them."""

import importlib
import sys

import pytest

from rnnlab.common.errors import UserError
from rnnlab.trainers.following import Following


@pytest.mark.parametrize(
    ("module", "missing", "sentence"),
    [
        (
            "lightning",
            ("lightning", "lightning.pytorch", "pytorch_lightning"),
            "needs Lightning, .* pip install lightning",
        ),
        ("huggingface", ("transformers",), "needs transformers, .* pip install transformers accelerate"),
    ],
)
def test_without_its_library_a_callback_says_what_to_install(module, missing, sentence, monkeypatch):
    for name in missing:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, f"rnnlab.trainers.{module}", raising=False)
    with pytest.raises(ModuleNotFoundError, match=sentence) as caught:
        importlib.import_module(f"rnnlab.trainers.{module}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("every", [0, 1.5, True])
def test_every_is_a_number_of_updates(every):
    with pytest.raises(UserError, match=f"every = {every} must be a whole number of updates"):
        Following(every)


@pytest.mark.parametrize("scale", ["a", None, 0.0, float("nan")])
def test_a_scale_that_is_no_positive_number_is_refused_where_it_is_given(scale):
    with pytest.raises(UserError, match=f"loss_reduction_scale = {scale!r} multiplies gradients: give a positive"):
        Following(loss_reduction_scale=scale)


def test_a_folder_that_is_no_path_is_refused_where_it_is_given():
    with pytest.raises(UserError, match="folder is of type int: give one of type str or Path or None"):
        Following(folder=3)  # type: ignore[arg-type]
