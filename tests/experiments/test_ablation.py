"""Gradient health of runs that are trained again: the same runs, unharmed, and a page that follows."""

import re
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import fisher_exact

from experiments.ablation.__main__ import complete
from experiments.ablation.again import COLUMNS, _measured
from experiments.ablation.distances import COLUMNS as SHOWN
from experiments.ablation.distances import read_sittings, write_distances
from experiments.ablation.figure import draw
from experiments.ablation.folklore import folklore_cells, held_against, least_lead, verdict
from experiments.ablation.kept import kept_table, sentences
from experiments.ablation.measures import MEASURES, health
from experiments.ablation.page import WHERE, baselines, judge, page
from rnnlab.common.errors import UserError
from rnnlab.config.config import Config
from rnnlab.training.progress import Progress
from rnnlab.training.runs import run

ARMS = ("lstm", "tanh")
SMALL = {
    "task": {"kind": "adding", "length": 8},
    "cell": {"kind": "vanilla", "hidden_size": 6},
    "training": {"steps": 20, "batch_size": 4, "eval_every": 5, "eval_examples": 20, "test_examples": 20},
}


def config(**sections: object) -> Config:
    return Config.parse({**SMALL, **sections})


def test_a_run_that_is_measured_ends_as_one_that_is_not():
    member = Progress(config(cell={"kind": "vanilla", "hidden_size": 6, "norm": "batch", "norm_noise": 0.1}))
    streams = [g.get_state() for g in (member.generator, member.noise, member.chance)]
    weights = [p.detach().clone() for p in member.model.parameters()]
    health(member)
    assert all(a.equal(b) for a, b in zip(weights, member.model.parameters(), strict=True))
    after = [g.get_state() for g in (member.generator, member.noise, member.chance)]
    assert all(a.equal(b) for a, b in zip(streams, after, strict=True))


def test_early_measures_are_those_of_the_weights_after_so_many_updates():
    whole = config(training={**SMALL["training"], "steps": 60})  # 5% are 3 updates
    (row,) = _measured([whole])
    short = Progress(whole)
    trained = run(config(training={**SMALL["training"], "steps": 3})).model
    assert trained is not None
    short.model = trained.train()
    assert {f"{name}_early": value for name, value in health(short).items()}.items() <= row.items()
    assert row["decay_rate_init"] != row["decay_rate_early"]


def test_measures_that_an_arm_has_not_are_missing():
    coupled = health(Progress(config(cell={"kind": "vanilla", "hidden_size": 6, "norm": "batch"})))
    assert {name for name, value in coupled.items() if np.isnan(value)} == {
        "sensitivity", "signal_noise", "learnable_lag"
    }  # fmt: skip
    dilated = health(Progress(config(model={"num_layers": 2, "dilation": [1, 3]})))
    assert np.isnan(dilated["norm_ratio"])
    cut = health(Progress(config(remedies={"truncation": {"window": 2}})))
    assert cut["norm_ratio"] == -np.inf and cut["horizon"] <= 1


def test_a_linear_network_that_keeps_norms_has_no_decay():
    network = {"kind": "vanilla", "activation": "identity", "hidden_size": 6}
    found = health(Progress(config(cell=network, init={"recurrent": "orthogonal"})))
    assert found["decay_rate"] == pytest.approx(0, abs=1e-5) and found["norm_ratio"] == pytest.approx(0, abs=1e-4)


def table(foretold: bool) -> pd.DataFrame:
    """Measured runs of eight arms, half of them good; measures that tell them apart, or are noise."""
    generator = np.random.default_rng(0)
    rows = pd.DataFrame(product(range(8), ["a-10", "a-20"], range(5)), columns=["arm", "task", "seed"])
    rows["solved"] = (rows["arm"] % 8 + generator.normal(size=len(rows)) * 2) > 3.5
    rows["run_id"] = [f"run-{k}" for k in range(len(rows))]
    for column in COLUMNS[7:]:
        rows[column] = foretold * 10 * rows["solved"] + generator.normal(size=len(rows))
    return rows.assign(arm="arm-" + rows["arm"].astype(str)).reindex(columns=COLUMNS)


