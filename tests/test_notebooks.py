"""Notebooks run from the first cell to the last on a small sweep, and are kept without outputs."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

ANALYSIS = Path(__file__).parents[1] / "analysis"
NOTEBOOKS = sorted(ANALYSIS.glob("*.ipynb"))


def execute(path: Path) -> list[nbformat.NotebookNode]:
    """Run a notebook where it lies, as Jupyter does, and return its code cells."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(ANALYSIS)}}).execute()
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_short_and_kept_without_outputs(path):
    cells = nbformat.read(path, as_version=4).cells
    assert len(cells) < 15
    assert all(not cell.outputs and cell.execution_count is None for cell in cells if cell.cell_type == "code")
    assert all("def " not in cell.source and "class " not in cell.source for cell in cells if cell.cell_type == "code")


def test_the_mitigations_notebook_shows_the_sweep(small_sweep, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", small_sweep)
    monkeypatch.setenv("RNNLAB_SWEEP", "small")
    cells = execute(ANALYSIS / "mitigations.ipynb")
    assert all(cell.outputs for cell in cells), [cell.source for cell in cells if not cell.outputs]
    shown = [kind for cell in cells for output in cell.outputs for kind in output.get("data", {})]
    assert shown.count("image/png") == 5 and shown.count("text/html") == 1
    assert not any(output.get("name") == "stderr" for cell in cells for output in cell.outputs)


def test_without_its_sweep_the_notebook_says_what_to_do(small_sweep, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", small_sweep)
    monkeypatch.delenv("RNNLAB_SWEEP", raising=False)
    with pytest.raises(CellExecutionError, match=r"holds no sweep 'quickstart'.*\n.*make sweep"):
        execute(ANALYSIS / "mitigations.ipynb")
