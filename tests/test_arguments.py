"""A wrong argument of a public name is one sentence that names it, never a traceback of somebody else's."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

import rnnlab
from rnnlab.common.errors import UserError


def recorded(**options: Any) -> None:
    with rnnlab.record(nn.Sequential(rnnlab.GRU(2, 3)), **options):
        pass


def traced(model: Any) -> None:
    with rnnlab.trace(model):
        pass


def profile() -> xr.Dataset:
    net = rnnlab.GRU(2, 3)
    with rnnlab.record(net) as log:
        net(torch.randn(4, 2, 2))[0][-1].sum().backward()
    return log.dataset()


def record_of(model: Any) -> None:
    with rnnlab.record(model):
        pass


def config() -> rnnlab.Config:
    return rnnlab.Config.parse({"task": {"kind": "adding", "length": 4}, "cell": {"kind": "gru", "hidden_size": 2}})


WRONG: list[tuple[str, Callable[[], Any]]] = [
    ("loss_reduction_scale = 'a'", lambda: recorded(loss_reduction_scale="a")),
    ("loss_reduction_scale = None", lambda: recorded(loss_reduction_scale=None)),
    ("loss_reduction_scale = nan", lambda: recorded(loss_reduction_scale=float("nan"))),
    ("every = 1.5", lambda: recorded(every=1.5)),
    ("optimizer is of type str: give one of type Optimizer or None", lambda: recorded(optimizer="adam")),
    ("scaler is of type float: give one of type GradScaler or None", lambda: recorded(scaler=2.0)),
    ("folder is of type int: give one of type str or Path or None", lambda: recorded(folder=3)),
    ("model is of type NoneType", lambda: record_of(None)),
    ("model is of type LSTM", lambda: record_of(LSTM())),
    ("model is of type NoneType", lambda: traced(None)),
    ("module is of type list", lambda: rnnlab.convert([nn.LSTM(2, 3)])),  # type: ignore[type-var]
    ("module is of type NoneType", lambda: rnnlab.restore(None)),  # type: ignore[type-var]
    ("log10_norm holds no numbers", lambda: rnnlab.fit_decay(["a", "b", "c"], [0, 1, 2])),  # type: ignore[list-item]
    (r"log10_norm has shape \(\)", lambda: rnnlab.fit_decay(None, None)),  # type: ignore[arg-type]
    (r"lag has shape \(2,\), where one of \(3,\)", lambda: rnnlab.fit_decay([0, 1, 2], [0, 1])),
    ("loss_fraction has shape", lambda: rnnlab.fit_decay([0, 1, 2], [0, 1, 2], [1])),
    (r"log10_norm has shape \(2, 2\)", lambda: rnnlab.fit_decay(np.ones((2, 2)), np.ones((2, 2)))),
    ("measured is of type NoneType: give one of type Dataset", lambda: rnnlab.top(None)),  # type: ignore[arg-type]
    ("measured is of type DataArray", lambda: rnnlab.top(profile()["log10_grad_norm"])),  # type: ignore[arg-type]
    ("measured has no dim layer", lambda: rnnlab.top(profile().squeeze())),
    ("traces is empty", lambda: rnnlab.measure([])),
    ("traces is a NoneType", lambda: rnnlab.measure(None)),  # type: ignore[arg-type]
    ("one of traces is of type int", lambda: rnnlab.measure([1, 2])),  # type: ignore[list-item]
    ("which = None", lambda: rnnlab.measure([], None)),  # type: ignore[arg-type]
    ("probe '3' is unknown", lambda: rnnlab.measure([], [3])),  # type: ignore[list-item]
    ("config is of type dict: give one of type Config", lambda: rnnlab.run({})),  # type: ignore[arg-type]
    ("path is of type NoneType", lambda: rnnlab.load_config(None)),  # type: ignore[arg-type]
    ("overrides is of type str", lambda: rnnlab.load_config("a.yaml", "a=1")),  # type: ignore[arg-type]
    ("name is of type NoneType", lambda: rnnlab.load_sweep(None)),  # type: ignore[arg-type]
    ("run_id is of type NoneType", lambda: rnnlab.load_profile(None)),  # type: ignore[arg-type]
    ("tracking_uri is of type int", lambda: rnnlab.load_probes("a", 3)),  # type: ignore[arg-type]
    ("input_size = '2' must be a whole number", lambda: rnnlab.Recurrent("gru", "2")),  # type: ignore[arg-type]
    ("num_layers = 1.5 must be a whole number", lambda: rnnlab.Recurrent("gru", 2, num_layers=1.5)),  # type: ignore[arg-type]
    ("dropout = 'a' is a probability", lambda: rnnlab.Recurrent("gru", 2, dropout="a")),  # type: ignore[arg-type]
    ("hidden_size = 'a' is not allowed", lambda: rnnlab.Recurrent("gru", 2, "a")),  # type: ignore[arg-type]
    ("steps = 'a' must be a whole number", lambda: rnnlab.Recurrent("gru", 2, steps="a")),  # type: ignore[arg-type]
    ("init is of type str", lambda: rnnlab.Recurrent("gru", 2, init="x")),  # type: ignore[arg-type]
    ("generator is of type int", lambda: rnnlab.Recurrent("gru", 2, generator=3)),  # type: ignore[arg-type]
    ("input is of type ndarray", lambda: rnnlab.GRU(2, 3)(np.ones((4, 2, 2)))),  # type: ignore[arg-type]
    ("hx is of type int", lambda: rnnlab.GRU(2, 3)(torch.ones(4, 2, 2), 3)),  # type: ignore[arg-type]
    ("start = -1 is the absolute time", lambda: rnnlab.GRU(2, 3)(torch.ones(4, 2, 2), start=-1)),
    ("start = 'a' is the absolute time", lambda: rnnlab.GRU(2, 3)(torch.ones(4, 2, 2), start="a")),  # type: ignore[arg-type]
    ("folder = .* cannot be made: File exists", lambda: recorded(folder=__file__)),
    ("configuration: None is not allowed: give it a section", lambda: rnnlab.Config.parse(None)),
    ("checkpoint is of type int", lambda: rnnlab.run(config(), checkpoint=5)),  # type: ignore[arg-type]
    ("checkpoint .* is a folder: name a file", lambda: rnnlab.run(config(), checkpoint=Path(__file__).parent)),
    ("cell is of type NoneType", lambda: rnnlab.Recurrent(None, 2)),  # type: ignore[arg-type]
]


class LSTM:
    """No module."""


@pytest.mark.parametrize(("sentence", "call"), WRONG, ids=[sentence for sentence, _ in WRONG])
def test_a_wrong_argument_is_named_in_one_sentence(sentence, call):
    with pytest.raises(UserError, match=sentence) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_plain_lists_are_numbers_too():
    rows = [0.0, -1.0, -2.0, -4.0], [0, 1, 2, 3], [1.0, 0, 0, 0]
    assert rnnlab.fit_decay(*rows) == rnnlab.fit_decay(*map(np.array, rows))
    assert rnnlab.fit_decay(torch.tensor(rows[0]), range(4)).slope == pytest.approx(-1.3)
