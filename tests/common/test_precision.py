"""The setting of a whole process outlives no block, whichever thread ends first."""

from typing import Any

import torch

from rnnlab.common.precision import whole_float32


def test_blocks_that_overlap_leave_the_setting_as_it_was():
    rnn: Any = torch.backends.cudnn.rnn
    before = rnn.fp32_precision
    one, other = whole_float32(), whole_float32()
    one.__enter__()
    other.__enter__()
    one.__exit__(None, None, None)
    assert rnn.fp32_precision == "ieee"
    other.__exit__(None, None, None)
    assert rnn.fp32_precision == before != "ieee"
