"""The page of two sweeps held against each other: Markdown, one self-contained HTML file, figures and tables."""

import tempfile
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from rnnlab.common.text import count, listing
from rnnlab.plots import difference_forest, save
from rnnlab.report.comparison import Comparison, Side
from rnnlab.report.comparison_tables import changed_cells, contrast_cells, difference_cells, side_cells
from rnnlab.report.figures import Figure
from rnnlab.report.html import to_html
from rnnlab.report.publish import publish
from rnnlab.statistics.comparisons import SIGNIFICANT
from rnnlab.sweep.plan.factors import searched

MOST_CHANGED = 30
"""Runs with another result that the page lists; all are in repeats.csv."""


def write_comparison(comparison: Comparison, out: Path) -> Path:
    """Write the page of a comparison to a folder, over an older one if there is one.

    Args:
        comparison: what was worked out.
        out: folder for comparison.md, comparison.html, contrasts.csv, sides.csv, repeats.csv and figures/.

    Returns:
        Path of comparison.html.

    Raises:
        UserError: if the folder cannot be written to.
    """
    with tempfile.TemporaryDirectory(prefix="rnnlab-") as folder:
        draft = Path(folder)
        (draft / "figures").mkdir()
        loader = jinja2.PackageLoader("rnnlab.report", ".")
        environment = jinja2.Environment(loader=loader, trim_blocks=True, lstrip_blocks=True)
        markdown = environment.get_template("comparison.md.j2").render(
            c=comparison,
            about=[_about(*side) for side in zip((comparison.a, comparison.b), comparison.runs, strict=True)],
            repeats=repeats(comparison),
            unlike=unlike(comparison),
            changed=changed_cells(comparison.changed.head(MOST_CHANGED)),
            tasks=[_section(str(label), comparison, draft) for label in dict.fromkeys(comparison.contrasts["task"])],
            differences=difference_cells(comparison.differences),
            alone=alone(comparison),
        )
        (draft / "comparison.md").write_text(markdown, encoding="utf-8")
        (draft / "comparison.html").write_text(to_html(markdown, draft), encoding="utf-8")
        for name in ("contrasts", "sides", "repeats"):
            getattr(comparison, name).to_csv(draft / f"{name}.csv", index=False)
        publish(draft, out)
    return out / "comparison.html"


def answer(rows: pd.DataFrame) -> str:
    """Say in which arms of one task B is better or worse than A.

    Args:
        rows: of that task, from `contrast_table`.
    """
    clear = rows.loc[rows["p_task"] < SIGNIFICANT]
    groups = {
        "better in": clear.loc[clear["difference"] > 0, "arm"].tolist(),
        "worse in": clear.loc[clear["difference"] < 0, "arm"].tolist(),
    }
    parts = [f"B is {verdict} {listing(arms)}" for verdict, arms in groups.items() if arms]
    rest = rows.loc[~rows["arm"].isin(clear["arm"]), "arm"].tolist()
    if rest:
        whole = "no difference is shown in any arm" if not parts else f"no difference is shown in {listing(rest)}"
        parts.append(whole if len(rows) > 1 else "no difference is shown")
    paired = "seed by seed" if rows["paired"].astype(bool).to_numpy().all() else "run by run"
    level = f"at the {SIGNIFICANT:.0%} level, Holm's correction for {count(len(rows), 'comparison')}"
    return f"**{rows['task'].iloc[0]}**, {paired} ({level}): {'; '.join(parts)}."


def repeats(comparison: Comparison) -> str:
    """Say whether runs of the same configuration came to the same result."""
    every, changed = len(comparison.repeats), len(comparison.changed)
    if not every:
        return "No run of A has the configuration of a run of B, so that none can be the same."
    both = f"{count(every, 'run')} that A and B have with the same configuration"
    if not changed:
        return f"Of {both}, every one came to the same result, to the last bit."
    shown = f" The first {MOST_CHANGED} are:" if changed > MOST_CHANGED else ""
    made = [name for name, x, y in comparison.made_by if x != y]
    why = f"what made them differs in {listing(made)}" if made else "commit, versions and processor are the same"
    plug_ins = [d.name.removeprefix("imports.") for d in comparison.differences if d.name.startswith("imports.")]
    why += f", and so do the imported files {listing(plug_ins)}" * bool(plug_ins)
    return f"Of {both}, **{changed} came to another result**: {why}.{shown}"


def unlike(comparison: Comparison) -> str:
    """Say in which settings the two differ."""
    names = list(dict.fromkeys(f"`{d.name}`" for d in comparison.differences))
    return f"The definitions differ in {listing(names)}." if names else "The definitions do not differ."


def alone(comparison: Comparison) -> list[str]:
    """Name the arms and tasks that one of the two does not have, or has no result of: a sentence for each side."""
    lines = []
    for letter, side, other in (("A", comparison.a, comparison.b), ("B", comparison.b, comparison.a)):
        arms = [] if side.arm or other.arm else [arm for arm in side.arms if arm not in other.arms]
        tasks = sorted(set(side.sweep.runs["task"]) - set(comparison.contrasts["task"]))
        kinds = (("arm", arms), ("task", tasks))
        parts = [f"{noun}{'s' * (len(names) > 1)} {listing(names)}" for noun, names in kinds if names]
        if parts:
            lines.append(f"Compared with nothing, as {letter} alone has them: {listing(parts)}.")
    return lines


def _about(side: Side, runs: pd.DataFrame) -> str:
    """A sweep in a few words."""
    question = side.sweep.definition.question
    final = int((runs["phase"] == "final").to_numpy().sum())
    return f"`{side.where}`, {count(final, 'run')} on fresh seeds" + f" (*{question}*)" * bool(question)


def _section(label: str, comparison: Comparison, folder: Path) -> dict[str, Any]:
    """What the page says of one task."""
    contrasts, sides = (x.loc[x["task"] == label] for x in (comparison.contrasts, comparison.sides))
    names = dict.fromkeys(name for s in (comparison.a, comparison.b) for name in searched(s.sweep.definition))
    figure = Figure(
        f"difference-{label}",
        f"B against A, {label}",
        "Mean difference over the fresh seeds with its 95% bootstrap interval; filled where it is clear at the "
        f"{SIGNIFICANT:.0%} level after Holm's correction.",
        difference_forest(*(runs.loc[runs["task"] == label] for runs in comparison.runs)),
    )
    save(figure.axes, folder / "figures" / f"{figure.name}.png")
    return {
        "label": label,
        "answer": answer(contrasts),
        "contrasts": contrast_cells(contrasts),
        "sides": side_cells(sides, comparison.runs, list(names)),
        "figure": figure,
    }
