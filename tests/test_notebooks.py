"""The notebooks run from top to bottom."""

from __future__ import annotations

import os

import pytest

NOTEBOOKS = [
  "look_inside_a_model",
  *(
    pytest.param(name, marks=pytest.mark.long)
    for name in (
      "fine_tune_on_a_csv", "named_entities", "from_checkpoint_to_served_model",
      "continue_pretraining",
    )
  ),
]  # fmt: skip


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook(name, root, tmp_path, monkeypatch):
  nbformat = pytest.importorskip("nbformat")
  nbclient = pytest.importorskip("nbclient")
  pytest.importorskip("ipykernel")
  monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")]))
  notebook = nbformat.read(root / "notebooks" / f"{name}.ipynb", as_version=4)
  nbformat.validate(notebook)
  assert not any(cell.get("outputs") for cell in notebook.cells), "commit it without outputs"
  client = nbclient.NotebookClient(
    notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}
  )
  client.execute()


def test_all_notebooks_are_run(root):
  listed = {getattr(name, "values", (name,))[0] for name in NOTEBOOKS}
  assert listed == {path.stem for path in (root / "notebooks").glob("*.ipynb")}
