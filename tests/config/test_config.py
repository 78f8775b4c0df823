"""A configuration is one frozen value, and every mistake in it is one sentence."""

import json
from typing import ClassVar

import pytest
from pydantic import ValidationError

from rnnlab.cells.vanilla import VanillaCell
from rnnlab.common.errors import UserError
from rnnlab.config.checks import refuse_impossible
from rnnlab.config.config import Config, load_config
from rnnlab.config.overrides import override

MINIMAL = {"task": {"kind": "adding", "length": 20}, "cell": {"kind": "vanilla"}}


def parse(**changes) -> Config:
    return Config.parse(override(MINIMAL, {name.replace("__", "."): value for name, value in changes.items()}))


MISTAKES = [
    ({"task": {"lenght": 3}}, r"task: there is no field 'lenght' .*did you mean 'length'"),
    ({"cells": {}}, "no field 'cells': did you mean 'cell'"),
    ({"cell__kind": "lsm"}, "cell.kind = 'lsm' is unknown: did you mean 'lstm'"),
    ({"task__kind": "ading"}, "did you mean 'adding'"),
    ({"optimizer__kind": "adm"}, "did you mean 'adam'"),
    ({"optimizer__lr": "fast"}, r"optimizer.lr = 'fast' is not allowed: input should be a valid number"),
    ({"optimizer__lr": 0}, "optimizer.lr = 0 is not allowed: input should be greater than 0"),
    ({"optimizer__lr": float("nan")}, "optimizer.lr = nan"),
    ({"task__length": 10001}, "task.length = 10001 .*less than or equal to 10000"),
    ({"remedies__clipping__threshold": 0}, "remedies.clipping.threshold = 0 .*greater than 0"),
    ({"remedies__cliping__threshold": 1}, "remedies: there is no remedy 'cliping': did you mean 'clipping'"),
    ({"remedies__clipping__treshold": 1}, "remedies.clipping: there is no field 'treshold' .*did you mean 'threshold'"),
    ({"remedies__clipping__kind": "norm"}, "remedies: clipping.kind = 'norm' is not allowed: .* drop it"),
    ({"remedies__truncation__window": 21}, r"window = 21 is longer than the sequence: choose at most 20"),
    ({"remedies__truncation": {"window": 3, "stride": 4}}, r"stride = 4 is longer than window = 3"),
    ({"remedies__truncation__window": 5, "model__bidirectional": True}, "bidirectional"),
    (
        {"init__bias": "chrono"},
        r"init.bias = 'chrono' needs gates .*cell.kind = 'vanilla'.*choose a cell of gru, .*lstm, mgu",
    ),
    ({"cell": {"kind": "lstm", "forget_gate": False}, "init__bias": "chrono"}, "without forget gate"),
    ({"cell": {"kind": "lstm", "forget_bias": 1.0}, "init__bias": "chrono"}, "drop one"),
    (
        {"cell__kind": "irnn", "init__recurrent": "orthogonal"},
        r"init.recurrent = 'orthogonal' cannot apply.*cell.kind = 'irnn'.*weight_hh starts: leave .* at 'torch'",
    ),
    ({"cell__kind": "orthogonal", "init__recurrent_scale": 0.9}, "recurrent_scale = 0.9 cannot apply"),
    ({"cell__kind": "irnn", "init__bias": "zero"}, "bias_ih starts: leave init.bias at 'torch'"),
    ({"cell": {"kind": "lstm", "coupled": True, "input_gate": False}}, "cell.*coupled = true needs both gates"),
    ({"model__input": "embedding"}, "needs symbols"),
    ({"task": {"kind": "copying"}, "model__input": "raw"}, "needs numbers"),
    ({"cell__norm": "batch", "training__batch_size": 1}, "batch_size of at least 2"),
    ({"cell__norm_noise": 0.1}, "norm_noise = 0.1 is for"),
    ({"optimizer__lr": True}, "lr = true is not allowed"),
    ({"remedies__truncation": 5}, "remedies.truncation = 5 is not allowed: give it a section"),
    ({"optimizer__lr": 1e38}, "less than or equal to 10000"),
    ({"seed": -1}, "seed = -1"),
    ({"threads": 1000}, "threads = 1000 is not allowed: input should be less than or equal to 256"),
    ({"model__num_layers": 10**9}, "less than or equal to 1000"),
    ({"cell__hidden_size": None}, "cell.hidden_size = None"),
]


