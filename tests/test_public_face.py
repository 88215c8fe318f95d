"""The public face: small, and with examples that run; tests/docs runs those of README and docs."""

from __future__ import annotations

import doctest
import importlib
import shutil

import pytest

import bert_tf


@pytest.fixture
def bert(golden, tmp_path, monkeypatch):
  """A directory with a small BERT under the name that the docstrings use."""
  monkeypatch.chdir(tmp_path)
  shutil.copytree(golden / "tiny_ckpt", "tiny_bert")
  for file in ("vocab.txt", "bert_config.json"):
    shutil.copy(golden / file, "tiny_bert")
  return tmp_path


def test_the_job_of_run_classifier_takes_six_lines(root):
  """Data, training, scores, predictions, keeping and export, in README's first block."""
  text = (root / "README.md").read_text(encoding="utf-8").split("## As a library")[1]
  block = text.split("```python\n")[1].split("```")[0]
  job = block[block.index("texts, labels =") :].strip().splitlines()
  assert len(job) <= 6
  for part in ("BertClassifier(", ".fit(", ".predict(", ".score(", ".save(", ".export("):
    assert part in "".join(job)


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
