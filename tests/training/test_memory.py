"""What cannot fit into memory is refused before it is asked for."""

import numpy as np
import pytest
import torch

from rnnlab.common.errors import UserError
from rnnlab.config.config import Config
from rnnlab.config.overrides import override
from rnnlab.training.memory import check_memory, least_memory, out_of_memory
from rnnlab.training.models import build_model
from rnnlab.training.runs import run

SMALL = {"task": {"kind": "adding", "length": 5}, "cell": {"kind": "lstm", "hidden_size": 4}}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("cell.hidden_size", 10**8),
        ("training.batch_size", 2 * 10**12),
        ("training.eval_examples", 2 * 10**12),
        ("training.test_examples", 2 * 10**12),
    ],
)
def test_a_run_too_large_is_one_sentence(field: str, value: int) -> None:
    with pytest.raises(
        UserError, match=rf"{field} = {value} would take [\d,]+ GiB of memory at least, and this machine"
    ):
        run(Config.parse(override(SMALL, {field: value})))


def test_it_counts_every_weight_with_its_gradient() -> None:
    config = Config.parse(SMALL)
    weights = sum(p.numel() * p.element_size() for p in build_model(config).parameters() if p.requires_grad)
    assert least_memory(config)["cell.hidden_size"] == 2 * weights
    check_memory(config)


def test_want_of_memory_is_told_from_other_errors() -> None:
    for hungry in (lambda: torch.empty(1 << 50), lambda: np.empty(1 << 50), lambda: bytearray(1 << 60)):
        with pytest.raises((MemoryError, RuntimeError)) as error:
            hungry()
        assert out_of_memory(error.value)
    assert out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"))
    assert not out_of_memory(RuntimeError("shapes cannot be multiplied")) and not out_of_memory(ValueError("memory"))
