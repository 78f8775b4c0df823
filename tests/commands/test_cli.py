"""The command line as a user meets it: real files, and real processes where one is signalled or another one listens."""

import json
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
import yaml
from forked import Forked, command_line
from plugged import CELL
from typer.testing import CliRunner, Result

from rnnlab.commands.cli import app, main
from rnnlab.common.errors import UserError
from rnnlab.config.config import Config, load_config
from rnnlab.sweep.plan.definition import SweepDefinition
from rnnlab.sweep.store.home import FolderHome
from rnnlab.tracking import courier
from rnnlab.tracking.reader import load_profile
from rnnlab.tracking.store import connect, tracking_uri

COMMAND = [sys.executable, "-m", "rnnlab"]
SMALL = {
    "task": {"kind": "adding", "length": 6},
    "cell": {"kind": "vanilla", "hidden_size": 4},
    "training": {"steps": 20, "eval_every": 10, "eval_examples": 20, "test_examples": 20},
    "recording": {"points": 4},
}


def rnnlab(*arguments: str | Path, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=120, **options
    )


def here(*arguments: str | Path) -> Result:
    """The same in this process, which saves the seconds of a start where a test needs no second one."""
    return CliRunner().invoke(app, [*map(str, arguments)], catch_exceptions=False)


def stored_runs() -> list:
    client = connect(tracking_uri())
    return client.search_runs([e.experiment_id for e in client.search_experiments()])


@pytest.fixture
def experiment(workplace: Path) -> Path:
    path = workplace / "small.yaml"
    path.write_text(yaml.safe_dump(SMALL))
    return path


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_gpu_that_is_not_there_is_one_sentence(experiment, capsys, monkeypatch):
    for more in ([], ["--seeds", "2"]):
        monkeypatch.setattr(sys, "argv", ["rnnlab", "run", str(experiment), "device=cuda", *more])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("error: device = 'cuda' asks for a GPU, and this machine has no GPU")
    assert not Path("runs").exists() or not list(Path("runs").rglob("lock"))


def test_a_run_is_stored_with_everything_needed_to_repeat_it(experiment):
    done = here("run", experiment, "cell.kind=lstm", "optimizer.lr=3e-3")
    assert done.exit_code == 0, done.stderr
    assert "test mse" in done.stdout and "step 20/20" in done.stdout
    (run,) = stored_runs()
    config = load_config(experiment, ["cell.kind=lstm", "optimizer.lr=3e-3"])
    assert run.info.status == "FINISHED"
    assert run.data.tags["rnnlab.config_hash"] == config.hash
    assert run.data.params["optimizer.lr"] == "0.003"
    assert run.info.run_name == f"small cell.kind=lstm optimizer.lr=3e-3 ({config.hash[:6]})"
    assert load_profile(run.info.run_id).sizes["time"] == 6
    assert not any(Path("runs/checkpoints").iterdir())


@pytest.mark.slow
def test_a_program_reads_one_object_or_one_word(experiment, monkeypatch, capfd):
    monkeypatch.setattr(sys, "argv", ["rnnlab", "run", str(experiment), "--json"])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capfd.readouterr()  # whatever the process writes, by whatever way
    assert not ended.value.code, said.err
    record, (run,) = json.loads(said.out), stored_runs()
    assert record["run_id"] == run.info.run_id
    assert record["summary"]["steps_to_solve"] is None  # NaN is no JSON
    assert record["summary"]["score"] == run.data.metrics["score"] == record["score"]["test"]
    assert "step 20/20" in said.err
    done = here("run", experiment, "--quiet")
    newest = stored_runs()[0].info.run_id
    assert (done.stdout, done.stderr) == (f"{newest}\n", "")


@pytest.mark.slow
def test_a_sweep_tells_programs_how_it_ended(write_sweep, workplace, own_workers):
    path = write_sweep(arms={"tanh": {}}, trials=1, seeds=1, workers=1)
    done = here("sweep", path, "--json", "--quiet")
    assert (done.exit_code, done.stderr) == (0, "")
    record = json.loads(done.stdout)
    assert (record["state"], record["runs"]) == ("complete", {"planned": 2, "done": 2, "failed": 0})
    assert record["failures"] == [] and Path(record["report"]).is_file()
    assert here("sweep", path, "--quiet").stdout == here("report", "tiny", "--quiet").stdout == f"{record['report']}\n"
    assert json.loads(here("report", "tiny", "--json").stdout) == {"name": "tiny", "report": record["report"]}
    found = json.loads(here("status", "tiny", "--json").stdout)
    assert found["studies"] == record["studies"] and (found["state"], found["workers"]) == ("complete", [])


