"""LaTeX tables say what the cells say, whatever characters are in them."""

import re

import pytest

from rnnlab.report.latex import to_latex

SPECIAL = "a_b & 50% $x$ #1 {y} ~z ^w \\"


def test_a_table_is_a_tabular_with_the_rules_of_booktabs():
    text = to_latex([["Arm", "mse [95%]"], ["**gru**", "0.1 [0.05, –]"], ["lstm", "> 1000"]])
    assert text.splitlines() == [
        r"\begin{tabular}{lr}",
        r"\toprule",
        r"Arm & mse [95\%] \\",
        r"\midrule",
        r"\textbf{gru} & 0.1 [0.05, --] \\",
        r"lstm & $>$ 1000 \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]


@pytest.mark.parametrize("place", ["header", "cell"])
def test_every_special_character_is_escaped(place):
    text = to_latex([["Arm", SPECIAL if place == "header" else "b"], ["c", SPECIAL if place == "cell" else "d"]])
    row = text.splitlines()[2 if place == "header" else 4]
    cell = row.partition(" & ")[2].removesuffix(r" \\")
    expected = r"a\_b \& 50\% \$x\$ \#1 \{y\} \textasciitilde z \textasciicircum w \textbackslash"
    assert re.sub(r"\s+", " ", cell).strip() == expected
