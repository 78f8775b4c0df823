"""YAML is read as it looks, or refused in one sentence."""

from pathlib import Path
from typing import Any

import pytest

from rnnlab.common.errors import UserError
from rnnlab.config.overrides import parse_overrides, read_yaml


def read(folder: Path, text: str) -> dict[str, Any]:
    (folder / "x.yaml").write_text(text)
    return read_yaml(folder / "x.yaml")


def test_merged_mappings_join_and_own_fields_win(tmp_path: Path) -> None:
    text = "a: &a {x: 1, z: 5}\nb: &b {<<: *a, x: 2}\nc: {<<: *b, y: 3}\nd: {<<: [*a, *b], z: 6}\n"
    read_so = {"a": {"x": 1, "z": 5}, "b": {"x": 2, "z": 5}, "c": {"x": 2, "z": 5, "y": 3}, "d": {"x": 1, "z": 6}}
    assert read(tmp_path, text) == read_so
    assert parse_overrides(["cell={<<: {kind: gru}, hidden_size: 3}"]) == {"cell": {"kind": "gru", "hidden_size": 3}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("arms: {on: {}}", "key on is read as True and not as a name: quote it, 'on'"),
        ("no: 1", "key no is read as False and not as a name: quote it, 'no'"),
        ("1: 2", "key 1 is read as 1"),
        ("~: 2", "key ~ is read as None"),
        ("? [a, b]\n: 2", "key [a, b] is read as ['a', 'b']"),
        ("a: &a {b: *a}", "anchor 'a' stands inside what it names"),
        ("a: &a [[*a]]", "anchor 'a' stands inside what it names"),
        ("a: 1\na: 2", "key 'a' stands twice"),
        ("a: {<<: {x: 1}, <<: {x: 2}}", "key '<<' stands twice"),
        ("a: " + "[" * 2000 + "]" * 2000, "it is nested too deeply"),
    ],
)
def test_what_would_be_read_as_something_else_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match="is not valid YAML") as error:
        read(tmp_path, text)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_a_quoted_key_is_a_name(tmp_path: Path) -> None:
    assert read(tmp_path, "arms: {'on': {}}") == {"arms": {"on": {}}}


def test_overrides_are_read_likewise() -> None:
    for item, message in {"a=&a [*a]": "stands inside what it names", "a={on: 3}": "quote it, 'on'"}.items():
        with pytest.raises(UserError, match=message):
            parse_overrides([item])
