"""Labels that are unequally frequent, from their table to the served answer."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import random
import subprocess
import sys

import fine_tuning_runs
import numpy as np
import pytest

from bert_tf import UserError, load, model_dir
from bert_tf.export import exporters
from bert_tf.export.options import GraphPlan
from bert_tf.serving.predict import predict, readable
from bert_tf.tasks.classification.processors import TableOptions
from bert_tf.tasks.fine_tuning import steps_of_epochs
from bert_tf.training.options import DeviceOptions, TrainingOptions

WORDS = ("the", "of", "and", "to", "in", "is", "was", "for", "on", "with", "as", "by", "at", "from")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> pathlib.Path:
  """One text in eight is of the label "yes", or has the label "b"; one word tells, most times."""
  directory = tmp_path_factory.mktemp("unequal")
  rng = random.Random(3)
  for split, count in (("train", 160), ("dev", 80), ("test", 40)):
    rows = ["text\tlabel\tlabels\n"]
    for number in range(count):
      rare = number % 8 == 0
      words = rng.choices(WORDS, k=6)
      words[2] = "water" if rare ^ (rng.random() < 0.1) else "river"
      rows.append(f"{' '.join(words)}\t{'yes' if rare else 'no'}\t{'a,b' if rare else 'a'}\n")
    (directory / f"{split}.tsv").write_text("".join(rows))
  return directory


def flags(golden, data, output_dir, **more) -> dict:
  return {
    "task_name": "table", "data_dir": str(data), "vocab_file": str(golden / "vocab.txt"),
    "bert_config_file": str(golden / "bert_config.json"), "output_dir": str(output_dir),
    "init_checkpoint": str(golden / "tiny_ckpt"), "max_seq_length": 16, **more,
  }  # fmt: skip


def json_lines(path: pathlib.Path) -> list[dict]:
  return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.long
def test_all_of_it_in_one_command(root, golden, data, tmp_path):
  """What the dev set chose is the threshold of predictions, of the export, and of `load`."""
  out, served = tmp_path / "out", tmp_path / "served"
  told = {
    **flags(golden, data, out), "do_train": True, "do_eval": True, "do_predict": True,
    "num_train_epochs": 2, "train_batch_size": 16, "learning_rate": 1e-3,
    "allow_missing": "output_*", "class_weights": "yes:40", "choose_threshold": "f1",
    "eval_steps": 10, "best_metric": "macro_f1", "export_dir": served,
  }  # fmt: skip
  result = subprocess.run(
    [sys.executable, root / "run_classifier.py", *(f"--{k}={v}" for k, v in told.items())],
    capture_output=True, text=True, timeout=300, check=False,
  )  # fmt: skip
  assert result.returncode == 0, result.stderr[-2000:]
  assert "Weights of labels in the loss: no 1, yes 40" in result.stderr
  assert "true \\ predicted  no  yes" in result.stderr
  assert "label  precision  recall      f1   count" in result.stderr
  assert (out / "evaluation.png").read_bytes().startswith(b"\x89PNG")
  threshold = json.loads((out / "head.json").read_text())["settings"]["thresholds"]["yes"]
  assert threshold != 0.5, "the test would see nothing"
  predicted = json_lines(out / "predictions.jsonl")
  probabilities = np.array([line["probabilities"]["yes"] for line in predicted])
  assert [line["label"] for line in predicted] == [
    "yes" if p > threshold else "no" for p in probabilities
  ]
  scores = json.loads((out / "eval_metrics.json").read_text())
  assert np.sum(scores["confusion_matrix"]) == 80

  texts = [line.split("\t")[0] for line in (data / "test.tsv").read_text().splitlines()[1:]]
  # The weights with the best macro F1 are those that answer.
  trained = load(out / "best")
  trained.about = dataclasses.replace(trained.about, settings=model_dir.describe(str(out)).settings)
  assert trained.predict(texts).tolist() == [line["label"] for line in predicted]
  [version] = (path for path in served.iterdir() if path.name.isdigit())
  assert json.loads((version / "assets" / "serving.json").read_text())["thresholds"] == {
    "yes": threshold
  }
  answers = list(predict(str(served), texts))
  assert [answer["label"] for answer in answers] == [line["label"] for line in predicted]
  assert {answer["truncated"] for answer in answers} == {False}


def test_several_labels(golden, data, tmp_path):
  import tensorflow as tf

  out = tmp_path / "out"
  table = TableOptions(label_column="labels", task_type="multilabel")
  given = {**flags(golden, data, out), "table": table, "allow_missing": ("output_*",)}
  run = fine_tuning_runs.classifier(
    **given, do_train=True, do_eval=True, choose_threshold="f1", class_weights="b:5"
  )
  options = {"train_batch_size": 16, "learning_rate": 1e-3}
  steps = steps_of_epochs(run.num_train_examples, 16, 1, 0.1)
  run.train(
    TrainingOptions(str(out), *steps, init_checkpoint=given["init_checkpoint"], **options),
    DeviceOptions(),
  )
  run.evaluate(DeviceOptions())
  thresholds = run.about.settings["thresholds"]
  assert set(thresholds) == {"a", "b"} and thresholds["a"] == 0.5
  # Another start finds them beside the weights.
  run = fine_tuning_runs.classifier(**given, do_predict=True)
  run.predict(DeviceOptions())
  assert model_dir.describe(str(out)).settings["thresholds"] == thresholds
  predicted = json_lines(out / "predictions.jsonl")
  for line in predicted:
    over = [label for label, p in line["probabilities"].items() if p > thresholds[label]]
    assert line["labels"] == over
  texts = [line.split("\t")[0] for line in (data / "test.tsv").read_text().splitlines()[1:]]
  assert load(out).predict(texts) == [line["labels"] for line in predicted]
  graph = exporters.graph_of(run.weights, GraphPlan(run.about))
  found = {k: v.numpy() for k, v in graph.answers_to_text(tf.constant(texts)).items()}
  answers = [readable({k: v[row] for k, v in found.items()}) for row in range(len(texts))]
  assert [answer["chosen"] for answer in answers] == [line["labels"] for line in predicted]


@pytest.mark.parametrize(
  ("more", "training", "message"),
  [
    (
      {},
      {"best_metric": "f2", "eval_steps": 5},
      "expected one of accuracy, macro_f1, matthews, f1",
    ),
    ({}, {"best_metric": "f1"}, "`best_metric`: expected evaluations to judge by"),
    ({"class_weights": "maybe:2"}, {}, "expected labels of no, yes, found 'maybe'"),
    ({"choose_threshold": "f1"}, {}, "`choose_threshold`: expected `do_eval`"),
  ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
  golden, data, tmp_path, more, training, message
):
  out = tmp_path / "out"
  with pytest.raises(UserError) as error:
    run = fine_tuning_runs.classifier(
      **flags(golden, data, out), table=TableOptions(), do_train=True, **more
    )
    run.train(TrainingOptions(str(out), 5, 0, **training), DeviceOptions())
  assert message in str(error.value)
  assert not out.exists()


def test_other_weights_are_another_run(golden, data, tmp_path):
  out = tmp_path / "out"
  given = {
    **flags(golden, data, out), "table": TableOptions(), "allow_missing": ("output_*",),
    "do_train": True,
  }  # fmt: skip
  options = TrainingOptions(str(out), 1, 0, init_checkpoint=given["init_checkpoint"])
  fine_tuning_runs.classifier(**given).train(options, DeviceOptions())
  run = fine_tuning_runs.classifier(**given, class_weights="balanced")
  with pytest.raises(UserError, match="`class_weights=None`"):
    run.train(options, DeviceOptions())
