"""What the gallery draws: small trainings, done when a figure first asks for them."""

import contextlib
import tempfile
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
import xarray as xr
from rich.console import Console

import rnnlab
from rnnlab.config import Config
from rnnlab.models import Model, SequenceModel
from rnnlab.probes.states import hidden_states
from rnnlab.report.health import early_decay
from rnnlab.seeding import make_generator
from rnnlab.sweep.runner import run_sweep
from rnnlab.tasks import Batch
from rnnlab.tasks.agreement import ANSWERS, PLURAL, SINGULAR, VOCABULARY
from rnnlab.tracking.store import tracking_uri
from rnnlab.training.result import Result
from rnnlab.training.truncation import backpropagate

SWEEP = Path(__file__).with_name("sweep.yaml").absolute()
SEEDS = 8
SENTENCES = 16

T = TypeVar("T")


class Data:
    """One property a name that figures use; its docstring stands in the gallery."""

    @cached_property
    def lstm(self) -> Result:
        """`rnnlab.run(config)`: an LSTM of two layers that learns to add two of 50 numbers, probed at five steps"""
        two = {"model": {"num_layers": 2}, "recording": {"probes": "standard"}}
        return rnnlab.run(adding({"kind": "lstm"}, **two))

    @cached_property
    def tanh(self) -> Result:
        """the same by a tanh network of one layer"""
        return rnnlab.run(adding({"kind": "vanilla"}, recording={"probes": "standard"}))

    @cached_property
    def profile(self) -> xr.Dataset:
        """`lstm.profile`; of a stored run, `rnnlab.load_profile(run_id)`"""
        return present(self.lstm.profile)

    @cached_property
    def probes(self) -> xr.Dataset:
        """`lstm.probes`; of a stored run, `rnnlab.load_probes(run_id)`"""
        return present(self.lstm.probes)

    @cached_property
    def profiles(self) -> dict[str, xr.Dataset]:
        """profiles by name: the tanh network, the same truncated to windows of 25 steps, and the LSTM"""
        window = {"training": {"steps": 600, "truncation": {"window": 25}}}
        truncated = rnnlab.run(adding({"kind": "vanilla"}, **window)).profile
        return {"tanh": present(self.tanh.profile), "truncated": present(truncated), "lstm": self.profile}

    @cached_property
    def config(self) -> Config:
        """a tanh network of 128 units before training"""
        return wide(0)

    @cached_property
    def seeds(self) -> list[xr.Dataset]:
        """profiles of `config` with eight seeds"""
        return [present(rnnlab.run(wide(seed)).profile) for seed in range(SEEDS)]

    @cached_property
    def model(self) -> Model:
        """`tanh.model`, the trained network"""
        return present(self.tanh.model)

    @cached_property
    def batch(self) -> Batch:
        """64 fresh examples of its task"""
        return self.tanh.config.task.sample(make_generator(0, "gallery"), 64)

    @cached_property
    def reader(self) -> Result:
        """an LSTM that reads sentences through an embedding and learns whether *was* or *were* follows"""
        config = {
            "task": {"kind": "agreement", "distance": 12},
            "cell": {"kind": "lstm", "hidden_size": 32},
            "model": {"input": "embedding", "embedding_size": 16},
            "optimizer": {"kind": "adam", "lr": 1e-2},
            "training": {"steps": 800},
            "recording": {"points": 0},
        }
        return rnnlab.run(Config.parse(config))

    @cached_property
    def sentences(self) -> Batch:
        """16 fresh sentences"""
        return self.reader.config.task.sample(make_generator(0, "gallery"), SENTENCES)

    @cached_property
    def states(self) -> xr.DataArray:
        """`hidden_states(tape.traces[0])` of the reader on these sentences"""
        model = present(self.reader.model)
        assert isinstance(model, SequenceModel)
        with rnnlab.trace(model) as tape:
            backpropagate(model, self.reader.config.task, self.sentences, None)
        return hidden_states(tape.traces[0])

    @cached_property
    def answers(self) -> list[str]:
        """the right answer to each, *was* or *were*"""
        return [ANSWERS[k] for k in self.sentences.targets[-1].tolist()]

    @cached_property
    def words(self) -> list[str]:
        """the reader's vocabulary"""
        return list(VOCABULARY)

    @cached_property
    def kinds(self) -> list[str]:
        """the kind of each word"""
        return ["singular" if w in SINGULAR else "plural" if w in PLURAL else "other" for w in VOCABULARY]

    @cached_property
    def runs(self) -> pd.DataFrame:
        """`rnnlab.load_sweep(name)` of the sweep `experiments/gallery/sweep.yaml`"""
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            run_sweep(SWEEP, console=Console(quiet=True))
            runs = rnnlab.load_sweep("gallery")
            return runs.assign(decay_rate_early=early_decay(runs, tracking_uri()))


def adding(cell: dict[str, Any], **sections: Any) -> Config:
    """The adding problem over 50 steps, 600 updates."""
    basis = {
        "task": {"kind": "adding", "length": 50},
        "cell": {"hidden_size": 32, **cell},
        "optimizer": {"kind": "adam", "lr": 1e-2},
        "training": {"steps": 600, "clip": {"kind": "norm", "threshold": 1.0}, "stop_when_solved": False},
    }
    return Config.parse(basis | sections)


def wide(seed: int) -> Config:
    """A wide tanh network with orthogonal weights before its first update."""
    return Config.parse(
        {
            "task": {"kind": "adding", "length": 50},
            "cell": {"kind": "vanilla", "hidden_size": 128},
            "init": {"recurrent": "orthogonal"},
            "training": {"steps": 1},
            "recording": {"points": 1},
            "seed": seed,
        }
    )


def present(value: T | None) -> T:
    """What a run that recorded everything does have."""
    assert value is not None
    return value