@pytest.mark.slow
def test_an_interrupted_run_goes_on_in_the_same_mlflow_run(experiment):
    settings = ["training.steps=2000", "training.eval_every=2000", "recording.points=0"]
    process = Forked(command_line, "run", str(experiment), *settings, output="out")
    while not stored_runs():
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130, Path("out").read_text()
    assert "the same command continues" in Path("out").read_text()
    assert [run.info.status for run in stored_runs()] == ["RUNNING"]
    assert list(Path("runs").glob("checkpoints/*/checkpoint.pt"))
    assert here("run", experiment, *settings).exit_code == 0
    (run,) = stored_runs()
    assert run.info.status == "FINISHED"


@pytest.mark.slow
def test_a_run_that_mlflow_does_not_take_waits_for_the_same_command(experiment, monkeypatch, impatient):
    monkeypatch.setattr(courier, "PATIENCE_SECONDS", 1.0)
    monkeypatch.setattr(courier, "RETRY_SECONDS", 0.5)
    monkeypatch.setattr(sys, "argv", ["rnnlab", "run", str(experiment)])  # what is advised to be typed again
    settings = ["training.steps=2000", "training.eval_every=1000", "recording.points=0"]
    locked = sqlite3.connect("runs/mlflow.db", isolation_level=None, check_same_thread=False)

    def lock() -> None:
        while not stored_runs():
            time.sleep(0.05)
        locked.execute("BEGIN EXCLUSIVE")

    locker = threading.Thread(target=lock, daemon=True)
    locker.start()
    done = here("run", experiment, *settings)
    locker.join()
    locked.close()
    assert done.exit_code == 4 and "deliver it with: rnnlab run" in done.output and "is locked" in done.output
    done = here("run", experiment, *settings)
    (run,) = stored_runs()
    assert done.exit_code == 0 and f"delivered to MLflow as run {run.info.run_id}" in done.stdout
    assert run.info.status == "FINISHED" and not any(Path("runs/checkpoints").iterdir())


def test_print_config_shows_every_field_and_reads_back(experiment):
    done = here("run", experiment, "--print-config", "cell.kind=gru")
    config = Config.parse(yaml.safe_load(done.stdout))
    assert config == load_config(experiment, ["cell.kind=gru"])
    assert config.hash in done.stdout and "momentum" not in done.stdout and "beta1: 0.9" in done.stdout
    assert not Path("runs/checkpoints").exists()


def test_one_arm_of_a_sweep_runs_alone(workplace):
    arms = {"tanh": {}, "gru": {"cell.kind": "gru"}}
    base = {name: SMALL[name] for name in ("cell", "training", "recording")}
    sweep = {"name": "s", "base": base, "tasks": [SMALL["task"]], "arms": arms,
             "search": {"optimizer.lr": {"low": 1e-3, "high": 1e-2}}, "trials": 1, "seeds": 1}  # fmt: skip
    path = workplace / "sweep.yaml"
    path.write_text(yaml.safe_dump(sweep))
    done = here("run", path, "--arm", "gru", "--print-config", "optimizer.lr=0.005", "seed=7")
    config = Config.parse(yaml.safe_load(done.stdout))
    assert (config.cell.kind, config.optimizer.lr, config.seed) == ("gru", 0.005, 7)
    for arguments, message in (
        (["--arm", "gruu"], "did you mean 'gru'"),
        ([], "--arm is missing"),
        (["--arm", "gru", "--task", "copying-5"], "--task = 'copying-5'"),
    ):
        with pytest.raises(UserError, match=message):
            here("run", path, *arguments)


def test_a_dry_run_plans_measures_and_writes_nothing(workplace):
    base = {name: SMALL[name] for name in ("cell", "training", "recording")}
    sweep = {"name": "s", "base": base, "tasks": [SMALL["task"]], "arms": {"tanh": {}, "gru": {"cell.kind": "gru"}},
             "search": {"optimizer.lr": {"low": 1e-3, "high": 1e-2}}, "trials": 2, "seeds": 1}  # fmt: skip
    Path("sweep.yaml").write_text(yaml.safe_dump(sweep))
    before = {path: path.stat().st_mtime_ns for path in workplace.rglob("*")}
    done = here("sweep", "sweep.yaml", "--dry-run", "--workers", "3")
    assert done.exit_code == 0, done.stderr
    assert "2 arms × 1 task × (2 search trials + 1 final run) = 6 runs" in done.stdout
    assert "gru: width " in done.stdout and "with 3 workers" in done.stdout
    assert {path: path.stat().st_mtime_ns for path in workplace.rglob("*")} == before


