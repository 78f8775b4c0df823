"""What a machine is asked for before anything is started on it."""

import pytest

from rnnlab.common.machine import usable_gpus


@pytest.mark.parametrize(
    ("named", "found"), [("", []), ("-1", []), ("0", ["0"]), ("2, 3", ["2", "3"]), ("GPU-8f1e", ["GPU-8f1e"])]
)
def test_the_gpus_that_are_visible(monkeypatch, named, found):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    assert usable_gpus() == found
