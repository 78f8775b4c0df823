"""Two stored sweeps beside each other: what came out otherwise is named first, and page and tables say the same."""

import io
import json
import re
import shutil
import sqlite3
from dataclasses import replace

import pandas as pd
import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from rnnlab.commands.cli import app
from rnnlab.commands.compare import as_dict, print_comparison
from rnnlab.common.errors import UserError
from rnnlab.common.text import interval
from rnnlab.report.comparison import Comparison, Side, compare
from rnnlab.report.comparison_page import repeats, write_comparison
from rnnlab.tracking.reader import load_sweep

pytestmark = pytest.mark.slow
CHANGED = {"task": "adding-8", "arm": "lstm", "phase": "final"}


@pytest.fixture(scope="module")
def other_store(small_sweep, tmp_path_factory) -> str:
    """The same sweep from another machine, on which one run came to another score and one is still to come."""
    runs = load_sweep("small", small_sweep)
    ids = runs.query("task == 'adding-8' and arm == 'lstm' and phase == 'final'").sort_values("seed")["run_id"].tolist()
    path = shutil.copy(small_sweep.removeprefix("sqlite:///"), tmp_path_factory.mktemp("other"))
    with sqlite3.connect(path) as database:
        database.execute("UPDATE latest_metrics SET value = value / 2 WHERE run_uuid = ? AND key = 'score'", ids[:1])
        database.execute("UPDATE tags SET value = 'running' WHERE run_uuid = ? AND key = 'rnnlab.outcome'", ids[1:])
        database.execute("UPDATE tags SET value = 'another' WHERE key = 'rnnlab.cpu'")
    database.close()
    return f"sqlite:///{path}"


@pytest.fixture(scope="module")
def both(small_sweep, other_store) -> Comparison:
    return compare("small", "small", small_sweep, other_store)


def test_the_same_run_with_another_result_is_named(both, small_sweep):
    (row,) = both.changed.to_dict("records")
    assert {name: row[name] for name in CHANGED} == CHANGED and row["differs"] == ("score",)
    assert row["score_b"] == row["score_a"] / 2
    ended = load_sweep("small", small_sweep)["outcome"].isin(["finished", "solved", "diverged"]).to_numpy().sum()
    assert len(both.repeats) == ended - 1
    assert repeats(both) == (
        f"Of {ended - 1} runs that A and B have with the same configuration, **1 came to another result**: what made "
        "them differs in processor."
    )
    assert both.differences == []


def test_what_is_finished_is_compared_and_what_is_not_is_counted(both):
    unfinished = [text for text in both.cautions if "not finished" in text]
    assert unfinished == ["B is not finished: 1 of its 8 runs on fresh seeds have no result; what has one is compared."]
    assert len(both.contrasts) == 4


def test_the_page_tells_all_of_it_the_changed_run_first(both, tmp_path, coarse):
    page = write_comparison(both, tmp_path / "out")
    markdown = page.with_suffix(".md").read_text()
    sections = re.findall(r"^## (.*)$", markdown, re.MULTILINE)
    assert sections[:3] == ["The same run, another result", "In short", "Cautions"]
    assert {"adding-8", "delayed_recall-5"} <= set(sections)
    for row in both.contrasts.to_dict("records"):
        gain = interval(row["difference"], row["difference_low"], row["difference_high"])
        assert f"| {row['arm']} |" in markdown and gain in markdown
    assert markdown.count("](figures/difference-") == page.read_text().count("data:image/png;base64,") == 2
    assert "| processor |" in markdown and "| another |" in markdown
    for name in ("contrasts", "sides", "repeats"):
        assert len(pd.read_csv(page.with_name(f"{name}.csv"))) == len(getattr(both, name))


def test_two_arms_of_two_sweeps_are_one_row_a_task(small_sweep, other_store):
    crossed = compare("small/tanh", "small/lstm", small_sweep, other_store)
    assert crossed.contrasts["arm"].tolist() == ["tanh / lstm"] * 2 and len(crossed.repeats) == 0
    assert "cell.kind" in {difference.name for difference in crossed.differences}
    assert compare("small", "small/lstm", small_sweep, other_store).contrasts["arm"].tolist() == ["lstm"] * 2


def test_what_cannot_be_compared_is_refused_in_a_sentence(small_sweep, other_store):
    for a, b, uri, message in (
        ("small", "small", small_sweep, "'small' stands on both sides"),
        ("small", "smal", other_store, "holds no sweep 'smal': did you mean 'small'"),
        ("small/lsmt", "small", other_store, "sweep 'small' has no arm 'lsmt': did you mean 'lstm'"),
    ):
        with pytest.raises(UserError, match=message):
            compare(a, b, small_sweep, uri)


def test_the_terminal_and_programs_are_told_the_same(small_sweep, other_store, both, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", small_sweep)

    def told(*options: str) -> Result:
        return CliRunner().invoke(app, ["compare", "small", "small", "--store-b", other_store, *options])

    text, facts = told().stdout, json.loads(told("--json").stdout)
    assert text.index("1 came to another result") < text.index("adding-8/lstm, seed 1000: score; scores")
    assert "caution: B is not finished" in text and "processor: " in text
    assert all(len(line) <= 80 for line in text.splitlines() if line.startswith(" "))
    assert [row["difference"] for row in facts["contrasts"]] == both.contrasts["difference"].tolist()
    assert facts["changed"][0]["score_b"] == both.changed["score_b"].iloc[0] and facts["page"] is None


def test_what_one_sweep_has_alone_is_a_sentence_for_each_side_everywhere(both, tmp_path, coarse):
    def grown(side: Side, *arms: str) -> Side:
        definition = side.sweep.definition
        more = {**definition.arms, **dict.fromkeys(arms, definition.arms["tanh"])}
        return replace(side, sweep=replace(side.sweep, definition=definition.model_copy(update={"arms": more})))

    unlike = replace(both, a=grown(both.a, "gru"), b=grown(both.b, "lru", "lem"))
    sentences = [
        "Compared with nothing, as A alone has them: arm gru.",
        "Compared with nothing, as B alone has them: arms lru and lem.",
    ]
    said = io.StringIO()
    print_comparison(unlike, Console(file=said))
    page = write_comparison(unlike, tmp_path / "out").with_suffix(".md").read_text()
    for text in (said.getvalue(), page):
        assert [line for line in text.splitlines() if "alone" in line] == sentences
    assert as_dict(unlike)["alone"] == sentences and as_dict(both)["alone"] == []
