"""Runs what a result needs, from wherever an earlier start left it, and stores it on disk and in MLflow."""

import hashlib
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from rnnlab.common.files import read_sealed, write_sealed
from rnnlab.common.interrupts import Interrupted
from rnnlab.reproductions.base import Computation, Reproduction, Training, Values
from rnnlab.reproductions.criteria import Findings
from rnnlab.statistics.verdicts import Decision, Verdict, overall
from rnnlab.tracking.outbox import Entry, Outbox
from rnnlab.tracking.provenance import config_params, config_tags, cpu, git_commit
from rnnlab.tracking.run_state import RunState
from rnnlab.training.checkpoint import load_checkpoint
from rnnlab.training.runs import run

HOME = Path("runs/reproductions")
EXPERIMENT = "reproductions"
"""MLflow experiment of all results."""
PREFIX_UPDATES = 5
"""Updates of a run that are repeated to see whether the present code still does the same."""


@dataclass(frozen=True)
class Record:
    """What one run of one arm gave, and under which circumstances.

    Attributes:
        hash: names its settings.
        values: what was read out of it.
        seconds: wall time of one thread.
        prefix: SHA-256 of the weights after a few updates, or of what was computed; empty but for the first seed.
        cpu: the processor.
        commit: of the code.
    """

    hash: str
    values: Values
    seconds: float
    prefix: str
    cpu: str
    commit: str


@dataclass(frozen=True)
class Evidence:
    """What is known of a result.

    Attributes:
        result: the claim.
        records: by arm and seed, as far as there are any that belong to its present settings.
    """

    result: Reproduction
    records: dict[tuple[str, int], Record]

    @property
    def values(self) -> Findings:
        """By arm, one for each seed."""
        arms: dict[str, list[Values]] = {arm: [] for arm in self.result.experiment.arms}
        for (arm, _), record in sorted(self.records.items(), key=lambda item: item[0][1]):
            arms[arm].append(record.values)
        return arms

    @property
    def complete(self) -> bool:
        return len(self.records) == len(self.result.runs)

    @property
    def decisions(self) -> list[Decision]:
        """What is decided of each criterion; nothing before every seed is there, so that nobody stops at a good one."""
        found = self.values if self.complete else {}
        return [criterion.decide(found) for criterion in self.result.criteria]

    @property
    def verdict(self) -> Verdict:
        return overall(decision.verdict for decision in self.decisions)

    @property
    def seconds(self) -> float:
        return sum(record.seconds for record in self.records.values())


def examine(result: Reproduction, should_stop: Callable[[], bool] | None = None) -> Evidence:
    """Run everything here and now and store nothing, as tests of verdicts do."""
    return Evidence(result, {key: _measure(result, *key, should_stop=should_stop) for key in result.runs})


def stored(result: Reproduction, home: Path = HOME) -> Evidence:
    """What earlier starts have left of a result; records of other settings do not count."""
    found = {}
    for arm, seed in result.runs:
        path = _path(result, arm, seed, home)
        if path.exists():
            record = Record(**json.loads(read_sealed(path)))
            if record.hash == result.experiment.hash(arm, seed):
                found[arm, seed] = record
    return Evidence(result, found)


def carry_out(
    result: Reproduction, outbox: Outbox, parent: str, should_stop: Callable[[], bool], home: Path = HOME
) -> Iterator[tuple[str, int, Record]]:
    """Run what is missing of a result, one run after the other.

    Args:
        result: what to run.
        outbox: takes the runs to MLflow.
        parent: MLflow's id of the run of the whole result.
        should_stop: once true, the present run saves its checkpoint.
        home: where records are.

    Returns:
        Arm, seed and record of every run as it ends.

    Raises:
        Interrupted: if `should_stop` turned true.
    """
    there = stored(result, home).records
    for arm, seed in result.runs:
        if (arm, seed) in there:
            continue
        entry = outbox.entry(f"{result.name}/{arm}-{seed}")
        entry.discard()  # of a start that was killed before it wrote the record
        entry.open(_state(result, arm, seed, parent))
        path = _path(result, arm, seed, home)
        record = _measure(result, arm, seed, entry, path.with_suffix(".checkpoint.pt"), should_stop)
        write_sealed(path, json.dumps(asdict(record)).encode())
        yield arm, seed, record