def test_status_tells_a_stopped_sweep_by_its_exit_code(workplace):
    sweep = {"name": "stopped", "base": {"cell": SMALL["cell"]}, "tasks": [SMALL["task"]], "arms": {"tanh": {}},
             "search": {"optimizer.lr": {"low": 1e-3, "high": 1e-2}}, "trials": 2, "seeds": 1}  # fmt: skip
    outline = SweepDefinition.parse(sweep).outline
    FolderHome(Path("runs/sweeps/stopped")).keep(yaml.safe_dump(sweep), outline, "stopped.yaml")
    done = here("status", "stopped")
    assert done.exit_code == 3
    assert "0 of 3 runs done" in done.stdout and "rnnlab sweep runs/sweeps/stopped/sweep.yaml" in done.stdout


def test_the_doctor_fails_on_a_problem_alone(workplace):
    store = Path("runs/mlflow.db")
    whole = store.read_bytes()
    store.write_text("no database at all")
    done = here("doctor")
    assert done.exit_code == 1
    assert "problem  tracking" in done.stdout
    done = here("doctor", "--json")
    record = json.loads(done.stdout)
    assert (done.exit_code, record["fit"]) == (1, False)
    assert {finding["subject"]: finding["level"] for finding in record["findings"]}["tracking"] == "problem"
    store.write_bytes(whole)
    done = here("doctor")
    assert done.exit_code == 0, done.stdout
    assert "problem" not in done.stdout and "tracking" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "none.yaml"], "none.yaml"),
        (["run", "small.yaml", "cell.hiden_size=3"], "did you mean 'hidden_size'"),
        (["run", "small.yaml", "remedies.truncation.window=9"], "longer than the sequence"),
        (["run", "small.yaml", "remedies.clipping.threshold=0"], "greater than 0"),
        (["run", "small.yaml", "init.bias=chrono"], "needs gates"),
        (["run", "small.yaml", "--arm", "lstm"], "single experiment"),
        (["run", "small.yaml", "--print-config", "--json"], "leave out --json"),
        (["sweep", "small.yaml", "--dry-run", "--quiet"], "leave out --quiet"),
        (["sweep", "none.yaml"], "none.yaml"),
        (["run", "quickstart"], "quickstart is a sweep, which `rnnlab sweep quickstart` takes; to train one run of it"),
        (["run", "gated", "--task", "adding-50", "--arm", "grru"], "--arm = 'grru' is not in it: did you mean 'gru'"),
        (["sweep", "adding"], "adding is a single experiment, which `rnnlab run adding` takes"),
        (["sweep", "small.yaml"], "small.yaml is a single experiment, which `rnnlab run small.yaml` takes"),
        (["sweep", "none.yaml", "--dry-run"], "none.yaml"),
        (["report", "never-run"], "never-run"),
        (["status", "never-run"], "there is no sweep 'never-run'"),
        (["ui", "--port", "0"], "port"),
    ],
)
def test_mistakes_exit_with_2_and_one_sentence(experiment, arguments, message, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["rnnlab", *arguments])
    with pytest.raises(SystemExit) as refused:  # any other exception would be a traceback
        main()
    assert refused.value.code == 2 and message in capsys.readouterr().err
    assert stored_runs() == []


def test_a_mistake_in_a_process_of_its_own_shows_no_traceback(workplace):
    refused = rnnlab("status", "never-run")  # which starts without torch
    assert refused.returncode == 2 and refused.stderr.startswith("error: ") and refused.stderr.count("\n") == 1


BROKEN = CELL.replace("return ((", "1 / 0\n        return ((")


def test_a_mistake_in_a_file_of_the_users_own_is_one_sentence(experiment, plugged, monkeypatch, capsys):
    Path("my_cells.py").write_text(BROKEN)
    line = next(k for k, text in enumerate(BROKEN.splitlines(), start=1) if "1 / 0" in text)
    monkeypatch.setattr(sys, "argv", ["rnnlab", "run", str(experiment), "--import", "my_cells.py", "cell.kind=leaky"])
    with pytest.raises(SystemExit) as refused:
        main()
    assert refused.value.code == 2
    said = capsys.readouterr().err.splitlines()[-1]
    where = f"{Path('my_cells.py').resolve()}, line {line}: ZeroDivisionError: division by zero"
    assert said == f"error: {where}; RNNLAB_TRACEBACK=1 in front of the command shows the way there"
    (run,) = stored_runs()
    assert (run.info.status, run.data.tags["rnnlab.reason"]) == ("FAILED", where)
    monkeypatch.setenv("RNNLAB_TRACEBACK", "1")
    with pytest.raises(ZeroDivisionError):
        main()


def test_it_names_its_version_and_without_a_command_shows_help():
    assert here("--version").stdout == f"rnnlab {version('rnnlab')}\n"
    assert "Train once" in here().output


def test_help_imports_nothing_heavy():
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *COMMAND[1:], "--help"], capture_output=True, text=True, check=True
    )
    assert not {"torch", "mlflow", "optuna", "pandas"} & {
        line.split("|")[-1].strip() for line in done.stderr.splitlines()
    }
