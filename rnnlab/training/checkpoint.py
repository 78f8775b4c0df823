"""Atomic checkpoints of tensors and primitives alone."""

import os
import pickle
from pathlib import Path
from typing import Any

import torch

from rnnlab.errors import UserError


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint so that a reader finds the old one or the new one, never a torn one.

    Args:
        path: the file; its folder is made.
        state: nested dicts and lists of tensors, numbers, strings and None.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    with partial.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint; nothing in it can run code.

    Raises:
        UserError: if the file is not a checkpoint.
    """
    try:
        return torch.load(path, weights_only=True, map_location="cpu")
    except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError, KeyError) as error:
        raise UserError(
            f"checkpoint {path} cannot be read ({str(error).splitlines()[0][:80]}): delete it to start the run anew"
        ) from None