def test_the_verdict_follows_from_the_numbers(monkeypatch):
    monkeypatch.setattr("rnnlab.statistics.foretelling.RESAMPLES", 79)
    for foretold, said in ((True, "they foretell success"), (False, "they cannot be told from chance")):
        runs = table(foretold)
        judged, beaten = judge(runs), baselines(runs)
        text = page(runs, judged, beaten)
        answers = [line for line in text.splitlines() if line.startswith("* All measures together")]
        assert len(answers) == len(WHERE) and (answers[0].count(said) == 2) and "nan" not in text
        assert "80 runs of" in " ".join(text.split()) and text.count("| decay rate | a") == 2
        assert len(draw(judged, beaten).get_yticklabels()) == 2 * (len(MEASURES) + 1)


def test_what_has_been_measured_is_not_measured_again(tmp_path):
    path, runs = tmp_path / "health.csv", table(True)
    runs.to_csv(path, index=False)
    asked = runs.iloc[::-1][["run_id", "task", "arm", "seed"]]
    (found,) = complete(asked.iloc[:30], "sqlite:///nowhere.db", path, 1)
    assert set(found["run_id"]) == set(asked["run_id"].iloc[:30])


def test_tasks_of_another_sitting_stay_measured(tmp_path):
    path, runs = tmp_path / "health.csv", table(True)
    runs.to_csv(path, index=False)
    near = runs["task"] == "a-10"
    (found,) = complete(runs.loc[near].iloc[:20], "sqlite:///nowhere.db", path, 1)
    assert set(found["run_id"]) == {*runs.loc[~near, "run_id"], *runs.loc[near, "run_id"].iloc[:20]}


def sitting(folder: Path, tasks: dict[str, tuple[int, int]]) -> None:
    """A report's table of two arms, solved so often of 20."""
    folder.mkdir(exist_ok=True)
    rows = [(task, arm, n) for task, both in tasks.items() for arm, n in zip(("lstm", "tanh"), both, strict=True)]
    table = pd.DataFrame(rows, columns=["task", "arm", "solved"]).assign(seeds=20, failed=0, learning_rate=0.01)
    table = table.assign(score=0.9, updates=1000, parameters=2500)
    spent = table[["task", "arm"]].assign(search_runs=8, search_updates=4000)
    (folder / "tables").mkdir(exist_ok=True)
    spent.to_csv(folder / "tables" / "spending.csv", index=False)
    for name in (name for names in SHOWN.values() for name in names):
        table[name] = table["solved"] / 20 if name.startswith("solved") else 0.1
    table.to_csv(folder / "ablation.csv", index=False)


def test_sittings_make_one_table_of_distances(tmp_path):
    sitting(tmp_path, {"adding-25": (20, 12), "adding-100": (20, 0), "copying-25": (0, 0)})
    sitting(tmp_path / "far", {"adding-200": (9, 0), "copying-50": (20, 0)})
    text = write_distances(tmp_path)
    assert (
        "[adding-200 and copying-50](far/report.md)" in text
        and "[adding-25, adding-100 and copying-25](./report.md)" in text
    )
    assert "| lstm | 100 | – (50) | 69 of 100 |" in text and "| tanh | 25 | – | 12 of 100 |" in text
    assert re.findall(r"^\* (.*) more often", text, re.M) == ["lstm solves copying over 50 steps (100%, rate 0.0100)"]
    assert "run 50% of its updates" in " ".join(text.split())
    assert all((tmp_path / name).stat().st_size for name in re.findall(r"\((distances-.*?\.png)\)", text))


