"""What the documentation of the library shows runs: README, docs/library.md, and docstrings."""

from __future__ import annotations

import doctest
import importlib
import json
import re
import shutil

import pytest

import bert_tf

# A block, and the comment above it that says why it is not run.
_BLOCK = re.compile(r"(?:<!-- not run: (.+?) -->\n)?```python\n(.*?)```", re.DOTALL)


@pytest.fixture
def bert(golden, tmp_path, monkeypatch):
  """A directory with a small BERT under the names that the documentation uses."""
  monkeypatch.chdir(tmp_path)
  for name in ("uncased_L-12_H-768_A-12", "tiny_bert"):
    shutil.copytree(golden / "tiny_ckpt", name)
    for file in ("vocab.txt", "bert_config.json"):
      shutil.copy(golden / file, name)
  return tmp_path


def blocks(text: str) -> list[str]:
  return [code for reason, code in _BLOCK.findall(text) if not reason]


def run(path, first: str, last: str | None = None) -> None:
  text = path.read_text(encoding="utf-8")
  text = text[text.index(first) : text.index(last) if last else None]
  found = blocks(text)
  assert found
  names: dict = {"__name__": "documentation"}
  for number, code in enumerate(found):
    exec(compile(code, f"{path.name} block {number}", "exec"), names)


@pytest.mark.long
def test_readme(root, bert):
  run(root / "README.md", "## As a library", "## Is it right?")
  assert (bert / "film" / "labels.txt").read_text() == "bad\ngood\n"
  [version] = [p for p in (bert / "served" / "film").iterdir() if p.name.isdigit()]
  facts = json.loads((version / "assets" / "serving.json").read_text())
  assert facts["task"] == "classification" and facts["max_seq_length"] == 128


def test_the_job_of_run_classifier_takes_six_lines(root):
  """Data, training, scores, predictions, keeping and export; `test_readme` runs them."""
  block = blocks((root / "README.md").read_text(encoding="utf-8").split("## As a library")[1])[0]
  job = block[block.index("texts, labels =") :].strip().splitlines()
  assert len(job) <= 6
  for part in ("BertClassifier(", ".fit(", ".predict(", ".score(", ".save(", ".export("):
    assert part in "".join(job)


def test_library_page(root, bert):
  run(root / "docs" / "library.md", "# As a library")
  assert (bert / "film.keras").exists()


PUBLIC = {
  "BertConfig": "bert_tf.config.BertConfig", "BertModel": "bert_tf.modeling.BertModel",
  "UserError": "bert_tf.errors.UserError", "load": "bert_tf.trained_model.loading.load",
  "TrainedModel": "bert_tf.trained_model.model.TrainedModel",
  "BertClassifier": "bert_tf.estimators.classifier.BertClassifier",
  "BertRegressor": "bert_tf.estimators.regressor.BertRegressor",
  "BertTagger": "bert_tf.estimators.tagger.BertTagger",
  "BertQuestionAnswerer": "bert_tf.estimators.question_answerer.BertQuestionAnswerer",
  "checkpoints": "bert_tf.checkpoints", "tokenization": "bert_tf.tokenization",
}  # fmt: skip
# These train; README and tests/estimators train others.
LONG = ("BertClassifier", "BertRegressor", "BertTagger", "BertQuestionAnswerer")


def test_the_public_face_is_small_and_all_of_it_is_here():
  assert sorted(bert_tf.__all__) == sorted(PUBLIC)
  assert set(bert_tf.__all__) <= set(dir(bert_tf))
  for name in bert_tf.__all__:
    assert getattr(bert_tf, name) is _object(PUBLIC[name]), name


def _object(path: str):
  module, _, name = path.rpartition(".")
  found = getattr(importlib.import_module(module), name, None)
  return importlib.import_module(path) if found is None else found


@pytest.mark.parametrize(
  "name", [pytest.param(n, marks=pytest.mark.long if n in LONG else ()) for n in PUBLIC]
)
def test_docstring_has_an_example_that_runs(name, bert):
  found = _object(PUBLIC[name])
  [test] = [t for t in doctest.DocTestFinder(recurse=False).find(found, name) if t.name == name]
  assert test.examples, f"{name}: add an example to its docstring"
  report: list[str] = []
  runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
  runner.run(test, out=report.append)
  assert not runner.failures, "".join(report)
