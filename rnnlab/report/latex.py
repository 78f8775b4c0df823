"""Tables for papers: LaTeX with the rules of booktabs."""

import re

import pandas as pd

from rnnlab.report.tables import Cells

SYMBOLS = {"<": "$<$", ">": "$>$", "–": "--", "≤": "$\\leq$", "≥": "$\\geq$", "²": "\\textsuperscript{2}"}
"""What a LaTeX engine may refuse, or set as something else."""


def to_latex(cells: Cells) -> str:
    """Write a table as a tabular environment: the first column to the left, all others to the right.

    Args:
        cells: text, header first; `**` makes bold, as in Markdown, and everything else stands for itself.

    Returns:
        LaTeX, which needs the package booktabs.
    """
    style = pd.DataFrame(cells[1:], columns=cells[0]).style.hide(axis="index")
    style.format(escape="latex").format_index(escape="latex", axis=1)
    text = style.to_latex(hrules=True, column_format="l" + "r" * (len(cells[0]) - 1))
    for symbol, spelling in SYMBOLS.items():
        text = text.replace(symbol, spelling)
    return re.sub(r"\*\*(.+?)\*\*", r"\\textbf{\1}", text)
