"""Saturating activations make the gradient vanish, and large weights make it explode."""

import numpy as np
import pandas as pd
import torch

import rnnlab
from rnnlab.common.seeding import make_generator
from rnnlab.layers.initialization import Initialization
from rnnlab.statistics.intervals import student_mean

from .finding import Finding, Part

CLAIM = "Saturating activations make the gradient vanish, and large weights make it explode."
T, B, I, H = 100, 16, 4, 64
SCALES = (0.5, 1.0, 2.0, 4.0)
SATURATING, OTHERS = ("tanh", "sigmoid"), ("identity", "relu")


def slope(activation: str, scale: float, seed: int) -> float:
    """Decades per step of lag of a network at initialisation, W_hh = scale times an orthogonal matrix."""
    generator = make_generator(seed, "claims")
    net = rnnlab.Recurrent(
        "vanilla",
        I,
        H,
        activation=activation,
        init=Initialization(recurrent="orthogonal", recurrent_scale=scale, bias="zero"),
        generator=generator,
        dtype=torch.float64,
    )
    x = torch.randn(T, B, I, generator=generator, dtype=torch.float64)
    direction = torch.randn(B, H, generator=generator, dtype=torch.float64)
    with rnnlab.record(net) as log:
        (net(x)[0][-1] * direction).sum().backward()
    profile = log.dataset()["log10_grad_norm_by_lag"].squeeze()
    return rnnlab.fit_decay(profile.values, profile["lag"].values).slope


def examine(seeds: int) -> Finding:
    """Measure the slope for saturating and other activations under weights of several scales."""
    slopes = {
        (name, scale): student_mean(slope(name, scale, seed) for seed in range(seeds))
        for name in (*OTHERS, *SATURATING)
        for scale in SCALES
    }
    table = pd.DataFrame(
        [
            {"activation": name} | {f"W = {scale:g} Q": str(slopes[name, scale]) for scale in SCALES}
            for name in (*OTHERS, *SATURATING)
        ]
    )
    parts = [
        Part(
            f"{name}: with W orthogonal, where the identity keeps the norm, the slope is below 0",
            slopes[name, 1.0].high < 0,
            f"{slopes[name, 1.0]} decades a step",
        )
        for name in SATURATING
    ]
    parts += [
        Part(
            f"{name}: with W = {SCALES[-1]:g} Q the slope is above 0",
            slopes[name, SCALES[-1]].low > 0,
            f"{slopes[name, SCALES[-1]]}; the identity's would be {np.log10(SCALES[-1]):.3f}",
        )
        for name in (*OTHERS, *SATURATING)
    ]
    setting = (
        f"Vanilla networks of {H} units at initialisation, {T} steps of independent normal inputs, a loss at the last "
        f"step, {seeds} seeds, float64. Slope of log10 ‖dL/dh_t‖ against lag, mean and 95% interval."
    )
    return Finding(CLAIM, setting, table, tuple(parts))
