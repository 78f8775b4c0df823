"""Kernels of Jupyter that need not import torch and MLflow again: forked from a process that has done so."""

import os
from typing import Any

from forked import Forked
from jupyter_client.manager import AsyncKernelManager


class ForkedKernelManager(AsyncKernelManager):
    """Forks the process of a kernel where its parent would start one."""

    async def _async_launch_kernel(self, kernel_cmd: list[str], **options: Any) -> None:
        assert self.provisioner is not None
        self.provisioner.process = _Kernel(_serve, self.connection_file, str(options["cwd"]))  # type: ignore[attr-defined]


class _Kernel(Forked):
    """What jupyter_client asks of a process beside the rest."""

    stdin = stdout = stderr = None


def _serve(connection_file: str, folder: str) -> int:
    from ipykernel.kernelapp import launch_new_instance

    from rnnlab.plots import style

    os.chdir(folder)
    style.DPI = 50  # coarse figures take less time
    launch_new_instance(argv=["-f", connection_file])
    return 0
