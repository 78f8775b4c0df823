"""Where an experiment runs is part of it, by kind, and a machine that has no such place says so."""

import json

import pytest
import torch

from rnnlab.common.errors import UserError
from rnnlab.config.config import Config
from rnnlab.config.device import usable

SETTINGS = {"task": {"kind": "adding", "length": 5}, "cell": {"kind": "gru", "hidden_size": 4}}


def test_auto_is_decided_when_it_is_read(monkeypatch):
    for there, device in ((False, "cpu"), (True, "cuda")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        assert Config.parse(SETTINGS | {"device": "auto"}).device == device


def test_the_kind_of_device_is_part_of_the_hash_and_which_one_of_several_is_not():
    default, cuda, second = (Config.parse(SETTINGS | more) for more in ({}, {"device": "cuda"}, {"device": "cuda:1"}))
    assert cuda.hash == second.hash != default.hash
    assert Config.parse(json.loads(cuda.canonical_json())) == cuda


def test_on_a_cpu_a_hash_is_what_it_was_before_there_was_a_choice():
    assert "device" not in json.loads(Config.parse(SETTINGS | {"device": "cpu"}).canonical_json())


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", "mps"])
def test_other_names_are_refused(device):
    with pytest.raises(UserError, match="names no device: choose 'auto', 'cpu', 'cuda'"):
        Config.parse(SETTINGS | {"device": device})


def test_a_machine_without_it_says_so(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="device = 'cuda' asks for a GPU, and this machine has no GPU"):
        usable("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert usable("cuda:1").index == 1 and usable("cpu").type == "cpu"
    with pytest.raises(UserError, match="has 2 GPUs"):
        usable("cuda:2")
