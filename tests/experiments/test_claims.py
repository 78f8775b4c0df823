"""Claims get the verdict that their measurements give them."""

import importlib
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from experiments.claims.__main__ import CLAIMS, main
from experiments.claims.finding import Finding, Part


def finding(*held: bool) -> Finding:
    parts = tuple(Part(f"statement {i}", holds, "evidence") for i, holds in enumerate(held))
    return Finding("A claim.", "A setting.", pd.DataFrame([{"condition": "a", "value": 1}]), parts)


@pytest.mark.parametrize(
    ("held", "verdict"),
    [((True, True), "supported"), ((True, False), "partly supported"), ((False, False), "not supported")],
)
def test_the_verdict_follows_from_the_parts(held, verdict):
    found = finding(*held)
    assert found.verdict == verdict
    page = found.markdown()
    assert f"**Verdict: {verdict}.**" in page
    assert page.count("* yes:") == sum(held)
    missing = "; ".join(f"statement {i}" for i, holds in enumerate(held) if not holds)
    assert found.summary() == ["A claim.", verdict, missing or "–"]
    assert "| condition | value |\n| --- | --- |\n| a | 1 |" in page


SMALL = {
    "saturation": {"T": 20, "H": 16},
    "batch_norm": {"T": 6, "MOMENTS": (0, 2, 4)},
    "highway": {"T": 6, "BIASES": (0.0, 4.0), "TRAINED": 2},
    "near_steps": {"T": 12, "MOMENTS": (0, 2)},
    "update_gate": {"T": 4, "UPDATES": 2},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CLAIMS)
def test_every_claim_can_be_examined(name, monkeypatch):
    claim = importlib.import_module(f"experiments.claims.{name}")
    for constant, value in SMALL[name].items():
        monkeypatch.setattr(claim, constant, value)
    found = claim.examine(2)
    assert found.claim == claim.CLAIM
    assert len(found.table) >= 2
    assert not found.table.isna().any().any()
    assert found.verdict in found.markdown()


def test_what_is_done_is_written_though_a_later_claim_fails(tmp_path, monkeypatch):
    saturation, batch_norm = (importlib.import_module(f"experiments.claims.{name}") for name in CLAIMS[:2])
    monkeypatch.setattr(saturation, "examine", lambda seeds: finding(True, False))
    monkeypatch.setattr(batch_norm, "examine", lambda seeds: 1 / 0)
    page = tmp_path / "new folder" / "claims.md"
    monkeypatch.setattr(sys, "argv", ["claims", "--seeds", "2", "--out", str(page)])
    with pytest.raises(ZeroDivisionError):
        main()
    assert "| A claim. | partly supported | statement 1 |" in page.read_text()


def test_scaled_linear_networks_have_their_exact_slope():
    claim = importlib.import_module("experiments.claims.saturation")
    assert claim.slope("identity", 2.0, 0) == pytest.approx(np.log10(2), abs=1e-12)


@pytest.mark.slow
def test_mistakes_are_named():
    for arguments, message in ((["momentum"], "unknown claim 'momentum'"), (["--seeds", "1"], "gives no interval")):
        ended = subprocess.run(
            [sys.executable, "-m", "experiments.claims", *arguments], capture_output=True, text=True, check=False
        )
        assert ended.returncode == 2
        assert message in ended.stderr
