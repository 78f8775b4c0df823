"""Every Python block in README and docs runs; blocks of one file run in order in one process."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from rnnlab.sweep.definition import SweepDefinition

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("path", [p for p in DOCUMENTS if blocks(p, "python")], ids=lambda p: p.name)
def test_python_blocks_run(path, tmp_path):
    # A document shows files to be added and then uses them, so registering comes before configuration is built.
    script = tmp_path / "document.py"
    script.write_text("\n".join(blocks(path, "python")), encoding="utf-8")
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_the_sweep_in_the_readme_is_valid():
    (text,) = blocks(ROOT / "README.md", "yaml")
    definition = SweepDefinition.parse(yaml.safe_load(text))
    assert [plan.arm for plan in definition.plan()] == ["zero", "one"]


def test_links_and_pictures_exist():
    for path in DOCUMENTS:
        for target in re.findall(r"\]\((?!http|#)([^)]+)\)", path.read_text(encoding="utf-8")):
            assert (path.parent / target).exists(), f"{path.name}: {target}"
