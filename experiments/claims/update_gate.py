"""The GRU remembers through its update gate."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pandas as pd
import torch

from rnnlab.statistics.intervals import Interval, student_mean
from rnnlab.training.models import SequenceModel

from .finding import Finding, Part
from .runs import configure, skill, train

CLAIM = "The GRU remembers through its update gate."
T, H, RATE, UPDATES = 20, 32, 1e-2, 3000
FORCED = 20.0
"""Added to a gate's bias: far enough for σ to be 0 or 1."""
GATES = {"reset": 0, "update": 1}


@contextmanager
def forced(model: SequenceModel, gate: str, value: int) -> Iterator[None]:
    """Hold a gate of a trained GRU at 0 or 1."""
    bias = model.recurrent.get_parameter("bias_ih_l0")
    rows = slice(GATES[gate] * H, (GATES[gate] + 1) * H)
    kept = bias.detach().clone()
    with torch.no_grad():
        bias[rows] += FORCED if value else -FORCED
    try:
        yield
    finally:
        with torch.no_grad():
            bias.copy_(kept)


TASKS = {"one bit": {"kind": "delayed_recall", "length": T}, "a number": {"kind": "adding", "length": T}}
INTERVENTIONS = (("update", 0), ("reset", 1), ("reset", 0))


def examine(seeds: int) -> Finding:
    """Train GRUs to remember a bit or a number, then hold one gate at a time at 0 or 1."""
    found = {what: _skills(task, seeds) for what, task in TASKS.items()}
    table = pd.DataFrame([{"remembered": what} | {g: str(e) for g, e in row.items()} for what, row in found.items()])
    parts = tuple(part for what, row in found.items() for part in _parts(what, row))
    setting = (
        f"GRU of {H} units, delayed recall (one bit) and adding (a number), {T} steps, Adam at {RATE:g} until "
        f"solved, {UPDATES} updates at most, {seeds} seeds. Skill on fresh examples (0 the trivial baseline, 1 "
        "perfect) as trained, and with one gate held at 0 or 1; mean and 95% interval."
    )
    return Finding(CLAIM, setting, table, parts)


def _skills(task: dict[str, Any], seeds: int) -> dict[str, Interval]:
    rows: dict[str, list[float]] = {name: [] for name in ("as trained", *(f"{g} = {v}" for g, v in INTERVENTIONS))}
    for seed in range(seeds):
        cell = {"kind": "gru", "hidden_size": H}
        config = configure(task, cell, seed, optimizer={"kind": "adam", "lr": RATE})
        model = train(config, UPDATES, until_solved=True)
        rows["as trained"].append(skill(model, config))
        for gate, value in INTERVENTIONS:
            with forced(model, gate, value):
                rows[f"{gate} = {value}"].append(skill(model, config))
    return {name: student_mean(values) for name, values in rows.items()}


def _parts(what: str, row: dict[str, Interval]) -> list[Part]:
    trained, shut = row["as trained"], row["update = 0"]
    held = [row["reset = 0"], row["reset = 1"]]
    return [
        Part(
            f"{what}: the network remembers (skill above 0.8), and no more with the update gate held at 0 (below 0.2)",
            trained.low > 0.8 and shut.high < 0.2,
            f"{trained}, then {shut}",
        ),
        Part(
            f"{what}: holding the reset gate, open or shut, costs less than half of what holding the update gate costs",
            all(trained.value - e.value < (trained.value - shut.value) / 2 for e in held),
            f"shut {held[0]}, open {held[1]}",
        ),
    ]
