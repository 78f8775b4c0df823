"""What is shown of a sweep: right numbers, in 80 columns and 24 lines."""

import io
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from rnnlab.sweep.plan.definition import SweepDefinition
from rnnlab.sweep.show.arms_table import arms_table
from rnnlab.sweep.show.display import LineDisplay, LiveDisplay, make_display
from rnnlab.sweep.store.state import Counts, StudyState, SweepState

ARMS = ["tanh", "relu", "softsign", "batch-norm", "residual", "truncated-25", "clip-1.0", "lstm", "gru", "irnn"]
ARMS += ["chrono-lstm", "everything-together-at-once"]


def sweep_state(tiny: dict[str, Any], tasks: int, search_done: int, final_done: int, failed: int = 0) -> SweepState:
    """Twelve arms that are all equally far."""
    entries = [{"kind": "adding", "length": 100 * (k + 1)} for k in range(tasks)]
    definition = SweepDefinition.parse(
        tiny
        | {
            "arms": {arm: {"cell.hidden_size": k + 1} for k, arm in enumerate(ARMS)},
            "tasks": entries,
            "trials": 40,
            "seeds": 10,
        }
    )
    search, final = Counts(40, search_done, failed, 1), Counts(10, final_done, 0, 0)
    studies = [StudyState(plan, search, final, 0.012345, 6.0, (), (), False) for plan in definition.studies]
    return SweepState("tiny", tuple(studies))


def console(terminal: bool) -> Console:
    return Console(file=io.StringIO(), width=80, height=24, force_terminal=terminal, color_system=None)


def shown(on: Console) -> list[str]:
    assert isinstance(on.file, io.StringIO)
    return on.file.getvalue().splitlines()


@pytest.mark.parametrize("tasks", [1, 2, 3])
def test_twelve_arms_fit_a_small_terminal(tiny: dict[str, Any], tasks: int) -> None:
    display = LiveDisplay(console(terminal=True), workers=2)
    display.show(sweep_state(tiny, tasks, search_done=30, final_done=0, failed=2))
    on = console(terminal=False)
    on.print(display.live.get_renderable())
    lines = shown(on)
    assert len(lines) < 24 and max(map(len, lines)) <= 80
    rows = [line.split() for line in lines if "searching" in line]
    assert [row[0] for row in rows] == [arm if len(arm) <= 18 else f"{arm[:17]}…" for arm in ARMS]
    best = ["0.01235"] * tasks if tasks < 3 else []
    assert rows[0][1:] == [f"{30 * tasks}/{40 * tasks}", f"0/{10 * tasks}", f"{2 * tasks}", *best, "searching"]
    assert f"{360 * tasks}/{600 * tasks} done, {24 * tasks} failed" in lines[-1]
    assert "".join(lines).count("adding-") == len(best) and "".join(lines).count("best in") == len(best)


def test_a_long_name_of_a_task_is_whole_where_there_is_room(tiny: dict[str, Any]) -> None:
    definition = SweepDefinition.parse(tiny | {"tasks": [{"kind": "associative_recall", "pairs": 4}]})
    counts = Counts(3, 1, 0, 1)
    plans = definition.studies
    state = SweepState("tiny", tuple(StudyState(plan, counts, counts, 0.5, 6.0, (), (), False) for plan in plans))
    on = console(terminal=False)
    on.print(arms_table(state))
    assert plans[0].task in shown(on)[1]


def test_time_left_is_what_is_open_shared_by_what_runs_at_once(tiny: dict[str, Any]) -> None:
    state = sweep_state(tiny, tasks=1, search_done=38, final_done=0, failed=2)
    assert state.all_slots.running == 12
    assert state.seconds_left(workers=2) == 12 * 10 * 6.0 / 12
    assert state.seconds_left(workers=30) == 12 * 10 * 6.0 / 30


def test_time_left_counts_every_seed_of_a_search_trial(tiny: dict[str, Any]) -> None:
    state = sweep_state(tiny, tasks=1, search_done=38, final_done=0)
    studies = tuple(replace(study, search_seeds=3) for study in state.studies)
    assert replace(state, studies=studies).seconds_left(workers=2) == 12 * (2 * 3 + 10) * 6.0 / 12


def test_a_log_file_gets_each_phase_once(tiny: dict[str, Any]) -> None:
    on = console(terminal=False)
    with make_display(on, workers=2) as display:
        assert isinstance(display, LineDisplay)
        for search, final in [(0, 0), (39, 0), (40, 0), (40, 5), (40, 5), (40, 10)]:
            display.show(sweep_state(tiny, tasks=1, search_done=search, final_done=final))
    lines = [line for line in shown(on) if line.startswith("adding-100/tanh:")]
    assert lines == [f"adding-100/tanh: {word}, best in search 0.01235" for word in ("retraining", "done")]
    assert shown(on)[-1].startswith("600/600 done") and "\x1b" not in "".join(shown(on))
