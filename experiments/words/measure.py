"""Train language models and look at the vectors of their words."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

import rnnlab
from rnnlab.config.config import Config
from rnnlab.statistics.similarity import analogies, same_kind
from rnnlab.training.models import Model, build_model

from .lists import kinds, questions

EXPERIMENT = Path(__file__).parents[1] / "words.yaml"
CELLS = {"LSTM": "lstm", "tanh": "vanilla"}
RATES = (1e-3, 3e-3, 1e-2, 3e-2)
VECTORS = {"input": "encode.embedding.weight", "output": "readout.weight"}
"""Of a word that is read, and of one that may come next: rows of the embedding, and of the readout."""


class Trained(NamedTuple):
    """What is kept of one run.

    Attributes:
        score: bits per word on the test part.
        validation: the least on the validation part.
        vectors: (N, E) after training, by name of `VECTORS`.
        start: the same before training.
    """

    score: float
    validation: float
    vectors: dict[str, np.ndarray]
    start: dict[str, np.ndarray]


def configure(cell: str, rate: float, seed: int, changes: tuple[str, ...] = ()) -> Config:
    """The experiment with one of the `CELLS`, a learning rate and a seed."""
    own = [f"cell.kind={CELLS[cell]}", f"optimizer.lr={rate}", f"seed={seed}", "recording.points=0"]
    return rnnlab.load_config(EXPERIMENT, [*own, *changes])


def train(config: Config) -> Trained:
    """Train once."""
    result = rnnlab.run(config)
    assert isinstance(result.model, Model)
    validation = min(result.history[f"val/{config.task.score_name}"].values)
    return Trained(result.test_score, validation, _vectors(result.model), _vectors(build_model(config)))


def kinds_table(runs: list[Trained], symbols: tuple[str, ...]) -> pd.DataFrame:
    """Share of words whose nearest neighbour is of their own kind, one row a run: vectors, start, trained, chance."""
    rows = []
    for run in runs:
        for name in VECTORS:
            (start, chance), (trained, _) = (same_kind(v[name], symbols, kinds()) for v in (run.start, run.vectors))
            rows.append((name, start, trained, chance))
    return pd.DataFrame(rows, columns=["vectors", "start", "trained", "chance"])


def analogies_table(runs: list[Trained], symbols: tuple[str, ...]) -> pd.DataFrame:
    """Every question to every run, with its relation and the vectors that were asked."""
    tables = [
        analogies(run.vectors[name], symbols, asked).assign(relation=relation, vectors=name, run=k)
        for k, run in enumerate(runs)
        for name in VECTORS
        for relation, asked in questions().items()
    ]
    return pd.concat(tables, ignore_index=True)


def _vectors(model: Model) -> dict[str, np.ndarray]:
    return {name: model.get_parameter(weight).detach().numpy().copy() for name, weight in VECTORS.items()}
