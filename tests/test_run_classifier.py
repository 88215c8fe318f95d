"""run_classifier.py from the command line, against the original's results."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

CASES = {
  "MRPC": ("bert_config.json", "tiny_heads_ckpt/model.ckpt", 64),
  "CoLA": ("bert_config.json", "tiny_heads_ckpt/model.ckpt", 64),
  "MNLI": ("config_relu_large_type.json", "relu_ckpt/model.ckpt", 64),
  "XNLI": ("config_relu_large_type.json", "relu_ckpt/model.ckpt", 48),
}


def run(root, *args, **flags):
  command = [sys.executable, str(root / "run_classifier.py"), *args]
  command += [f"--{name}={value}" for name, value in flags.items()]
  return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def task_flags(golden, output_dir, task="MRPC", **more):
  config, checkpoint, length = CASES[task]
  return {
    "task_name": task,
    "data_dir": golden / "glue" / task,
    "vocab_file": golden / "vocab.txt",
    "bert_config_file": golden / config,
    "init_checkpoint": golden / checkpoint,
    "max_seq_length": length,
    "output_dir": output_dir,
    **more,
  }


@pytest.mark.parametrize("task", list(CASES))
def test_results_are_the_originals(task, root, golden, tmp_path):
  """Tolerances of the golden README: probabilities and losses 1e-5, accuracies equal."""
  predicts = task != "XNLI"
  result = run(root, **task_flags(golden, tmp_path, task, do_eval=True, do_predict=predicts))
  assert result.returncode == 0, result.stderr
  expected = (golden / "cli" / f"{task}_eval_results.txt").read_text().splitlines()
  found = (tmp_path / "eval_results.txt").read_text().splitlines()
  for line, reference in zip(found, expected, strict=True):
    (key, value), (reference_key, reference_value) = line.split(" = "), reference.split(" = ")
    assert key == reference_key
    assert float(value) == pytest.approx(float(reference_value), abs=1e-5)
  if predicts:
    rows = np.loadtxt(tmp_path / "test_results.tsv", delimiter="\t")
    reference = np.loadtxt(golden / "cli" / f"{task}_test_results.tsv", delimiter="\t")
    np.testing.assert_allclose(rows, reference, atol=1e-5)
    named = [json.loads(line) for line in (tmp_path / "predictions.jsonl").open()]
    assert [max(p["probabilities"].values()) for p in named] == pytest.approx(list(rows.max(1)))
    assert named[0]["id"].startswith("test-")


def test_learns_a_table_with_a_pair_and_remembers_its_labels(root, golden, tmp_path):
  """Trains, and in a second start evaluates and predicts without the training data."""
  # The label depends on the second text alone, so a reader that drops it cannot learn it.
  pairs = [(first, second) for first in "abc" for second in ("red", "green", "blue")] * 20
  lines = [f"{a} word\t{b}\t{'warm' if b == 'red' else 'cold'}" for a, b in pairs]
  data = tmp_path / "data"
  data.mkdir()
  header = "first\tsecond\tverdict"
  for split in ("train", "dev", "test"):
    (data / f"{split}.tsv").write_text("\n".join([header, *lines]) + "\n")
  flags = task_flags(
    golden, tmp_path / "out", task_name="table", data_dir=data, text_column="first",
    text_pair_column="second", label_column="verdict", eval_batch_size=64, predict_batch_size=64,
    allow_missing="output_*",
  )  # fmt: skip
  result = run(
    root, **flags, do_train=True, num_train_epochs=20, learning_rate=1e-3, train_batch_size=32,
    keep_checkpoint_max=1,
  )  # fmt: skip
  assert result.returncode == 0, result.stderr
  label_map = json.loads((tmp_path / "out" / "label_map.json").read_text())
  assert label_map == {"0": "cold", "1": "warm"}
  (data / "train.tsv").unlink()
  result = run(root, **flags, do_eval=True, do_predict=True)
  assert result.returncode == 0, result.stderr
  scores = json.loads((tmp_path / "out" / "eval_metrics.json").read_text())
  # Always saying "cold" scores 0.67.
  assert scores["accuracy"] > 0.9
  named = [json.loads(line) for line in (tmp_path / "out" / "predictions.jsonl").open()]
  right = [p["label"] == line.split("\t")[2] for p, line in zip(named, lines, strict=True)]
  assert np.mean(right) == pytest.approx(scores["accuracy"])


def test_learns_numbers(root, golden, tmp_path):
  (tmp_path / "data").mkdir()
  rows = [f"{'good ' * n}{'bad ' * (4 - n)}\t{n / 4}" for n in range(5)] * 30
  for split in ("train", "dev", "test"):
    (tmp_path / "data" / f"{split}.tsv").write_text("\n".join(["text\tlabel", *rows]) + "\n")
  result = run(
    root,
    **task_flags(
      golden, tmp_path / "out", task_name="table", data_dir=tmp_path / "data",
      task_type="regression", do_train=True, do_eval=True, do_predict=True, num_train_epochs=40,
      learning_rate=2e-3, train_batch_size=30, eval_batch_size=50, predict_batch_size=50,
      allow_missing="output_*",
    ),
  )  # fmt: skip
  assert result.returncode == 0, result.stderr
  scores = json.loads((tmp_path / "out" / "eval_metrics.json").read_text())
  assert scores["pearson"] > 0.9
  first = json.loads((tmp_path / "out" / "predictions.jsonl").read_text().splitlines()[0])
  assert set(first) == {"id", "value"}


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"do_eval": False}, "--do_train, --do_eval or --do_predict"),
    ({"task_name": "sst"}, "found 'sst'"),
    ({"data_dir": "/nothing"}, "expected a directory, found nothing at '/nothing'"),
    ({"max_seq_length": 256}, "128 positions"),
    ({"vocab_file": "vocab_cased.txt"}, "expected the 1200 tokens"),
    ({"init_checkpoint": "/nothing/model.ckpt"}, "/nothing/model.ckpt"),
  ],
)
def test_bad_input_is_one_line_before_tensorflow(changes, message, golden, tmp_path):
  """In this process: the runner must refuse before it imports TensorFlow to do anything."""
  from bert_tf import UserError
  from bert_tf.tasks.classification.run import ClassifierRun, ClassifierRunner

  if "vocab_file" in changes:
    changes = {"vocab_file": golden / changes["vocab_file"]}
  flags = task_flags(golden, str(tmp_path / "out"), do_eval=True, **{})
  flags = {k: str(v) if not isinstance(v, int | bool) else v for k, v in (flags | changes).items()}
  with pytest.raises(UserError, match=message):
    ClassifierRunner(ClassifierRun(**flags))
  assert not (tmp_path / "out").exists()


def test_the_script_prints_one_line(root, golden, tmp_path):
  result = run(root, **task_flags(golden, tmp_path, task_name="sst", do_eval=True))
  assert result.returncode == 1
  assert result.stderr.strip().startswith("error: --task_name: expected one of cola, mnli")
  assert len(result.stderr.strip().splitlines()) == 1