def doubts(result: Reproduction, home: Path = HOME) -> list[str]:
    """Test whether stored records still belong to the present code.

    Returns:
        What does not, in words: runs of other settings, and beginnings that are no longer the same to the bit. The
        latter is tried on the first seed of every arm, and only where the processor is the one it was.
    """
    found = []
    for arm, seed in result.runs:
        path = _path(result, arm, seed, home)
        if not path.exists():
            continue
        record = Record(**json.loads(read_sealed(path)))
        if record.hash != result.experiment.hash(arm, seed):
            found.append(f"{arm}, seed {seed}: its settings are others now")
        elif record.prefix and record.cpu == cpu() and record.prefix != _prefix(result, arm, seed):
            found.append(f"{arm}, seed {seed}: the same settings give other numbers now")
    return found


def _measure(
    result: Reproduction,
    arm: str,
    seed: int,
    entry: Entry | None = None,
    checkpoint: Path | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Record:
    experiment, began = result.experiment, time.monotonic()
    if isinstance(experiment, Training):
        follow = None if entry is None else lambda _, curves: entry.follow(curves)
        done = run(experiment.config(arm, seed), checkpoint=checkpoint, on_evaluation=follow, should_stop=should_stop)
        values = dict(experiment.read(done))
        seconds = max(
            done.seconds, time.monotonic() - began
        )  # of starts before this one too; and what remedies prepare
        if entry is not None:
            entry.finish(done)
        if checkpoint is not None:
            checkpoint.unlink(missing_ok=True)
    else:
        assert isinstance(experiment, Computation)
        if should_stop is not None and should_stop():
            raise Interrupted("stopped between two runs")
        values = dict(experiment.compute(**experiment.settings(arm, seed)))
        seconds = time.monotonic() - began
        if entry is not None:
            numbers = {name: value for name, value in values.items() if isinstance(value, float)}
            assert entry.state is not None
            entry.end(replace(entry.state, summary={**numbers, "seconds": seconds}), "FINISHED", "finished")
    stored_here = entry is not None and seed == result.first_seed
    prefix = _prefix(result, arm, seed) if stored_here else ""
    return Record(experiment.hash(arm, seed), values, seconds, prefix, cpu(), git_commit())


def _prefix(result: Reproduction, arm: str, seed: int) -> str:
    """What a run comes to in its first updates, as a digest."""
    experiment = result.experiment
    if not isinstance(experiment, Training):
        values = experiment.measure(**experiment.settings(arm, seed))
        return hashlib.sha256(json.dumps(dict(values)).encode()).hexdigest()
    asked = 0

    def enough() -> bool:
        nonlocal asked
        asked += 1
        return asked == PREFIX_UPDATES

    with tempfile.TemporaryDirectory(prefix="rnnlab-") as folder:
        path = Path(folder, "checkpoint.pt")
        try:
            run(experiment.config(arm, seed), checkpoint=path, should_stop=enough)
        except Interrupted:
            state = load_checkpoint(path)
            assert state is not None
            weights = b"".join(tensor.numpy().tobytes() for tensor in state["model"].values())
            return hashlib.sha256(weights).hexdigest()
    return ""  # it diverged before


def _state(result: Reproduction, arm: str, seed: int, parent: str) -> RunState:
    experiment, tags, params = result.experiment, {}, {}
    if isinstance(experiment, Training):
        config = experiment.config(arm, seed)
        tags, params = config_tags(config), config_params(config)
    identity = {
        "mlflow.parentRunId": parent,
        "rnnlab.reproduction": result.name,
        "rnnlab.reproduction_run": experiment.hash(arm, seed),
    }
    tags = {**tags, "rnnlab.arm": arm, "rnnlab.command": f"rnnlab reproduce {result.name}"}
    return RunState(EXPERIMENT, f"{result.name} {arm} {seed}", identity, tags, params)


def _path(result: Reproduction, arm: str, seed: int, home: Path) -> Path:
    return home / result.name / f"{arm}-{seed}.json"
