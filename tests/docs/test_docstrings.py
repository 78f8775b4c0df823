"""Examples in docstrings are true."""

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in sorted((ROOT / "rnnlab").rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
]


def test_there_are_examples():
    assert len(MODULES) >= 10


@pytest.mark.parametrize("name", MODULES)
def test_examples_show_what_their_code_gives(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # for what they write
    failed, tried = doctest.testmod(importlib.import_module(name))
    assert tried and not failed
