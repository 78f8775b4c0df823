"""Every command in README and docs: its target or its options exist, and it is run, made shorter where it is long.

Commands of one page run in order in one folder that holds experiments/ and sweeps/. One that cannot be run here says so
in its comment, with the words of `NOT_RUN`; it is parsed all the same.
"""

import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest
import typer
import yaml
from typer.testing import CliRunner

from rnnlab.commands.cli import app
from rnnlab.config.overrides import override

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
NOT_RUN = "(not run by the tests)"

SHORT_RUN = ["training.steps=20", "training.eval_every=10", "training.test_examples=20", "recording.points=2"]
"""What every `rnnlab run` gets beside its own arguments."""
SHORT_SEEDS = ["recording.points=0"]
"""And one of many seeds, each of which would have figures drawn that a single run has too."""
SHORT_SWEEP = {"trials": 1, "seeds": 1, "workers": 1, "base.recording.points": 2}
SHORT_SWEEP |= {"base.training.steps": 4, "base.training.eval_every": 2}
"""What is changed in the definition of every sweep that a page shows."""


class Command(NamedTuple):
    """A line of a sh block."""

    words: list[str]
    is_run: bool


def fenced(path: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def commands(path: Path) -> list[Command]:
    """The commands of a page, in order; settings of the environment before one are left out."""
    lines = "\n".join(fenced(path, "sh")).replace("\\\n", " ").splitlines()
    parsed = [(shlex.split(line, comments=True), NOT_RUN not in line) for line in lines]
    return [Command([w for w in words if not re.match(r"[A-Z_]+=", w)], runs) for words, runs in parsed if words]


EVERY = [pytest.param(c, id=f"{p.name}: {' '.join(c.words)}") for p in DOCUMENTS for c in commands(p)]


@pytest.mark.parametrize("command", EVERY)
def test_a_command_exists(command):
    program, *arguments = command.words
    if program == "make":
        done = subprocess.run(["make", "--dry-run", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    elif program == "rnnlab":
        group = typer.main.get_command(app)
        name, subcommand, rest = group.resolve_command(group.context_class(group), arguments)  # type: ignore[attr-defined]
        subcommand.make_context(name, rest)  # refuses what it has no option for
    else:
        assert not command.is_run, f"'{' '.join(command.words)}' is not ours: say {NOT_RUN} in its comment"


@pytest.mark.slow
@pytest.mark.parametrize("path", [p for p in DOCUMENTS if commands(p)], ids=lambda p: p.name)
def test_commands_run_one_after_the_other(path, workplace, own_workers, plugged):
    for folder in ("experiments", "sweeps"):
        shutil.copytree(ROOT / folder, workplace / folder)
    ours = [words[1:] for words, is_run in commands(path) if words[0] == "rnnlab" and is_run]
    for arguments in ours:
        for name in arguments:
            if name.endswith(".yaml") and not Path(name).exists():  # the file that the page shows
                (shown,) = fenced(path, "yaml")
                Path(name).write_text(yaml.safe_dump(override(yaml.safe_load(shown), SHORT_SWEEP)))
            if name.endswith(".py") and not Path(name).exists():  # the block that registers something
                Path(name).write_text(
                    next(c for c in fenced(path, "python") if re.search(r"^(@|register\()", c, re.MULTILINE))
                )
        extra = SHORT_RUN if arguments[0] == "run" else []
        extra = [*extra, *SHORT_SEEDS] if "--seeds" in arguments else extra
        done = CliRunner().invoke(app, [*arguments, *extra], catch_exceptions=False)
        assert done.exit_code == 0, f"rnnlab {' '.join(arguments)}\n{done.output}"
        assert done.stdout.strip()


def test_targets_named_in_the_text_exist():
    known = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for path in DOCUMENTS:
        named = set(re.findall(r"`make ([a-z-]+)`", path.read_text(encoding="utf-8")))
        assert named <= known, path.name
