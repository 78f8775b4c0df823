"""The page of a running sweep: whole whenever it is read, honest about what is missing, at rest once the sweep ends."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from rnnlab.commands.follow import follow
from rnnlab.common.errors import UserError
from rnnlab.common.output import Output
from rnnlab.report import live
from rnnlab.report.live import LivePage
from rnnlab.sweep.plan.outline import StudyKey
from rnnlab.sweep.runner import run_sweep
from rnnlab.sweep.show.status import Status
from rnnlab.sweep.store.state import Counts, StudyState, SweepState

SEARCHING = {"search": Counts(2, 1, 0, 1), "final": Counts(5, 0, 0, 0)}
RETRAINING = {"search": Counts(2, 1, 1, 0), "final": Counts(5, 2, 0, 2)}
DONE = {"search": Counts(2, 2, 0, 0), "final": Counts(2, 2, 0, 0)}


def status(tanh: dict[str, Counts], lstm: dict[str, Counts]) -> Status:
    """The sweep `small` with one more arm, as it stands on its first task; on the second nothing has begun."""
    arms = {"tanh": tanh, "lstm": lstm, "gru": SEARCHING}
    lost = {"failures": ("adding-8/tanh search 1: out of memory",), "retries": (), "best": None, "seconds": 3.0}
    studies = [
        StudyState(StudyKey(task, arm), **(counts if task == "adding-8" else SEARCHING), **lost, closed=False)
        for task in ("adding-8", "delayed_recall-5")
        for arm, counts in arms.items()
    ]
    return Status(SweepState("small", tuple(studies)), parent=True, workers=("7",), command="rnnlab sweep small.yaml")


@pytest.fixture
def page(small_sweep: str, tmp_path: Path, coarse: None) -> Iterator[LivePage]:
    with LivePage.of("small", tmp_path, small_sweep) as page:
        yield page


@pytest.mark.slow
def test_what_is_missing_is_said_of_every_arm(page: LivePage) -> None:
    text = page.renew(status(RETRAINING, DONE | {"final": Counts(3, 3, 0, 0)}), 60).read_text()
    assert text.count('<meta http-equiv="refresh" content="60">') == 1
    plain = text.replace("\N{NO-BREAK SPACE}", " ")
    for cell in (
        "seeds 2/5, 1 failed",
        "search 1/2",
        "done",
        "2 of 5, retraining",
        "2 of 3, on the way to MLflow",
        "0 of 5, searching",
    ):
        assert f">{cell}</td>" in plain
    assert "not tested against each other before the end" in text and "out of memory" in text
    assert text.count("data:image/png;base64,") == 2 and page.out.joinpath("live.html").exists()


@pytest.mark.slow
def test_only_what_has_changed_is_drawn_again(page: LivePage, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    monkeypatch.setattr(live, "ablation_forest", lambda runs: drawn.append(len(runs)) or forest(runs))
    for now in (status(RETRAINING, DONE), status(RETRAINING, DONE), status(DONE, DONE)):
        page.renew(now, 60)
    assert len(drawn) == 2 + 1  # both tasks, none, the one in which an arm is done now


forest = live.ablation_forest


def test_where_results_cannot_be_read_progress_is_told(tmp_path: Path) -> None:
    with LivePage.of("small", tmp_path, f"sqlite:///{tmp_path / 'none.db'}") as page:
        text = page.renew(status(RETRAINING, DONE), 60).read_text()
    assert (
        "Results cannot be read at the moment: there is no tracking store" in text
        and "seeds\N{NO-BREAK SPACE}2/5" in text
    )


@pytest.mark.slow
def test_a_running_sweep_is_followed_to_its_end(workplace: Path, write_sweep, own_workers: None) -> None:
    path, done, seen = write_sweep(arms={"tanh": {}}), threading.Event(), []

    def look() -> None:
        while not done.is_set():
            if (workplace / "out/live.html").exists():
                seen.append((workplace / "out/live.html").read_text())
            time.sleep(0.02)

    def follow_it() -> None:
        while not Path("runs/sweeps/tiny/outline.json").exists():
            time.sleep(0.05)
        follow("tiny", workplace / "out", 0.3, None, Output(quiet=True))

    threads = [threading.Thread(target=target) for target in (look, follow_it)]
    for thread in threads:
        thread.start()
    state = run_sweep(path, workers=1, console=Console(quiet=True))
    threads[1].join()
    done.set()
    threads[0].join()
    seen.append((workplace / "out/live.html").read_text())
    assert state.complete and len(set(seen)) > 2
    assert all(text.startswith("<!doctype html>") and text.rstrip().endswith("</html>") for text in seen)
    running, last = [text for text in seen if "Sweep tiny, running" in text], seen[-1]
    assert running and all('http-equiv="refresh"' in text for text in running)
    assert "Sweep tiny, complete" in last and "refresh" not in last and 'href="report.html"' in last
    assert sorted(path.name for path in (workplace / "out").iterdir()) == ["live.html"]


def test_an_unknown_sweep_has_no_page(workplace: Path) -> None:
    with pytest.raises(UserError, match="there is no sweep 'none'"):
        follow("none", workplace / "out", 1, None, Output())
    assert not (workplace / "out").exists()
