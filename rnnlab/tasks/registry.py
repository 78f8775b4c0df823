"""Every task by name: a file in this folder that registers a task is all it takes to add one."""

from typing import TypeVar

from rnnlab.tasks.base import Task

TASKS: dict[str, type[Task]] = {}

K = TypeVar("K", bound=type[Task])


def register(task: K) -> K:
    """Make a task known by its `kind`; used as a class decorator."""
    TASKS[task.model_fields["kind"].default] = task
    return task
