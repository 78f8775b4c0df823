"""Tables of the page break where a reader expects it."""

import html
import re
from pathlib import Path

from rnnlab.report.html import to_html


def test_a_cell_of_numbers_breaks_before_its_interval_and_nowhere_else(tmp_path: Path):
    rows = [
        "| Arm | Score |",
        "|---|--:|",
        "| two words | 0.1 [0.05, 0.2] |",
        "| c | 3 of 10 [0.1, 0.6] |",
        "| d | > 1000 |",
    ]
    page = to_html("\n".join(["# Page", "", *rows]), tmp_path)
    cells = [html.unescape(cell) for cell in re.findall(r"<td[^>]*>([^<]*)</td>", page)]
    assert [cell.split(" ") for cell in cells] == [
        ["two", "words"],
        ["0.1", "[0.05,\N{NO-BREAK SPACE}0.2]"],
        ["c"],
        ["3\N{NO-BREAK SPACE}of\N{NO-BREAK SPACE}10", "[0.1,\N{NO-BREAK SPACE}0.6]"],
        ["d"],
        [">\N{NO-BREAK SPACE}1000"],
    ]
