"""The dashboard says where to look first."""

from rnnlab.tracking.store import connect, experiment_id
from rnnlab.tracking.ui import _print_sweep


def test_the_arms_of_the_newest_sweep_have_an_address(small_sweep, capsys):
    _print_sweep(small_sweep, "http://127.0.0.1:5000")
    experiment = experiment_id(small_sweep, "small")
    address = f"http://127.0.0.1:5000/#/experiments/{experiment}/runs?workflowType=machine_learning"
    assert capsys.readouterr().out == f"Arms of sweep small: {address}&viewStateShareKey=arms\n"


def test_without_a_sweep_there_is_none(uri, capsys):
    connect(uri).create_experiment("runs")
    _print_sweep(uri, "http://127.0.0.1:5000")
    assert capsys.readouterr().out == ""