@pytest.mark.parametrize(("changes", "message"), MISTAKES, ids=[str(changes) for changes, _ in MISTAKES])
def test_mistakes_are_one_sentence_that_names_field_value_and_remedy(changes, message):
    with pytest.raises(UserError, match=message) as caught:
        parse(**changes)
    assert "\n" not in str(caught.value)


def test_it_is_frozen():
    with pytest.raises(ValidationError):
        parse().seed = 1  # type: ignore[misc]


def test_the_hash_names_the_experiment_not_its_spelling():
    a = parse(optimizer__lr=3e-3, cell__hidden_size=10)
    b = Config.parse({"cell": {"hidden_size": "10", "kind": "vanilla"}, "optimizer": {"lr": "3e-3"},
                      "task": {"length": 20, "kind": "adding"}})  # fmt: skip
    assert a == b and a.hash == b.hash
    assert a.hash != parse(optimizer__lr=3e-3, cell__hidden_size=11).hash
    assert Config.parse(json.loads(a.canonical_json())) == a


def test_overrides_reach_every_field_and_changing_a_kind_keeps_what_fits():
    base = {"cell": {"kind": "vanilla", "activation": "relu", "hidden_size": 7}, "task": MINIMAL["task"]}
    assert override(base, {"cell.kind": "lstm"})["cell"] == {"kind": "lstm", "hidden_size": 7}
    assert override(base, {"cell.hidden_size": 9, "cell.kind": "gru"})["cell"] == {"kind": "gru", "hidden_size": 9}
    assert override(base, {"cell": {"kind": "lstm", "forget_bias": 1}})["cell"]["forget_bias"] == 1
    assert base["cell"]["activation"] == "relu"
    with pytest.raises(UserError, match="'kind' is not a section"):
        override(base, {"cell.kind.x": 1})


def test_files_are_read_safely_and_problems_named(tmp_path):
    path = tmp_path / "one.yaml"
    path.write_text("task: {kind: adding, length: 20}\ncell: {kind: vanilla}\n")
    assert load_config(path, ["optimizer.lr=3e-3", "remedies.clipping=null"]).optimizer.lr == 3e-3
    for text, message in (
        ("task: [", "not valid YAML"),
        ("", "is empty"),
        ("seed: 1\nseed: 2", "key 'seed' stands twice"),
        ("- 1", "holds a list"),
        ("!!python/object/apply:os.system ['true']", "not valid YAML"),
    ):
        path.write_text(text)
        with pytest.raises(UserError, match=message):
            load_config(path)
    with pytest.raises(UserError, match="No such file"):
        load_config(tmp_path / "none.yaml")
    path.write_text("task: {kind: adding}\ncell: {kind: vanilla}\n")
    for item in ("lr", "=3", "seed=[1"):
        with pytest.raises(UserError, match="override"):
            load_config(path, [item])


def test_a_sweep_is_no_experiment():
    with pytest.raises(UserError, match="quickstart is a sweep, and an experiment is expected: `rnnlab run"):
        load_config("quickstart")


def test_a_cell_without_a_state_h_is_refused() -> None:
    class Nameless(VanillaCell):
        states: ClassVar[tuple[str, ...]] = ("y",)

    config = parse()
    with pytest.raises(ValueError, match="has no state h, whose gradient a run is summed up by, but y: name the state"):
        refuse_impossible(config.model_copy(update={"cell": Nameless()}))
