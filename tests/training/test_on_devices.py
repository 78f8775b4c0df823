"""What trains a network stays on the device that its weights and examples are on.

The meta device stands in for a GPU: it computes shapes alone, and refuses operands that lie elsewhere.
"""

from pathlib import Path

import pytest
import torch

from rnnlab.cells import CELLS
from rnnlab.config.config import Config
from rnnlab.tasks import Batch
from rnnlab.training.backpropagation import backpropagate
from rnnlab.training.models import build_model
from rnnlab.training.program import Program
from rnnlab.training.progress import Progress
from rnnlab.training.runs import run
from rnnlab.training.stream import Stream

META = torch.device("meta")


def parse(**sections: object) -> Config:
    defaults = {"task": {"kind": "adding", "length": 6}, "cell": {"kind": "lstm", "hidden_size": 4}}
    return Config.parse({**defaults, "training": {"steps": 4, "eval_every": 2, "batch_size": 5}, **sections})


@pytest.mark.parametrize(
    "sections",
    [
        *({"cell": {"kind": kind, "hidden_size": 4}} for kind in sorted(CELLS)),
        {"cell": {"kind": "lstm", "hidden_size": 4, "norm": "batch", "norm_noise": 0.1}},
        {"cell": {"kind": "gru", "hidden_size": 4, "zoneout": 0.2}},
        {"task": {"kind": "copying", "length": 6}, "model": {"input": "embedding"}},
        {"model": {"num_layers": 2, "bidirectional": True}},
        {"remedies": {"truncation": {"window": 2}}},
        {"optimizer": {"kind": "rmsprop"}},
    ],
    ids=str,
)
def test_an_update_mixes_no_devices(sections):
    config = parse(**sections)
    generator = torch.Generator().manual_seed(0)
    model = build_model(config).to(META)
    model.recurrent.noise = generator
    batch = config.task.sample(generator, 5).to(META)
    program = Program(model, config.optimizer)
    program.join(model, ())
    states = model.noisy_states(5, generator)
    loss = program.go_back_alone(0, lambda: backpropagate(model, config.task, batch, config.remedies, states))
    program.update([0], [config.optimizer], [0.1], [1])
    assert loss.is_meta and program.weights.is_meta and all(p.is_meta for p in model.parameters())
    program.keep([0])


def test_what_a_checkpoint_has_kept_goes_to_the_device_of_the_run():
    kept = {
        "batch": (torch.ones(4, 2, 1), torch.ones(4, 2, 1)),
        "size": 2,
        "read": 2,
        "states": (torch.ones(1, 2, 4),) * 2,
    }
    stream = Stream.restored(kept, META)
    assert all(t.is_meta for t in (*stream.batch, *stream.states)) and stream.read == 2
    program = Program(model := build_model(parse()).to(META), parse().optimizer)
    program.join(model, [torch.zeros(sum(program.sizes)) for _ in program.moments])
    assert all(m.is_meta for m in program.moments)


def test_a_checkpoint_of_another_device_is_taken_up(tmp_path: Path, monkeypatch):
    """A run that began on a GPU, and whose GPU is gone, goes on: here only its name was that of one."""
    config, path = parse(), tmp_path / "checkpoint"
    monkeypatch.setattr("rnnlab.training.progress.usable", lambda device: torch.device("cpu"))
    begun = Progress(config.model_copy(update={"device": "cuda:1"}), path)
    begun.save()
    assert run(config, checkpoint=path).summary()["loss"] == run(config).summary()["loss"]


def test_examples_arrive_as_they_were():
    batch = parse().task.sample(torch.Generator().manual_seed(0), 3)
    moved = batch.to(torch.device("cpu"))
    assert isinstance(moved, Batch) and all(torch.equal(a, b) for a, b in zip(batch, moved, strict=True))
