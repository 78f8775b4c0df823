"""Workers of one machine share its GPUs."""

import sys
from pathlib import Path
from typing import Any

import pytest

from rnnlab.sweep.work import pool


@pytest.mark.parametrize(("visible", "given"), [("4,6", ["4", "6", "4"]), ("", ["", "", ""])])
def test_each_worker_sees_one_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, visible, given):
    """Processes that print what they see stand in for workers."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    show, popen = "import os; print(repr(os.environ['CUDA_VISIBLE_DEVICES']))", pool.subprocess.Popen

    def start(command: list[str], **options: Any) -> Any:
        return popen([sys.executable, "-c", show], **options)

    monkeypatch.setattr(pool.subprocess, "Popen", start)
    workers = pool.WorkerPool(tmp_path, 3, "sqlite:///none")
    workers.start()
    for process in workers.processes.values():
        process.wait()
    assert [Path(workers.log(index)).read_text().strip() for index in range(3)] == [repr(each) for each in given]
