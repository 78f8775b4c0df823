"""A report says what is in the store, all of it, in files that need nothing else."""

import base64
import html
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import matplotlib.image
import pandas as pd
import pytest
from markdown_it import MarkdownIt

from rnnlab.errors import UserError
from rnnlab.sweep.numbers import number
from rnnlab.sweep.report import write_report
from rnnlab.sweep.statistics import ablation_table
from rnnlab.tracking.reader import load_sweep
from rnnlab.tracking.writer import start_parent


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


def tables(page: str) -> list[list[list[str]]]:
    """Cells of every table of a page."""
    parts = [part.partition("</table>")[0] for part in page.split("<table>")[1:]]
    found = [re.findall(r"<tr>(.*?)</tr>", part, re.DOTALL) for part in parts]
    return [[[re.sub("<.*?>", "", c) for c in re.findall(r"<t[hd].*?>(.*?)</t[hd]>", row)] for row in t] for t in found]


def test_every_row_of_the_table_is_in_markdown_and_html(small_sweep, markdown, page):
    table = ablation_table(load_sweep("small", small_sweep))
    rendered = MarkdownIt("commonmark").enable("table").render(markdown)
    for shown in (tables(page), tables(rendered)):
        for label, rows in table.groupby("task", sort=False):
            body = shown[0 if label == "adding-8" else 1][1:]
            assert [row[0] for row in body] == rows["arm"].tolist()
            for cells, row in zip(body, rows.to_dict("records"), strict=True):
                assert cells[1] == number(row["learning_rate"])
                assert cells[2] == f"{number(row['score'])} [{number(row['low'])}, {number(row['high'])}]"
                assert cells[3].startswith(f"{row['solved']} of {row['seeds']} ")
                assert cells[5:7] == [number(row["decay_rate_init"]), number(row["decay_rate"])]
                assert cells[7:9] == [str(row["diverged"]), str(row["failed"])]


def test_the_csv_holds_the_table_in_full_precision(small_sweep, report):
    table = ablation_table(load_sweep("small", small_sweep))
    pd.testing.assert_frame_equal(pd.read_csv(report / "ablation.csv"), table, check_dtype=False, rtol=0, atol=0)


def test_what_went_wrong_is_told_before_the_results(markdown):
    cautions, _, _ = markdown.partition("## adding-8")
    failed = re.search(r"Search trials that failed: (.*)\.", cautions)
    assert failed and sorted(failed[1].split(" and ")) == ["adding-8/lstm (1)", "adding-8/tanh (1)"]
    assert "Final runs that diverged: adding-8/tanh (1)" in cautions
    assert "Few seeds (2 an arm)" in cautions


def test_every_command_that_reproduces_a_row_is_there(small_sweep, markdown):
    commands = ablation_table(load_sweep("small", small_sweep))["command"]
    assert len(set(commands)) == 4
    for command in commands:
        assert f"\n{command}\n" in markdown


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
    # adding: forest, lags at two training steps, decay, heat maps, learning rates; delayed recall records no gradients.
    assert len(paths) == 6 + 2 and len(set(paths)) == 8
    for path in paths:
        pixels = matplotlib.image.imread(report / path)
        assert pixels.shape[1] > 400 and pixels[..., :3].std() > 0.02


def test_nothing_else_in_the_folder_is_touched_and_nothing_half_written_stays(report):
    assert (report / "notes.md").read_text() == (report / "figures/mine.png").read_text() == "mine"
    names = {path.name for path in report.rglob("*") if path.is_file()}
    assert not [name for name in names if "partial" in name]
    assert {"report.md", "report.html", "ablation.csv", "notes.md"} <= names


def test_writing_again_gives_the_same_report(small_sweep, report, tmp_path, markdown):
    shutil.copytree(report, tmp_path / "again")
    write_report("small", tmp_path / "again", small_sweep)
    assert (tmp_path / "again/report.md").read_text() == markdown


def test_a_sweep_that_is_unknown_or_has_no_result_is_refused(small_sweep, tmp_path):
    with pytest.raises(UserError, match="did you mean 'small'"):
        write_report("smal", tmp_path / "out", small_sweep)
    uri = small_sweep
    start_parent(uri, "young", "study", {"rnnlab.kind": "study", "rnnlab.sweep": "young"}, "")
    with pytest.raises(UserError, match="'young' has no final run with a result yet: let `rnnlab sweep` finish it"):
        write_report("young", tmp_path / "out", uri)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_made_is_named(small_sweep, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write the report to .*file"):
        write_report("small", tmp_path / "file", small_sweep)
