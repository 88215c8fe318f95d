"""Targets of 100 to 800 from their table to the served answer."""

from __future__ import annotations

import json
import pathlib
import random

import fine_tuning_runs
import numpy as np
import pytest

from bert_tf import UserError, checkpoints, load
from bert_tf.export import exporters
from bert_tf.export.options import GraphPlan
from bert_tf.tasks.classification.processors import TableOptions
from bert_tf.tasks.fine_tuning import steps_of_epochs
from bert_tf.training.options import DeviceOptions, TrainingOptions

WORDS = ("the", "of", "and", "to", "in", "is", "was", "for", "on", "with", "as", "by", "at", "from")
WORTH = {"water": 150.0, "river": 700.0}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> pathlib.Path:
  """One word decides over the number, within some noise."""
  directory = tmp_path_factory.mktemp("large")
  rng = random.Random(5)
  for split, count in (("train", 160), ("dev", 40), ("test", 20)):
    rows = ["text\tlabel\n"]
    for _ in range(count):
      words = rng.choices(WORDS, k=6)
      words[2] = rng.choice(list(WORTH))
      rows.append(f"{' '.join(words)}\t{WORTH[words[2]] + rng.uniform(-50, 50):.1f}\n")
    (directory / f"{split}.tsv").write_text("".join(rows))
  return directory


def test_every_command_answers_in_the_numbers_of_the_table(golden, data, tmp_path):
  import tensorflow as tf

  out = tmp_path / "out"
  given = {
    "task_name": "table", "data_dir": str(data), "vocab_file": str(golden / "vocab.txt"),
    "bert_config_file": str(golden / "bert_config.json"), "output_dir": str(out),
    "init_checkpoint": str(golden / "tiny_ckpt"), "max_seq_length": 16,
    "table": TableOptions(task_type="regression"), "allow_missing": ("output_*",),
  }  # fmt: skip
  run = fine_tuning_runs.classifier(**given, do_train=True, do_eval=True)
  steps = steps_of_epochs(run.num_train_examples, 16, 4, 0.1)
  options = TrainingOptions(
    str(out), *steps, init_checkpoint=given["init_checkpoint"], train_batch_size=16,
    learning_rate=1e-3,
  )  # fmt: skip
  run.train(options, DeviceOptions())
  run.evaluate(DeviceOptions())
  scores = json.loads((out / "eval_metrics.json").read_text())
  assert scores["pearson"] > 0.9
  # In the unit of the table: noise of up to 50 around a mean of two numbers 550 apart.
  assert scores["mean_squared_error"] < 150**2
  scale = run.about.settings["label_scale"]
  assert 300 < scale["mean"] < 550 and 200 < scale["deviation"] < 350

  # Another start, into another directory, finds what lies beside the weights.
  new = tmp_path / "new"
  again = {**given, "output_dir": str(new), "init_checkpoint": str(out), "allow_missing": ()}
  fine_tuning_runs.classifier(**again, do_predict=True).predict(DeviceOptions())
  lines = (new / "predictions.jsonl").read_text().splitlines()
  predicted = [json.loads(line)["value"] for line in lines]
  texts = [line.split("\t")[0] for line in (data / "test.tsv").read_text().splitlines()[1:]]
  np.testing.assert_allclose(load(out).predict(texts), predicted, rtol=1e-5)
  graph = exporters.graph_of(run.weights, GraphPlan(run.about))
  served = graph.answers_to_text(tf.constant(texts))["score"].numpy()
  np.testing.assert_allclose(served, predicted, rtol=1e-5)
  # Other libraries know no scale.
  checkpoints.conversion.convert(str(out), str(tmp_path / "converted"), "huggingface")
  converted = load(tmp_path / "converted")
  assert converted.model.label_scale is None
  np.testing.assert_allclose(converted.predict(texts), predicted, rtol=1e-5)


def test_classes_have_no_scale(golden, data, tmp_path):
  with pytest.raises(UserError, match="`standardize_labels`: expected a regression"):
    fine_tuning_runs.classifier(
      task_name="table", data_dir=str(data), vocab_file=str(golden / "vocab.txt"),
      bert_config_file=str(golden / "bert_config.json"), output_dir=str(tmp_path / "out"),
      init_checkpoint=str(golden / "tiny_ckpt"), max_seq_length=16, do_train=True,
      table=TableOptions(task_type="classification"), standardize_labels=True,
    )  # fmt: skip
