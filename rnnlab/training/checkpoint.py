"""Atomic checkpoints of tensors and primitives alone."""

import io
import pickle
import warnings
from pathlib import Path
from typing import Any

import torch

from rnnlab.common.errors import UserError
from rnnlab.common.files import DamagedFileError, read_sealed, set_aside, write_sealed
from rnnlab.config.config import Config


def identity(config: Config) -> str:
    """What a checkpoint belongs to: the experiment, on whatever device it has run so far."""
    return config.model_copy(update={"device": "cpu"}).canonical_json()


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint so that a reader finds the old one or the new one, never a torn one.

    Args:
        path: the file; its folder is made.
        state: nested dicts and lists of tensors, numbers, strings and None.
    """
    buffer = io.BytesIO()  # torch would turn a full disk into an error that does not say so
    torch.save(state, buffer)
    write_sealed(path, buffer.getvalue())


def load_checkpoint(path: Path) -> dict[str, Any] | None:
    """Read a checkpoint; nothing in it can run code.

    Returns:
        What was saved; None, with a warning, where the file is damaged: it is then set aside, and the run starts anew.

    Raises:
        UserError: if it is a folder.
    """
    if path.is_dir():
        raise UserError(f"checkpoint {path} is a folder: name a file")
    try:
        # torch itself does not check what it reads: a flipped bit would become a slightly different weight.
        return torch.load(io.BytesIO(read_sealed(path)), weights_only=True, map_location="cpu")
    except (DamagedFileError, RuntimeError, pickle.UnpicklingError, EOFError, ValueError, KeyError):
        warnings.warn(
            f"checkpoint {path} is damaged: it is kept as {set_aside(path).name}, and the run starts anew", stacklevel=2
        )
        return None
