"""Reads the file of an offline run of Weights & Biases, as the program that uploads it does."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HEAD, BLOCK = 7, 1 << 15
"""Bytes before the first record and before each piece of one, and of a block, which no piece crosses."""
WHOLE, LAST = 1, 4


def rows(path: Path) -> list[dict[str, Any]]:
    """What was logged, a row for each commit."""
    from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]

    records = [Record.FromString(data) for data in _records(path.read_bytes())]
    logged = [record.history.item for record in records if record.WhichOneof("record_type") == "history"]
    return [{"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in row} for row in logged]


def axes(path: Path) -> dict[str, str]:
    """What names are drawn against, by name or pattern."""
    from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]

    metrics = [Record.FromString(data).metric for data in _records(path.read_bytes())]
    return {metric.name or metric.glob_name: metric.step_metric for metric in metrics if metric.step_metric}


def _records(data: bytes) -> Iterator[bytes]:
    place, record = HEAD, b""
    while place + HEAD <= len(data):
        if BLOCK - place % BLOCK < HEAD:  # what is left of a block is empty
            place += BLOCK - place % BLOCK
            continue
        length, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        record += data[place + HEAD : place + HEAD + length]
        place += HEAD + length
        if kind in (WHOLE, LAST):
            yield record
            record = b""
