"""Many seeds of one experiment by one command."""

import json
from pathlib import Path
from typing import Any

import pytest

from rnnlab.commands import seeds as command
from rnnlab.commands.seeds import run_seeds, summed_up
from rnnlab.commands.stored import CHECKPOINTS
from rnnlab.common.errors import UserError
from rnnlab.common.output import Output
from rnnlab.config.config import Config
from rnnlab.tracking.store import connect, experiment_id, tracking_uri
from rnnlab.training.progress import Progress
from rnnlab.training.runs import run

CONFIG = Config.parse(
    {
        "task": {"kind": "adding", "length": 5},
        "cell": {"kind": "gru", "hidden_size": 4},
        "training": {"steps": 6, "eval_every": 3, "eval_examples": 8, "test_examples": 8},
        "recording": {"points": 0},
        "seed": 5,
    }
)


def found() -> list[Any]:
    uri = tracking_uri()
    return list(connect(uri).search_runs([experiment_id(uri, "runs")]))


def stored() -> dict[int, Any]:
    return {int(run.data.params["seed"]): run for run in found()}


def test_every_seed_is_the_run_that_it_is_alone(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_seeds(CONFIG, 3, "three", Output(json=True))
    facts, runs = json.loads(capsys.readouterr().out), stored()
    assert sorted(runs) == [5, 6, 7]
    alone = [run(CONFIG.model_copy(update={"seed": seed})) for seed in runs]
    for result in alone:
        kept = runs[result.config.seed]
        assert kept.data.metrics["score"] == result.test_score and kept.info.status == "FINISHED"
        assert kept.data.tags["rnnlab.config_hash"] == result.config.hash
    assert facts["seeds"] == 3 and facts["score"][0] == pytest.approx(sum(r.test_score for r in alone) / 3)
    assert list(CHECKPOINTS.iterdir()) == []


def test_a_seed_that_raises_has_failed_and_is_tried_again(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = Progress.next_batch

    def broken(self: Progress) -> Any:
        if self.config.seed == 6 and self.step == 2:
            raise ZeroDivisionError("no such luck")
        return draw(self)

    with monkeypatch.context() as luck:
        luck.setattr(Progress, "next_batch", broken)
        with pytest.raises(ZeroDivisionError):
            run_seeds(CONFIG, 3, "three", Output(quiet=True))
    (failed,) = [run for run in found() if run.info.status == "FAILED"]
    assert failed.data.params["seed"] == "6" and failed.data.tags["rnnlab.reason"] == "ZeroDivisionError: no such luck"
    run_seeds(CONFIG, 3, "three", Output(quiet=True))
    finished = sorted(run.data.params["seed"] for run in found() if run.info.status == "FINISHED")
    assert finished == ["5", "6", "7"] and len(found()) == 4


def test_an_interrupted_command_goes_on(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stopped(list[int]):
        asked = 0

        def __bool__(self) -> bool:
            self.asked += 1
            return self.asked > 7

    with monkeypatch.context() as kill:
        kill.setattr(command, "signals_caught", lambda **_: _Entered(Stopped()))
        with pytest.raises(SystemExit) as left:
            run_seeds(CONFIG, 3, "three", Output(quiet=True))
    assert left.value.code == 130 and len(list(CHECKPOINTS.rglob("*.pt"))) == 3
    run_seeds(CONFIG, 3, "three", Output(quiet=True))
    assert {seed: kept.data.metrics["score"] for seed, kept in stored().items()} == {
        seed: run(CONFIG.model_copy(update={"seed": seed})).test_score for seed in (5, 6, 7)
    }


class _Entered:
    def __init__(self, value: Any) -> None:
        self.value = value

    def __enter__(self) -> Any:
        return self.value

    def __exit__(self, *_: object) -> None:
        pass


def test_what_came_of_them_is_summed_up_with_intervals() -> None:
    solved = [{"score": 0.01, "solved": 1.0, "steps_to_solve": 100.0 + k} for k in range(8)]
    others = [{"score": 0.17, "solved": 0.0}, {"score": float("nan"), "solved": 0.0}]
    facts = summed_up(CONFIG, [*solved, *others])
    value, low, high = facts["solved"]
    assert value == 0.8 and low < 0.8 < high
    assert facts["score"][0] == pytest.approx((8 * 0.01 + 0.17) / 9) and facts["without_score"] == 1
    assert 100 <= facts["steps_to_solve"][0] <= 107


@pytest.mark.parametrize("seeds", [-1, 0, 1, 10_001])
def test_a_number_that_makes_no_sense_is_refused(seeds: int) -> None:
    with pytest.raises(UserError, match=rf"--seeds {seeds} is not allowed: choose from 2 to 10000"):
        run_seeds(CONFIG, seeds, "none", Output(quiet=True))
