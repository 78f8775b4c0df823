"""Tasks with long dependencies: one a file, each with its trivial baseline and what counts as solved."""

from rnnlab.tasks.base import IGNORED, Answers, Baseline, Batch, Split, Task
from rnnlab.tasks.registry import TASKS, register

__all__ = ["IGNORED", "TASKS", "Answers", "Baseline", "Batch", "Split", "Task", "register"]
