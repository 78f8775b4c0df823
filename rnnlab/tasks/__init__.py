"""Tasks with long dependencies: one a file, each with its trivial baseline and what counts as solved."""

import importlib
import pkgutil

from rnnlab.tasks.base import IGNORED, Answers, Baseline, Batch, Split, Task
from rnnlab.tasks.registry import TASKS, register

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["IGNORED", "TASKS", "Answers", "Baseline", "Batch", "Split", "Task", "register"]
