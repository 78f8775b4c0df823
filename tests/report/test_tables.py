"""Tables as text: what an arm has of its own stands in its row alone."""

from typing import Any

import pandas as pd
from rows import ADDING, run

from rnnlab.report.analysis import analyse
from rnnlab.report.tables import ablation_cells, importance_cells
from rnnlab.sweep.plan.definition import SweepDefinition
from rnnlab.tracking.store import tracking_uri

DEFINITION = SweepDefinition.parse(
    {
        "name": "demo",
        "base": {"cell": {"kind": "vanilla", "hidden_size": 30}},
        "tasks": [{"kind": "adding", "length": 30}],
        "arms": {"tanh": {}, "lstm": {"cell.kind": "lstm", "search": {"cell.forget_bias": {"low": 0, "high": 5}}}},
        "equal": "parameters",
        "search": {"optimizer.lr": {"low": 1e-4, "high": 1e-1, "log": True}},
        "trials": 30,
        "seeds": 2,
    }
)


def runs() -> pd.DataFrame:
    """Thirty search trials and two fresh seeds an arm; the score of the LSTM hangs on its forget bias alone."""
    rows = []
    for plan in DEFINITION.studies:
        for k, point in enumerate(DEFINITION.planned_points(plan)):
            fields: dict[str, Any] = {f"param.{name}": value for name, value in point.items()}
            fields["param.recording.points"] = 0
            score = point.get("cell.forget_bias", 1.0) / 10
            one: dict[str, Any] = {"phase": "search", "seed": 0, "trial": k, "run_id": f"{plan.name}-{k}"}
            rows.append(run(arm=plan.arm, score=score, **one, **fields))
            if k < 2:
                rows.append(run(arm=plan.arm, seed=1000 + k, score=score, **fields))
    return pd.DataFrame(rows)


def test_own_hyperparameters_and_sizes_stand_with_their_arm(workplace):
    table = runs()
    analysis = analyse(table, DEFINITION, tracking_uri())
    contests = analysis.comparisons.loc[analysis.comparisons["other"] == "tanh"]
    header, *body = ablation_cells(analysis.ablation, table, contests, ADDING, DEFINITION)
    rows = {row[0].strip("*"): dict(zip(header, row, strict=True)) for row in body}
    assert header[1:5] == ["Width", "Parameters", "Tuned optimizer.lr", "Tuned cell.forget_bias"]
    assert (rows["tanh"]["Width"], rows["tanh"]["Parameters"]) == ("30", "1,051")
    assert (rows["lstm"]["Width"], rows["lstm"]["Parameters"]) == ("14", "1,023")
    assert rows["tanh"]["Tuned cell.forget_bias"] == "–" != rows["lstm"]["Tuned cell.forget_bias"]
    assert rows["tanh"]["Tuned optimizer.lr"] == rows["lstm"]["Tuned optimizer.lr"]  # slot by slot the same


def test_importance_is_told_of_what_each_arm_searches(workplace):
    header, *body = importance_cells(analyse(runs(), DEFINITION, tracking_uri()).importance)
    assert header[2:] == ["optimizer.lr", "cell.forget_bias"]
    (lstm,) = body  # the other arm searches one hyperparameter, whose share is no question
    assert lstm[0] == "lstm" and float(lstm[3]) > 0.5 > float(lstm[2])
