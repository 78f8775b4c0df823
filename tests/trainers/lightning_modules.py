"""Models and their training in Lightning, which takes seconds to import: by these tests alone, and once they run."""

from typing import Any

import pytest
import torch
from by_hand import BATCH, LR, X, Y
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

lightning = pytest.importorskip("lightning.pytorch")


class Module(lightning.LightningModule):
    """The usual one."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def training_step(self, batch, batch_idx) -> Any:
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def validation_step(self, batch, batch_idx):
        self.training_step(batch, batch_idx)

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=LR)


class TwoLosses(Module):
    """Two backward passes and two updates a batch."""

    automatic_optimization = False

    def training_step(self, batch, batch_idx):
        for optimizer in self.optimizers():
            optimizer.zero_grad()
            self.manual_backward(super().training_step(batch, batch_idx))
            optimizer.step()

    def configure_optimizers(self):
        return [torch.optim.SGD(self.net.get_submodule(name).parameters(), lr=LR) for name in ("below", "above")]


def fit(module, callbacks=(), validate_every: int | None = None, **options: Any):
    data = DataLoader(TensorDataset(X, Y), batch_size=BATCH)
    options = {"max_epochs": 1, "val_check_interval": validate_every} | options
    trainer = lightning.Trainer(
        accelerator="cpu", callbacks=list(callbacks), logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0, **options,
    )  # fmt: skip
    trainer.fit(module, data, data if validate_every else None)
    return trainer