def test_a_folder_without_a_report_has_no_distances(tmp_path):
    with pytest.raises(UserError, match="holds no table of arms"):
        write_distances(tmp_path)


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ({"adding-25": (20, 12), "adding-200": (9, 0)}, "holds on adding to 200"),
        ({"adding-25": (20, 20), "adding-200": (4, 0)}, "is not shown"),  # Fisher's p is 0.106
        ({"adding-25": (0, 1), "adding-200": (3, 0)}, "cannot be told: both solve too little"),
        ({"adding-25": (0, 20), "copying-50": (9, 0)}, "depends: more on copying to 50; less on adding to 25"),
        ({"adding-25": (0, 20), "adding-200": (0, 0)}, "is refuted on adding to 25"),
        ({"adding-25": (20, 14), "adding-50": (20, 20), "adding-99": (20, 20)}, "is not shown"),  # 0.020 of three tasks
    ],
)
def test_a_saying_holds_where_the_counts_show_it(counts, said):
    rows = [(*task.split("-"), arm, n) for task, both in counts.items() for arm, n in zip(ARMS, both, strict=True)]
    solved = pd.DataFrame(rows, columns=["kind", "length", "arm", "won"]).assign(runs=20)
    held = held_against(solved.assign(length=solved["length"].astype(int), value=solved["won"] / 20))
    assert set(held["arm"]) == {"lstm"} and set(held["other"]) == {"tanh"} and verdict(held) == said
    tasks, both = held["kind"] + "-" + held["length"].astype(str), held[["won", "won_other"]].to_numpy()
    assert {task: tuple(pair) for task, pair in zip(tasks, both, strict=True)} == counts
    bold = [cell for cell in folklore_cells(held)[1] if "**" in cell]
    assert bool(bold) == ("not" not in said)


def test_holms_correction_spans_all_sayings():
    rows = {"arm": ["lstm", "tanh", "relu"], "kind": "adding", "length": 25, "value": [7 / 20, 1 / 20, 1 / 20]}
    solved = pd.DataFrame(rows).assign(runs=20)  # Fisher's p of 7 to 1 is 0.044
    assert held_against(solved.iloc[:2])["differs"].tolist() == [True]
    assert held_against(solved)["differs"].tolist() == [False, False]


def test_so_many_runs_tell_an_arm_from_one_that_solves_none():
    for tests in (1, 10, 90):
        lead = least_lead(20, tests)
        p = [float(fisher_exact([[won, 20 - won], [0, 20]])[1]) for won in (lead, lead - 1)]  # pyright: ignore
        assert p[0] * tests < 0.05 <= p[1] * tests


def test_what_an_arm_cannot_express_does_not_count(tmp_path):
    rows = [(task, arm, 0.5) for task in ("adding-25", "copying-25") for arm in ("lru", "gru")]
    pd.DataFrame(rows, columns=["task", "arm", "solved_fraction"]).to_csv(tmp_path / "ablation.csv", index=False)
    arms = read_sittings(tmp_path)
    assert list(zip(arms["task"], arms["arm"], strict=True)) == [
        ("adding-25", "gru"), ("copying-25", "lru"), ("copying-25", "gru")
    ]  # fmt: skip


def test_a_linear_network_cannot_add():
    """The answer of the LRU at two inputs together is the sum of its answers, that of the task is not."""
    model = Progress(config(cell={"kind": "lru", "hidden_size": 6})).model
    one, two = torch.zeros(2, 5, 1, 2)
    one[1, 0] = torch.tensor([0.7, 0.0])
    two[1, 0] = torch.tensor([0.0, 1.0])
    with torch.no_grad():
        first, second, together, nothing = (model(x)[0] for x in (one, two, one + two, 0 * one))
    assert torch.allclose(first + second, together + nothing, atol=1e-6) and not torch.allclose(together, nothing)


def test_who_keeps_the_gradient_is_counted_beside_who_solves():
    arms = pd.DataFrame({"task": "adding-100", "arm": list("abcd"), "solved_fraction": [1.0, 0.2, 0.0, 0.5]})
    table = kept_table(arms.assign(decay_rate_init=-0.2, decay_rate=[-0.02, -0.02, -0.01, -0.2]))
    before, after, unsolved = sentences(table)
    assert "in 0 of 0 cases; where it loses more, in 2 of 4." in before
    assert "in 1 of 3 cases; where it loses more, in 1 of 1." in after and unsolved.endswith("adding-100: c.")
