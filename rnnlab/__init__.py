"""rnnlab: an instrument for vanishing gradients.

Names are imported on first use, so that `import rnnlab` and `rnnlab --help` stay quick.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

if TYPE_CHECKING:
    from rnnlab.config.config import Config, load_config
    from rnnlab.gradients.decay import fit_decay
    from rnnlab.gradients.profile import top
    from rnnlab.gradients.record import record
    from rnnlab.layers.conversion import convert, restore
    from rnnlab.layers.dropin import GRU, LSTM, RNN
    from rnnlab.layers.recurrent import Recurrent
    from rnnlab.probes.base import measure
    from rnnlab.probes.tape import trace
    from rnnlab.tracking.reader import load_probes, load_profile, load_sweep
    from rnnlab.trainers.sending import log_profile
    from rnnlab.training.runs import run, train

_HOME = {
    "Config": "rnnlab.config.config",
    "load_config": "rnnlab.config.config",
    "GRU": "rnnlab.layers.dropin",
    "LSTM": "rnnlab.layers.dropin",
    "RNN": "rnnlab.layers.dropin",
    "Recurrent": "rnnlab.layers.recurrent",
    "convert": "rnnlab.layers.conversion",
    "fit_decay": "rnnlab.gradients.decay",
    "measure": "rnnlab.probes.base",
    "record": "rnnlab.gradients.record",
    "load_probes": "rnnlab.tracking.reader",
    "load_profile": "rnnlab.tracking.reader",
    "load_sweep": "rnnlab.tracking.reader",
    "log_profile": "rnnlab.trainers.sending",
    "restore": "rnnlab.layers.conversion",
    "run": "rnnlab.training.runs",
    "top": "rnnlab.gradients.profile",
    "trace": "rnnlab.probes.tape",
    "train": "rnnlab.training.runs",
}

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "Config",
    "Recurrent",
    "convert",
    "fit_decay",
    "load_config",
    "load_probes",
    "load_profile",
    "load_sweep",
    "log_profile",
    "measure",
    "record",
    "restore",
    "run",
    "top",
    "trace",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'rnnlab' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
