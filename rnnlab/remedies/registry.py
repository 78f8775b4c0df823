"""Every remedy by name: a file in this folder, or a plug-in, that registers a remedy is all it takes to add one."""

from rnnlab.common.registry import Registry
from rnnlab.remedies.base import Remedy

REMEDIES: Registry[type[Remedy]] = Registry("remedy", "rnnlab.remedies")
register = REMEDIES.register
