"""Pages say what was decided, and nothing that was not run."""

import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from rnnlab.commands.cli import app
from rnnlab.commands.reproduce import seconds_of
from rnnlab.common.errors import UserError
from rnnlab.reproductions.page import write_overview, write_page
from rnnlab.reproductions.registry import REPRODUCTIONS
from rnnlab.reproductions.run import Evidence, examine
from rnnlab.tracking.store import connect, tracking_uri


def test_a_page_holds_claim_numbers_verdict_and_figure(tmp_path):
    result = REPRODUCTIONS["influence-balancing"]
    page = write_page(examine(result), tmp_path).read_text()
    assert result.claim in page and "**Reproduced.**" in page
    assert (
        "| window 50: sensitivity is -4.7530 to 0.00050 | exact | -4.753 | -4.75 [-4.75, -4.75] | reproduced |" in page
    )
    assert (tmp_path / "influence-balancing.png").stat().st_size > 5000


def test_what_was_not_run_has_no_number_and_no_figure(tmp_path):
    done, open_one = REPRODUCTIONS["influence-balancing"], Evidence(REPRODUCTIONS["le-irnn-adding"], {})
    page = write_overview([examine(done), open_one], tmp_path / "results.md").read_text()
    assert "| irnn: loss is below 0.0500 | ordering | solved | – | not run |" in page
    assert page.count("![") == 1 and "(results/influence-balancing.png)" in page
    assert [file.name for file in (tmp_path / "results").iterdir()] == ["influence-balancing.png"]


def test_what_was_run_elsewhere_stays_on_the_page_while_it_claims_the_same(tmp_path):
    page, done = tmp_path / "results.md", REPRODUCTIONS["influence-balancing"]
    others = [REPRODUCTIONS[name] for name in ("le-irnn-adding", "saxe-orthogonal")]
    first = write_overview([examine(done), *(Evidence(other, {}) for other in others)], page).read_text()
    assert write_overview([Evidence(result, {}) for result in (done, *others)], page).read_text() == first
    assert (tmp_path / "results" / "influence-balancing.png").exists()
    changed = replace(done, criteria=(replace(done.criteria[0], published="-4"), *done.criteria[1:]))
    assert "reproduced |" not in write_overview([Evidence(changed, {})], page).read_text()


def test_a_page_from_an_installed_package_names_its_version(tmp_path):
    done, installed = examine(REPRODUCTIONS["influence-balancing"]), "rnnlab 0.2.0, no repository"
    records = {key: replace(record, commit=installed) for key, record in done.records.items()}
    page = write_overview([replace(done, records=records)], tmp_path / "results.md").read_text()
    assert f", {installed}.\n" in page and f" | {installed} |\n" in page and "commit" not in page


def test_too_few_seeds_are_said_to_be_too_few(tmp_path):
    result = replace(REPRODUCTIONS["chen-mean-field"], seeds=1)
    page = write_page(examine(result), tmp_path).read_text()
    assert "inconclusive: 2 seeds would do" in page and "**Inconclusive.**" in page


@pytest.mark.slow
def test_a_result_is_run_once_stored_and_checked(workplace):
    def rnnlab(*arguments: str):
        return CliRunner().invoke(app, ["reproduce", *arguments], catch_exceptions=False)

    assert json.loads(rnnlab("influence-balancing", "--json").stdout)["results"][0]["verdict"] == "reproduced"
    client = connect(tracking_uri())
    experiment = client.get_experiment_by_name("reproductions")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = [run for run in runs if run.data.tags.get("rnnlab.kind") == "reproduction"]
    assert parent.data.tags["rnnlab.verdict"] == "reproduced" and parent.info.status == "FINISHED"
    assert {file.path for file in client.list_artifacts(parent.info.run_id)} == {
        "influence-balancing.md",
        "influence-balancing.png",
    }
    children = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert sorted(run.data.metrics["window"] for run in children) == [1, 10, 20, 40, 50, 100]
    assert "1/6" not in rnnlab("influence-balancing").stdout  # nothing is run again
    assert "everything stored belongs" in rnnlab("--check").stdout
    listed = json.loads(rnnlab("--json").stdout)["results"]
    assert [r["name"] for r in listed if r["verdict"] != "not run"] == ["influence-balancing"]
    # The cheapest first, and no more than fits.
    done = json.loads(rnnlab("--all", "--budget", "5s", "--json").stdout)["results"]
    assert [r["name"] for r in done] == ["pascanu-wall", "saxe-orthogonal"]


def test_mistakes_are_named():
    for budget in ("2", "h", "-1h", "two hours"):
        with pytest.raises(UserError, match="give a number with s, m or h"):
            seconds_of(budget)
    assert (seconds_of("90s"), seconds_of("1.5m"), seconds_of("2h")) == (90, 90, 7200)
    for arguments, message in (
        (["saxe-orthogonl"], "did you mean 'saxe-orthogonal'"),
        (["saxe-orthogonal", "--all"], "leave out one of the two"),
        (["--budget", "2h"], "--budget is for --all"),
    ):
        with pytest.raises(UserError, match=message):
            CliRunner().invoke(app, ["reproduce", *arguments], catch_exceptions=False)
