"""The table of probes in the documentation says what the probes say of themselves."""

import re
from pathlib import Path

from rnnlab.probes.base import select

DOCUMENT = Path(__file__).parents[2] / "docs" / "probes.md"


def test_every_probe_has_its_row_with_preset_and_cost():
    rows = re.findall(r"^\| `(\w+)` \|.*\| (\w+) \| ([^|]+) \|$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(rows) == sorted((p.name, p.preset, p.cost) for p in select("full"))


def test_presets_contain_one_another():
    light, standard, full = ({p.name for p in select(preset)} for preset in ("light", "standard", "full"))
    assert {"total_gradient", "horizon", "underflow"} <= light < standard < full
