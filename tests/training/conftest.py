"""Passes that several runs take together, counted."""

from collections.abc import Sequence
from typing import Any

import pytest

from rnnlab.training.program import Program


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Members of every pass that computed gradients together; one that fails is tried alone, and would go unnoticed."""
    members: list[int] = []
    go_back = Program.go_back_together

    def follow(self: Program, rows: Sequence[int], *rest: Any) -> Any:
        losses = go_back(self, rows, *rest)
        members.append(len(rows))
        return losses

    monkeypatch.setattr(Program, "go_back_together", follow)
    return members
