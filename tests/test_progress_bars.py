"""Bars are drawn where somebody looks, and nowhere else."""

from __future__ import annotations

import sys
import types
import warnings

from bert_tf import progress_bars


def notebook(monkeypatch) -> None:
  shell = types.SimpleNamespace(config={"IPKernelApp": {}})
  ipython = types.ModuleType("IPython")
  ipython.get_ipython = lambda: shell
  monkeypatch.setitem(sys.modules, "IPython", ipython)
  for name in ("tqdm.auto", "tqdm.autonotebook"):
    monkeypatch.delitem(sys.modules, name, raising=False)


def test_nobody_looks_at_a_log(capsys):
  assert not progress_bars.is_watched()
  assert list(progress_bars.bar(range(3), desc="texts")) == [0, 1, 2]
  assert not capsys.readouterr().err


def test_a_notebook_shows_a_bar_and_no_warning(monkeypatch, capsys):
  notebook(monkeypatch)
  assert progress_bars.is_watched()
  with warnings.catch_warnings():
    warnings.simplefilter("error")
    assert list(progress_bars.bar(range(3), desc="texts")) == [0, 1, 2]
  shown = capsys.readouterr()
  assert "texts" in shown.err + shown.out


def test_a_shell_of_ipython_is_no_notebook(monkeypatch):
  notebook(monkeypatch)
  sys.modules["IPython"].get_ipython().config = {}
  assert not progress_bars.is_watched()
