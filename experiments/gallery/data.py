"""What the gallery draws: small trainings, done when a figure first asks for them."""

import contextlib
import tempfile
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
import xarray as xr
from rich.console import Console
from torch import Tensor

import rnnlab
from rnnlab.common.seeding import make_generator
from rnnlab.config.config import Config
from rnnlab.probes.states import hidden_states
from rnnlab.sweep.runner import run_sweep
from rnnlab.tasks import Batch
from rnnlab.tasks.agreement import PLURAL, SINGULAR, VOCABULARY
from rnnlab.tracking.reader import early_decay
from rnnlab.tracking.store import tracking_uri
from rnnlab.training.backpropagation import backpropagate
from rnnlab.training.models import EncoderDecoder, SequenceModel
from rnnlab.training.result import Result

SWEEP = Path(__file__).with_name("sweep.yaml").absolute()
SEEDS = 8
CLIPPED = {"clipping": {"by": "norm", "threshold": 1.0}}
RECALL = Config.parse(
    {
        "task": {"kind": "delayed_recall", "length": 20},
        "cell": {"kind": "gru", "hidden_size": 16},
        "init": {"bias": "chrono"},
        "optimizer": {"kind": "adam", "lr": 1e-2},
        "recording": {"points": 0},
    }
)
AGREEMENT = Config.parse(
    {
        "task": {"kind": "agreement", "distance": 8, "distractors": 1},
        "cell": {"kind": "gru", "hidden_size": 32},
        "model": {"input": "embedding", "embedding_size": 16},
        "optimizer": {"kind": "adam", "lr": 1e-2},
        "recording": {"points": 0},
    }
)

T = TypeVar("T")


class Data:
    """One property a name that figures use; its docstring stands in the gallery."""

    @cached_property
    def gru(self) -> Result:
        """`rnnlab.run(config)`: a GRU of two layers that learns to add two of 50 numbers, probed at five steps"""
        return rnnlab.run(adding({"kind": "gru"}, model={"num_layers": 2}, recording={"probes": "standard"}))

    @cached_property
    def profile(self) -> xr.Dataset:
        """`gru.profile`; of a stored run, `rnnlab.load_profile(run_id)`"""
        return present(self.gru.profile)

    @cached_property
    def probes(self) -> xr.Dataset:
        """`gru.probes`; of a stored run, `rnnlab.load_probes(run_id)`"""
        return present(self.gru.probes)

    @cached_property
    def tanh(self) -> Result:
        """the same task for a tanh network of one layer"""
        return rnnlab.run(adding({"kind": "vanilla"}))

    @cached_property
    def profiles(self) -> dict[str, xr.Dataset]:
        """profiles by name: the tanh network, the same truncated to windows of 25 steps, and the GRU"""
        remedies = {"truncation": {"window": 25}, **CLIPPED}
        truncated = rnnlab.run(adding({"kind": "vanilla"}, remedies=remedies))
        return {"tanh": present(self.tanh.profile), "truncated": present(truncated.profile), "gru": self.profile}

    @cached_property
    def config(self) -> Config:
        """a tanh network of 128 units before training"""
        return wide(0)

    @cached_property
    def seeds(self) -> list[xr.Dataset]:
        """profiles of `config` with eight seeds"""
        return [present(rnnlab.run(wide(seed)).profile) for seed in range(SEEDS)]

    @cached_property
    def model(self) -> SequenceModel | EncoderDecoder:
        """`gru.model`, the trained network"""
        return present(self.gru.model)

    @cached_property
    def network(self) -> SequenceModel | EncoderDecoder:
        """`tanh.model`, likewise"""
        return present(self.tanh.model)

    @cached_property
    def batch(self) -> Batch:
        """64 fresh examples of its task"""
        return self.gru.config.task.sample(make_generator(0, "gallery"), 64)

    @cached_property
    def states(self) -> xr.DataArray:
        """`hidden_states(tape.traces[0])` of a GRU that has learned to keep one bit for 20 steps, on 16 examples"""
        with rnnlab.trace(self._keeper) as tape:
            backpropagate(self._keeper, RECALL.task, self._kept)
        return hidden_states(tape.traces[0])

    @cached_property
    def bits(self) -> list[str]:
        """the bit that each of them has to keep"""
        return [("\N{MINUS SIGN}1", "+1")[k] for k in self._kept.targets[-1].tolist()]

    @cached_property
    def _keeper(self) -> SequenceModel:
        model = rnnlab.run(RECALL).model
        assert isinstance(model, SequenceModel)
        return model

    @cached_property
    def _kept(self) -> Batch:
        return RECALL.task.sample(make_generator(0, "gallery"), 16)

    @cached_property
    def embedding(self) -> Tensor:
        """`model.get_parameter("encode.embedding.weight").detach()` of a GRU that knows which verb a noun takes"""
        return present(rnnlab.run(AGREEMENT).model).get_parameter("encode.embedding.weight").detach()

    @cached_property
    def words(self) -> list[str]:
        """its vocabulary"""
        return list(VOCABULARY)

    @cached_property
    def kinds(self) -> list[str]:
        """the kind of each word"""
        return ["singular" if w in SINGULAR else "plural" if w in PLURAL else "other" for w in VOCABULARY]

    @cached_property
    def runs(self) -> pd.DataFrame:
        """`rnnlab.load_sweep(name)` of the sweep `experiments/gallery/sweep.yaml`"""
        return swept()

    @cached_property
    def longer(self) -> pd.DataFrame:
        """the same at its budget `longer`, of twice the updates"""
        return swept("longer")


def swept(budget: str | None = None) -> pd.DataFrame:
    """Run the gallery's sweep."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        state = run_sweep(SWEEP, budget=budget, console=Console(quiet=True))
        if state.exit_code:
            raise SystemExit("the sweep of the gallery was stopped: run `make figures` again")
        runs = rnnlab.load_sweep(state.name)
        return runs.assign(decay_rate_early=early_decay(runs, tracking_uri()))


def adding(cell: dict[str, Any], **sections: Any) -> Config:
    """The adding problem over 50 steps, 400 updates."""
    basis = {
        "task": {"kind": "adding", "length": 50},
        "cell": {"hidden_size": 32, **cell},
        "optimizer": {"kind": "adam", "lr": 1e-2},
        "training": {"steps": 400, "stop_when_solved": False},
        "remedies": CLIPPED,
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
