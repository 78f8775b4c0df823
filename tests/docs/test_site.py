"""The documentation builds without a warning, holds every page, and loads nothing from elsewhere."""

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import rnnlab
from rnnlab import plots, theory

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
LOADED = r"<(?:script|img|iframe|source)\b[^>]*?\bsrc=\"?([^\"\s>]+)|<link\b[^>]*?\bhref=\"?([^\"\s>]+)"
"""What a browser fetches by itself; a link that somebody may follow is none of it."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder],
        cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr  # a dead link is a warning, and a warning ends it
    return folder


def test_every_page_is_in_the_navigation(site):
    start = (site / "index.html").read_text(encoding="utf-8")
    linked = set(re.findall(r'<a href="?([^">\s]+)"? class="?md-nav__link', start))
    pages = {path.with_suffix(".html").name for path in (ROOT / "docs").glob("*.md")}
    assert pages <= linked
    assert {"api/rnnlab.html", "api/rnnlab.plots.html", "api/rnnlab.report.html"} <= linked


def test_the_api_holds_what_a_user_imports_under_that_name_and_nothing_internal(site):
    headings = {
        path.stem: re.findall(r'<h2 id="([^"]+)"', path.read_text(encoding="utf-8")) for path in site.glob("api/*.html")
    }
    for module in (rnnlab, plots, theory):
        package = module.__name__
        assert headings[package][: len(module.__all__)] == [f"{package}.{name}" for name in module.__all__]
    every = [name for names in headings.values() for name in names]
    assert len(set(every)) == len(every)
    for name in every:  # each can be imported as it stands there
        module, _, attribute = name.rpartition(".")
        getattr(importlib.import_module(module), attribute)
    assert "rnnlab.statistics.ablation.ablation_table" in every  # shown in docs/results.md
    # What the guide to adding a figure uses is meant to be found.
    internal = r"\b(reader\.(?!early_decay)|style\.(?!axes|dress|legend_below|looks)|(recorder|scan|courier|outbox)\b)"
    assert not [name for name in every if re.search(internal, name)]


def test_nothing_of_the_readme_is_lost(site):
    every = "".join(path.read_text(encoding="utf-8") for path in [site / "index.html", *site.glob("how-to/*.html")])
    titles = re.findall(r"^##? (.+)$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert [title for title in titles if not re.search(rf"<h[12][^>]*>{re.escape(title)}<", every)] == []


def test_examples_in_docstrings_are_code(site):
    text = (site / "api" / "rnnlab.html").read_text(encoding="utf-8")
    assert "Examples:" in text and "<blockquote>" not in text


def test_a_browser_loads_nothing_from_elsewhere(site):
    for page in site.rglob("*.html"):
        loaded = ["".join(found) for found in re.findall(LOADED, page.read_text(encoding="utf-8"))]
        assert loaded and not [address for address in loaded if re.match(r"(https?:)?//", address)], page
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(@import|url\()\s*[\"']?(https?:)?//", sheet.read_text(encoding="utf-8")), sheet
