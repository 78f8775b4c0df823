"""Markdown to one HTML file that needs nothing beside it."""

import base64
import itertools
import re
from pathlib import Path
from typing import NamedTuple

import jinja2
from markdown_it import MarkdownIt
from markdown_it.token import Token

from rnnlab.plots.style import DPI

CSS_DPI = 96
"""Pixels an inch by definition of CSS; figures are shown in the size they were drawn for."""


class Heading(NamedTuple):
    """A heading of a page: h1 to h6, its id, its text."""

    level: str
    anchor: str
    text: str


def to_html(markdown: str, folder: Path, refresh: float | None = None) -> str:
    """Render Markdown with its images inside and links to its sections on top.

    HTML inside the Markdown is shown as text, so that nothing in a sweep's definition can act on the page.

    Args:
        markdown: CommonMark with tables; paths of PNG images are relative to `folder`.
        folder: where the images are.
        refresh: seconds after which a browser is to look again, if ever.

    Returns:
        A whole page.
    """
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(markdown)
    headings = _anchor(tokens)
    for image in (child for token in tokens for child in token.children or [] if child.type == "image"):
        data = (folder / str(image.attrs["src"])).read_bytes()
        pixels = int.from_bytes(data[16:20])  # the width, as every PNG file holds it there
        image.attrs["width"] = round(pixels * CSS_DPI / DPI)
        image.attrs["src"] = f"data:image/png;base64,{base64.b64encode(data).decode()}"
    body = parser.renderer.render(tokens, parser.options, {})
    body = re.sub(r'(<td style="text-align:right">)([^<]*)', _break_before_interval, body)
    # A table that is still too wide scrolls by itself instead of widening the page.
    body = body.replace("<table>", '<div class="scroll"><table>').replace("</table>", "</table></div>")
    loader = jinja2.Environment(loader=jinja2.PackageLoader("rnnlab.report", "."), autoescape=True)
    return loader.get_template("report.html.j2").render(body=body, headings=headings, refresh=refresh)


def _break_before_interval(cell: re.Match[str]) -> str:
    """Let a number and its interval stand on two lines where a table is too wide, and break nowhere else."""
    return cell[1] + cell[2].replace(" ", "\N{NO-BREAK SPACE}").replace("\N{NO-BREAK SPACE}[", " [")


def _anchor(tokens: list[Token]) -> list[Heading]:
    """Give every heading the id GitHub gives it, and list them."""
    headings = []
    for heading, inline in itertools.pairwise(tokens):
        if heading.type == "heading_open":
            anchor = re.sub(r"[^\w-]", "", inline.content.lower().replace(" ", "-"))
            heading.attrs["id"] = anchor
            headings.append(Heading(heading.tag, anchor, inline.content))
    return headings
