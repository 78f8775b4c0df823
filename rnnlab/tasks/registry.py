"""Every task by name: a file in this folder, or a plug-in, that registers a task is all it takes to add one."""

from rnnlab.common.registry import Registry
from rnnlab.tasks.base import Task

TASKS: Registry[type[Task]] = Registry("task", "rnnlab.tasks")
register = TASKS.register
