"""The notebook runs from its first cell to its last, with a tiny budget in place of its own."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parent.parent / "examples" / "quickstart.ipynb"
TINY = "EPOCHS, GRO_EPOCHS, SEQUENCES, SURROGATE_EPOCHS = 2, 1, 10, 2"


@pytest.mark.every
def test_notebook_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # two threads on a busy machine wait for each other
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    (budget,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ())]
    assert TINY.partition("=")[0] in budget.source
    budget.source = TINY
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    pictures = [output for output in shown if "image/png" in output.get("data", {})]
    assert len(notebook.cells) == 10
    assert len(pictures) == 2
    assert (tmp_path / "quickstart" / "results.json").exists()


def test_notebook_is_stored_without_outputs():
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    assert not any(cell.outputs or cell.execution_count for cell in cells if cell.cell_type == "code")
