"""What trainers are held against: one model, its data, and a loop that can be read from top to bottom."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
import xarray as xr
from torch import Tensor, nn

import rnnlab

UPDATES, BATCH, EVERY, LR = 6, 4, 2, 0.1
X = torch.randn(UPDATES * BATCH, 12, 3, generator=torch.Generator().manual_seed(1))
Y = torch.randint(0, 2, (UPDATES * BATCH,), generator=torch.Generator().manual_seed(2))


class Classifier(nn.Module):
    """An encoder of two layers, and a second recurrent layer that reads what it says."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.below = nn.LSTM(3, 6, num_layers=2, dropout=dropout, batch_first=True)
        self.above = nn.GRU(6, 5, batch_first=True)
        self.out = nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.above(self.below(x)[0])[0][:, -1])


def new_model(dropout: float = 0.0) -> Classifier:
    """The same weights at each call, and the same random numbers after it."""
    torch.manual_seed(0)
    return Classifier(dropout)


def by_hand(
    model: nn.Module,
    accumulate: int = 1,
    clip: float | None = None,
    scaler: torch.amp.GradScaler | None = None,
    forward: Callable[[], Any] = nullcontext,
) -> xr.Dataset:
    """Train by plain gradient descent and record one update in `EVERY`."""
    rnnlab.convert(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=LR)
    with rnnlab.record(model, optimizer=optimizer, every=EVERY, scaler=scaler) as log:
        for i, (x, y) in enumerate(zip(X.split(BATCH), Y.split(BATCH), strict=True)):
            with forward():
                loss = nn.functional.cross_entropy(model(x), y) / accumulate
            (loss if scaler is None else scaler.scale(loss)).backward()
            if (i + 1) % accumulate:
                continue
            if scaler is not None:
                scaler.unscale_(optimizer)
            if clip is not None:
                nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step() if scaler is None else scaler.step(optimizer)
            if scaler is not None:
                scaler.update()
            optimizer.zero_grad()
    return log.dataset()


def growing_scaler() -> torch.amp.GradScaler:
    """Whose factor is doubled by each update, so that it tells whether it was used; on a processor."""
    return torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=1)


def same_weights(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))
