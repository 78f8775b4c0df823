"""Batch norm keeps pre-activations within [-4, 4]."""

import pandas as pd

from rnnlab.statistics.intervals import Interval, student_mean

from .finding import Finding, Part
from .runs import configure, look, train

CLAIM = "Batch norm keeps pre-activations within [-4, 4]."
T = 50
CELLS = {"tanh": "vanilla", "lstm": "lstm"}
GAINS = (0.1, 1.0)
MOMENTS = (0, 100, 400)
RATE, SCALE = 1e-2, 8.0
ALLOWED = 0.01


def outside(kind: str, norm: dict[str, object], seed: int) -> list[float]:
    """Share of pre-activations outside [-4, 4] over all steps and units, at each moment of training."""
    config = configure(
        {"kind": "adding", "length": T},
        {"kind": kind, **norm},
        seed,
        optimizer={"kind": "adam", "lr": RATE},
        init={"recurrent": "orthogonal", "recurrent_scale": SCALE},
    )
    shares = []
    for updates in MOMENTS:
        seen = look(train(config, updates), config, ["saturation"])
        shares.append(float(seen["outside_fraction"].mean()))
    return shares


def examine(seeds: int) -> Finding:
    """Follow the pre-activations of networks with and without batch norm through training."""
    arms: dict[str, dict[str, object]] = {"none": {}} | {
        f"batch, γ = {gain:g} at the start": {"norm": "batch", "norm_gain": gain, "norm_noise": 0.1} for gain in GAINS
    }
    found = {
        (cell, arm): [student_mean(v) for v in zip(*(outside(kind, norm, s) for s in range(seeds)), strict=True)]
        for cell, kind in CELLS.items()
        for arm, norm in arms.items()
    }
    columns = [f"after {updates} updates" for updates in MOMENTS]
    table = pd.DataFrame(
        [
            {"cell": cell, "norm": arm} | dict(zip(columns, map(str, shares), strict=True))
            for (cell, arm), shares in found.items()
        ]
    )
    parts = [
        part
        for (cell, arm), shares in found.items()
        if arm != "none"
        for part in _parts(f"{cell}, {arm}", shares, found[cell, "none"][-1])
    ]
    setting = (
        f"Adding problem of {T} steps, 32 units, W_hh = {SCALE:g} Q at the start, so that there is something to keep, "
        "Adam at "
        f"{RATE:g}, {seeds} seeds, one batch of 32 in training mode. "
        "Share of pre-activations outside [-4, 4]; mean and 95% interval."
    )
    return Finding(CLAIM, setting, table, tuple(parts))


def _parts(who: str, shares: list[Interval], plain: Interval) -> list[Part]:
    """What is examined of one normalised network, beside the plain one at the end."""
    return [
        Part(
            f"{who}: less than {ALLOWED:.0%} of the pre-activations lie outside, at every moment",
            all(share.high < ALLOWED for share in shares),
            f"at most {max(share.high for share in shares):.2%}",
        ),
        Part(
            f"{who}: fewer lie outside at the end than without batch norm",
            shares[-1].high < plain.low,
            f"{shares[-1]} against {plain}",
        ),
    ]
