"""Where an experiment runs: `cpu`, `cuda`, or one GPU of several."""

import re

import torch

from rnnlab.common.errors import UserError


def check_device(value: str) -> str:
    """Refuse what names no device, and choose one for `auto`: a GPU where there is one.

    Raises:
        ValueError: if it names none.
    """
    if value == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if not re.fullmatch(r"cpu|cuda(:\d+)?", value):
        raise ValueError(f"device = {value!r} names no device: choose 'auto', 'cpu', 'cuda' or, of several, 'cuda:1'")
    return value


def kind_of(device: str) -> str:
    """What results depend on: not which of several GPUs it was."""
    return device.partition(":")[0]


def usable(device: str) -> torch.device:
    """The device, on this machine.

    Raises:
        UserError: if it has none of that name.
    """
    number = int(device.partition(":")[2] or 0)
    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device != "cpu" and number >= there:
        has = f"has {there} GPU{'s' * (there > 1)}" if there else f"has no GPU that torch {torch.__version__} can use"
        raise UserError(f"device = {device!r} asks for a GPU, and this machine {has}: choose 'cpu' or 'auto'")
    return torch.device(device)
