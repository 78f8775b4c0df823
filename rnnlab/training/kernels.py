"""Compiles what a run needs before its clock."""

from collections.abc import Callable

import torch

from rnnlab.config.config import Config
from rnnlab.scan import prepare


def prepare_kernels(config: Config, say: Callable[[str], object] | None = None) -> None:
    """Compile what the layers of an experiment need, so that this counts in no `seconds`.

    Args:
        config: the experiment; nothing is compiled for a GPU.
        say: told in one line that something is compiled, which takes some seconds, once a machine.
    """
    if config.device == "cpu":
        dilation = config.model.dilation
        prepare(config.cell, (dilation,) if isinstance(dilation, int) else dilation, getattr(torch, config.dtype), say)
