"""A report says what is in the store, all of it, in files that need nothing else."""

import base64
import html
import re
import shlex
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import matplotlib.image
import pandas as pd
import pytest
from forked import start_server
from markdown_it import MarkdownIt

from rnnlab.commands.resolve import resolve
from rnnlab.common import plugins
from rnnlab.common.errors import UserError
from rnnlab.common.text import chance, median, number
from rnnlab.plots import style
from rnnlab.report import drawing
from rnnlab.report.analysis import analyse
from rnnlab.report.publish import publish
from rnnlab.report.report import read_sweep, write_report
from rnnlab.statistics.ablation import ablation_table, comparison_table, solve_table
from rnnlab.tracking.reader import load_sweep
from rnnlab.tracking.writer import start_parent

pytestmark = pytest.mark.slow


COARSE = "from rnnlab.plots import style\n\nstyle.DPI = 50\n"


@pytest.fixture(scope="module", autouse=True)
def coarse_everywhere(tmp_path_factory) -> Iterator[Path]:
    """A file of the user's own by which every process that draws draws coarse figures, in half the time."""
    own = tmp_path_factory.mktemp("own") / "coarse.py"
    own.write_text(COARSE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(style, "DPI", style.DPI)
        patch.setattr(plugins, "_files", {})
        patch.setattr(plugins, "_sources", {})
        plugins.import_files([str(own)])
        yield own


@pytest.fixture
def two_drawers(monkeypatch) -> None:
    """Figures are drawn by two processes, which find imported what they need."""
    start_server()
    monkeypatch.setattr(drawing, "usable_cores", lambda: 2)


@pytest.fixture(scope="module")
def report(small_sweep, tmp_path_factory) -> Path:
    """Folder of a report, written into a folder that holds something already."""
    out = tmp_path_factory.mktemp("report")
    (out / "figures").mkdir()
    for kept in ("notes.md", "figures/mine.png"):
        (out / kept).write_text("mine")
    assert write_report("small", out, small_sweep) == out / "report.html"
    return out


@pytest.fixture(scope="module")
def markdown(report) -> str:
    return (report / "report.md").read_text()


@pytest.fixture(scope="module")
def page(report) -> str:
    return (report / "report.html").read_text()


@pytest.fixture
def few_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports without the figures of single tasks, where nobody looks at them: they take most of the time."""
    monkeypatch.setattr("rnnlab.report.drawing.task_figures", lambda *_: [])


def tables(page: str) -> list[list[list[str]]]:
    """Cells of every table of a page, wherever their lines may break."""
    page = page.replace("\N{NO-BREAK SPACE}", " ")
    parts = [part.partition("</table>")[0] for part in page.split("<table>")[1:]]
    found = [re.findall(r"<tr>(.*?)</tr>", part, re.DOTALL) for part in parts]
    return [[[re.sub("<.*?>", "", c) for c in re.findall(r"<t[hd].*?>(.*?)</t[hd]>", row)] for row in t] for t in found]


def under(found: list[list[list[str]]], column: str) -> list[list[list[str]]]:
    """The tables that have a column of this name."""
    return [table for table in found if column in table[0]]


def test_every_row_of_the_table_is_in_markdown_and_html(small_sweep, markdown, page):
    table = ablation_table(load_sweep("small", small_sweep))
    rendered = MarkdownIt("commonmark").enable("table").render(markdown)
    for shown in (tables(page), tables(rendered)):
        grouped = table.groupby("task", sort=False)
        for cells, (_, rows) in zip(under(shown, "Decay at start"), grouped, strict=True):
            body = [dict(zip(cells[0], row, strict=True)) for row in cells[1:]]
            for cell, row in zip(body, rows.to_dict("records"), strict=True):
                score, middle = (
                    f"{number(row[x])} [{number(row[low])}, {number(row[high])}]"
                    for x, low, high in (("score", "low", "high"), ("iqm", "iqm_low", "iqm_high"))
                )
                assert cell["Arm"] == row["arm"] and cell["Tuned optimizer.lr"] == number(row["learning_rate"])
                assert cell[f"{row['score_name']} [95%]"] == score and cell["Middle half [95%]"] == middle
                assert cell["Solved [95%]"].startswith(f"{row['solved']} of {row['seeds']} ")
                bounds = (row[x] for x in ("steps_to_solve", "steps_low", "steps_high"))
                assert html.unescape(cell["Steps to solve [95%]"]) == median(*bounds, limit=8)
                assert cell["Diverged [95%]"].startswith(f"{row['diverged']} of 2 ")
                assert cell["Failed"] == str(row["failed"])
                assert cell["Decay at start"] == number(row["decay_rate_init"])
                assert cell["Decay at end"] == number(row["decay_rate"])


def test_arms_are_held_against_the_plain_one_where_there_is_one(
    small_sweep, tmp_path, monkeypatch, markdown, few_figures
):
    assert "Beats" not in markdown  # both arms of the sweep change something
    monkeypatch.setattr("rnnlab.report.analysis.plain_arm", lambda definition: "tanh")
    write_report("small", tmp_path, small_sweep)
    contests = comparison_table(load_sweep("small", small_sweep), "tanh")
    page = (tmp_path / "report.html").read_text()
    for cells, contest in zip(under(tables(page), "p (Holm)"), contests.to_dict("records"), strict=True):
        by_arm = {row[0]: dict(zip(cells[0], row, strict=True)) for row in cells[1:]}
        assert by_arm["tanh"]["Beats tanh [95%]"] == by_arm["tanh"]["p (Holm)"] == "–"
        assert by_arm["lstm"]["Beats tanh [95%]"].startswith(f"{contest['probability']:.2f} [")
        assert by_arm["lstm"]["p (Holm)"] == chance(contest["p_reference"])


def test_factors_budget_and_all_tasks_have_their_tables(page):
    found = tables(page)
    (factors,) = under(found, "Factor")
    assert [row[0].partition(":")[0] for row in factors[1:]] == ["scientific"] * 2 + ["nuisance"] * 2 + ["fixed"] * 4
    (budget,) = under(found, "Search updates")
    # Eight updates a run; of four search trials, one failed before its first.
    assert all(row[1:3] + row[4:6] == ["4", "24", "4", "32"] for row in budget[1:])
    (overall,) = under(found, "Mean progress [95%]")
    assert sorted(row[0] for row in overall[1:]) == ["lstm", "tanh"]


def test_the_tables_behind_the_report_are_there_as_csv_and_latex(small_sweep, report):
    runs = load_sweep("small", small_sweep)
    names = {path.name for path in (report / "tables").iterdir()}
    csv = {f"{name}.csv" for name in ("overall", "comparisons", "solving", "health", "importance", "spending")}
    assert names == csv | {"overall.tex", "reach.tex", "adding-8.tex", "delayed_recall-5.tex"}
    for name, table in (("comparisons", comparison_table(runs, None)), ("solving", solve_table(runs))):
        found = pd.read_csv(report / "tables" / f"{name}.csv")
        pd.testing.assert_frame_equal(found, table, check_dtype=False, rtol=0, atol=0)
    assert (report / "tables/adding-8.tex").read_text().count(r" \\") == 3  # a header and two arms


def test_what_cannot_be_told_is_said(markdown):
    assert markdown.count("Not estimated: only optimizer.lr is searched.") == 2
    answers = re.findall(r"predict success\?\*\* (.*)", markdown)
    assert "of too few arms for an interval" in answers[0] and "Too few runs" in answers[1]


def test_the_csv_holds_the_table_in_full_precision(small_sweep, report):
    table = ablation_table(load_sweep("small", small_sweep))
    written = pd.read_csv(report / "ablation.csv")
    pd.testing.assert_frame_equal(written.reindex(columns=table.columns), table, check_dtype=False, rtol=0, atol=0)
    assert set(written) - set(table) == {"width", "parameters"}


def test_what_went_wrong_is_told_before_the_results(markdown):
    cautions, _, _ = markdown.partition("## adding-8")
    failed = re.search(r"Search trials that failed: (.*)\.", cautions)
    assert failed and sorted(failed[1].split(" and ")) == ["adding-8/lstm (1)", "adding-8/tanh (1)"]
    assert "Final runs that diverged: adding-8/tanh (1)" in cautions
    assert "Few seeds (2 an arm)" in cautions


def test_every_row_is_reproduced_from_the_definition_in_the_report(small_sweep, markdown, tmp_path):
    """Though the sweep was started from a file of another name, at a budget."""
    saved = re.search(r"saved as `(.*)`", markdown)
    definition = re.search(r"````yaml\n(.*?)\n````", markdown, re.DOTALL)
    assert saved and definition
    (tmp_path / saved[1]).write_text(definition[1])
    first = load_sweep("small", small_sweep).query("phase == 'final' and trial == 0")
    commands = [shlex.split(line) for line in re.findall(r"^rnnlab run .*", markdown, re.MULTILINE)]
    assert len(commands) == len(first) == 4 and {words[2] for words in commands} == {saved[1]}
    found = {
        resolve(tmp_path / words[2], words[7:], task=words[4], arm=words[6]).hash
        for words in commands
        if (words[3], words[5]) == ("--task", "--arm")
    }
    assert found == set(first["config_hash"])


def test_tasks_stand_in_the_order_of_the_definition(small_sweep):
    sweep = read_sweep("small", small_sweep)
    turned = sweep.definition.model_copy(update={"tasks": sweep.definition.tasks[::-1]})
    for definition in (sweep.definition, turned):
        expected = list(dict.fromkeys(plan.task for plan in definition.studies))
        found = analyse(sweep.runs, definition, small_sweep)
        for table in (found.ablation, found.comparisons, found.solving, found.importance):
            assert list(dict.fromkeys(table["task"])) == expected
            assert list(table.index) == list(range(len(table)))


def test_the_page_needs_nothing_beside_it(page):
    sources = []

    class Sources(HTMLParser):
        def handle_starttag(self, tag, attrs):
            assert tag not in ("script", "link", "iframe")
            sources.extend(value for name, value in attrs if name in ("src", "href"))

    Sources().feed(page)
    pictures = [source for source in sources if source.startswith("data:image/png;base64,")]
    anchors = [source[1:] for source in sources if source.startswith("#")]
    assert len(pictures) + len(anchors) == len(sources) and "url(" not in page and "@import" not in page
    assert anchors and all(f'id="{anchor}"' in page for anchor in anchors)
    assert all(base64.b64decode(picture.partition(",")[2]).startswith(b"\x89PNG") for picture in pictures)


def test_text_of_a_definition_cannot_become_html(page):
    assert "<b>anything</b>" not in page and html.escape("<b>anything</b>") in page


def test_every_figure_exists_and_shows_something(markdown, report):
    paths = re.findall(r"!\[[^]]+\]\(([^)]+)\)", markdown)
    # adding: forest, lags at two training steps, decay, health, heat maps, learning rates; delayed recall records no
    # gradients. No run solves a task, and two arms need no matrix of wins. Both tasks: solved, progress, two decays.
    assert len(paths) == 7 + 2 + 4 and len(set(paths)) == 13
    for path in paths:
        pixels = matplotlib.image.imread(report / path)
        assert pixels.shape[1] > 2.7 * style.DPI and pixels[..., :3].std() > 0.02


def test_nothing_else_in_the_folder_is_touched_and_nothing_half_written_stays(report):
    assert (report / "notes.md").read_text() == (report / "figures/mine.png").read_text() == "mine"
    names = {path.name for path in report.rglob("*") if path.is_file()}
    assert not [name for name in names if "partial" in name]
    assert {"report.md", "report.html", "ablation.csv", "notes.md"} <= names


def test_written_again_by_several_processes_it_is_the_same(
    small_sweep, report, tmp_path, markdown, monkeypatch, two_drawers
):
    shutil.copytree(report, tmp_path / "again")
    monkeypatch.setattr(drawing, "WORTH", 1)
    with drawing.drawers(load_sweep("small", small_sweep)) as pool:
        assert pool is not None
    write_report("small", tmp_path / "again", small_sweep)
    assert (tmp_path / "again/report.md").read_text() == markdown
    drawn = {path.name: path.read_bytes() for path in (tmp_path / "again/figures").iterdir()}
    assert drawn == {path.name: path.read_bytes() for path in (report / "figures").iterdir()}


def test_processes_that_draw_know_what_was_plugged_in(coarse_everywhere, two_drawers):
    runs = pd.DataFrame({"task": ["a", "b"] * drawing.WORTH})
    with drawing.drawers(runs.assign(arm=[str(k // 2) for k in range(len(runs))])) as pool:
        assert pool is not None and str(coarse_everywhere) in pool.submit(plugins.files).result()


def test_few_arms_are_drawn_by_one_process():
    runs = pd.DataFrame({"task": ["a", "b"] * (drawing.WORTH // 2 - 1)})
    with drawing.drawers(runs.assign(arm=[str(k // 2) for k in range(len(runs))])) as pool:
        assert pool is None


def test_a_sweep_that_is_unknown_or_has_no_result_is_refused(small_sweep, tmp_path):
    with pytest.raises(UserError, match="did you mean 'small'"):
        write_report("smal", tmp_path / "out", small_sweep)
    uri = small_sweep
    start_parent(uri, "young", "study", {"rnnlab.kind": "study", "rnnlab.sweep": "young"}, "")
    with pytest.raises(UserError, match="'young' has no final run with a result yet: let `rnnlab sweep` finish it"):
        write_report("young", tmp_path / "out", uri)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_made_is_named_before_anything_is_drawn(small_sweep, tmp_path, monkeypatch):
    monkeypatch.setattr("rnnlab.report.report.render", lambda *_: pytest.fail("it draws"))
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write the report to .*file"):
        write_report("small", tmp_path / "file", small_sweep)


def test_a_file_that_cannot_be_written_is_told_with_its_folder(tmp_path):
    for folder in ("draft", "out/report.md"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "draft/report.md").write_text("")
    with pytest.raises(UserError, match=r"cannot write the report to .*out: Is a directory"):
        publish(tmp_path / "draft", tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["report.md"]
