"""run_classifier.py against the original's results, on small tables, and on bad input."""

from __future__ import annotations

import json
import subprocess
import sys

import fine_tuning_runs
import numpy as np
import pytest

from bert_tf import UserError
from bert_tf.data import records
from bert_tf.tasks.benchmarks.glue import GLUE
from bert_tf.tasks.classification.processors import TableOptions
from bert_tf.tasks.fine_tuning import steps_of_epochs
from bert_tf.training.options import DeviceOptions, TrainingOptions

CASES = {
  "MRPC": ("bert_config.json", "tiny_heads_ckpt/model.ckpt", 64),
  "CoLA": ("bert_config.json", "tiny_heads_ckpt/model.ckpt", 64),
  "MNLI": ("config_relu_large_type.json", "relu_ckpt/model.ckpt", 64),
  "XNLI": ("config_relu_large_type.json", "relu_ckpt/model.ckpt", 48),
}
# The flags of the original with their defaults.
FLAGS = {
  "data_dir": None, "bert_config_file": None, "task_name": None, "vocab_file": None,
  "output_dir": None, "init_checkpoint": None, "do_lower_case": True, "max_seq_length": 128,
  "do_train": False, "do_eval": False, "do_predict": False, "train_batch_size": 32,
  "eval_batch_size": 8, "predict_batch_size": 8, "learning_rate": 5e-5, "num_train_epochs": 3.0,
  "warmup_proportion": 0.1, "save_checkpoints_steps": 1000, "iterations_per_loop": 1000,
  "use_tpu": False, "tpu_name": None, "tpu_zone": None, "gcp_project": None, "master": None,
  "num_tpu_cores": 8,
}  # fmt: skip


def settings(golden, output_dir, task="MRPC", **more):
  """The flags of the golden runs."""
  config, checkpoint, length = CASES[task]
  return {
    "task_name": task,
    "data_dir": str(golden / "glue" / task),
    "vocab_file": str(golden / "vocab.txt"),
    "bert_config_file": str(golden / config),
    "init_checkpoint": str(golden / checkpoint),
    "max_seq_length": length,
    "output_dir": str(output_dir),
    **more,
  }


def table_settings(golden, tmp_path, rows, **options):
  """Flags for the rows of a table, header first, that is train, dev and test set at once."""
  data = tmp_path / "data"
  data.mkdir(exist_ok=True)
  for split in ("train", "dev", "test"):
    (data / f"{split}.tsv").write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
  return settings(
    golden, tmp_path / "out", task_name="table", data_dir=str(data), table=TableOptions(**options),
    eval_batch_size=64, predict_batch_size=64, allow_missing=("output_*",),
  )  # fmt: skip


def train(flags, epochs, **more):
  runner = fine_tuning_runs.classifier(**flags, do_train=True)
  steps = steps_of_epochs(runner.num_train_examples, 30, epochs, 0.1)
  options = TrainingOptions(
    flags["output_dir"], *steps, train_batch_size=30, init_checkpoint=flags["init_checkpoint"],
    keep_checkpoint_max=1, **{"learning_rate": 2e-3, **more},
  )  # fmt: skip
  runner.train(options, DeviceOptions())


def evaluate_and_predict(flags, predicts=True):
  runner = fine_tuning_runs.classifier(**flags, do_eval=True, do_predict=predicts)
  runner.evaluate(DeviceOptions())
  if predicts:
    runner.predict(DeviceOptions())


def json_lines(path):
  return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def script(root, flags, forbid_tensorflow=False):
  forbid = "sys.modules['tensorflow'] = None;" if forbid_tensorflow else ""
  code = f"import sys, runpy; sys.path.insert(0, {str(root)!r}); {forbid}"
  code += f" runpy.run_path({str(root / 'run_classifier.py')!r}, run_name='__main__')"
  return subprocess.run(
    [sys.executable, "-c", code, *(f"--{name}={value}" for name, value in flags.items())],
    capture_output=True, text=True, timeout=300, check=False,
  )  # fmt: skip


def check_results(golden, task, output_dir, predicts):
  """Tolerances of the golden README: probabilities and losses 1e-5, accuracies equal."""
  expected = (golden / "cli" / f"{task}_eval_results.txt").read_text().splitlines()
  found = (output_dir / "eval_results.txt").read_text().splitlines()
  for line, reference in zip(found, expected, strict=True):
    (key, value), (reference_key, reference_value) = line.split(" = "), reference.split(" = ")
    assert key == reference_key
    tolerance = 0 if key in ("eval_accuracy", "global_step") else 1e-5
    assert float(value) == pytest.approx(float(reference_value), rel=0, abs=tolerance)
  if not predicts:
    return
  rows = np.loadtxt(output_dir / "test_results.tsv", delimiter="\t")
  reference = np.loadtxt(golden / "cli" / f"{task}_test_results.tsv", delimiter="\t")
  np.testing.assert_allclose(rows, reference, rtol=0, atol=1e-5)
  named = json_lines(output_dir / "predictions.jsonl")
  assert [max(p["probabilities"].values()) for p in named] == pytest.approx(list(rows.max(1)))
  assert named[0]["id"].startswith("test-")


def test_flags_are_the_originals(root):
  code = (
    "from bert_tf.scripts import run_classifier as script; import json;"
    "print(json.dumps({n: script.FLAGS[n].default for n in script.FLAGS}))"
  )
  result = subprocess.run(
    [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
  )
  defaults = json.loads(result.stdout)
  assert {name: defaults[name] for name in FLAGS} == FLAGS


def test_results_of_the_script_are_the_originals(root, golden, tmp_path):
  result = script(root, settings(golden, tmp_path, do_eval=True, do_predict=True))
  assert result.returncode == 0, result.stderr
  check_results(golden, "MRPC", tmp_path, True)


@pytest.mark.parametrize("task", ["CoLA", "MNLI", "XNLI"])
def test_results_are_the_originals(task, golden, tmp_path):
  predicts = task != "XNLI"
  evaluate_and_predict(settings(golden, tmp_path, task), predicts)
  check_results(golden, task, tmp_path, predicts)


def test_padding_and_batches_change_nothing_but_the_mean_of_batches(golden, tmp_path):
  flags = settings(golden, tmp_path, pad_to_max_length=True, eval_batch_size=16)
  evaluate_and_predict({**flags, "predict_batch_size": 3})
  # 16 examples are one batch here and two of 8 in the golden run: the same mean.
  check_results(golden, "MRPC", tmp_path, True)


def test_learns_pairs_and_remembers_its_labels(golden, tmp_path):
  """The label depends on the second text alone: a reader that drops it cannot learn it."""
  pairs = [(first, second) for first in "abc" for second in ("red", "green", "blue")] * 20
  rows = [
    f"{a} word\t{b}\t{'warm' if b == 'red' else 'cold'}\tn{i}" for i, (a, b) in enumerate(pairs)
  ]
  flags = table_settings(
    golden, tmp_path, ["first\tsecond\tverdict\tname", *rows], text_column="first",
    text_pair_column="second", label_column="verdict", id_column="name",
  )  # fmt: skip
  train(flags, epochs=20, learning_rate=1e-3, eval_steps=60)
  out = tmp_path / "out"
  assert (out / "labels.txt").read_text() == "cold\nwarm\n"
  best = dict(line.split(" = ") for line in (out / "best" / "eval_results.txt").open())
  assert {"accuracy", "f1", "matthews", "loss", "global_step"} <= set(best)
  record = records.decode_example(next(records.read_records(out / "train.tf_record")))
  assert {name: len(values) for name, values in record.items()} == {
    "input_ids": 64, "input_mask": 64, "segment_ids": 64, "label_ids": 1, "is_real_example": 1,
  }  # fmt: skip
  (tmp_path / "data" / "train.tsv").unlink()
  evaluate_and_predict(flags)
  scores = json.loads((out / "eval_metrics.json").read_text())
  # Always saying "cold" scores 0.67.
  assert scores["accuracy"] > 0.9
  named = json_lines(out / "predictions.jsonl")
  right = [p["label"] == row.split("\t")[2] for p, row in zip(named, rows, strict=True)]
  assert np.mean(right) == pytest.approx(scores["accuracy"])
  assert [p["id"] for p in named] == [f"n{i}" for i in range(len(rows))]


def test_learns_numbers(golden, tmp_path):
  rows = [f"{'good ' * n}{'bad ' * (4 - n)}\t{n / 4}" for n in range(5)] * 30
  flags = table_settings(golden, tmp_path, ["text\tlabel", *rows], task_type="regression")
  train(flags, epochs=40)
  evaluate_and_predict(flags)
  out = tmp_path / "out"
  assert json.loads((out / "eval_metrics.json").read_text())["pearson"] > 0.9
  keys = [line.split(" = ")[0] for line in (out / "eval_results.txt").open()]
  assert keys == ["eval_loss", "eval_pearson", "eval_spearman", "global_step", "loss"]
  values = np.loadtxt(out / "test_results.tsv")
  named = json_lines(out / "predictions.jsonl")
  assert [p["value"] for p in named] == pytest.approx(values.tolist())


def test_learns_several_labels(golden, tmp_path):
  texts = {"red": "warm", "red green": "warm;calm", "green": "calm", "blue": ""}
  rows = [f"{text}\t{labels}" for text, labels in texts.items()] * 30
  flags = table_settings(
    golden, tmp_path, ["text\tlabel", *rows], task_type="multilabel", label_separator=";"
  )
  train(flags, epochs=30)
  evaluate_and_predict(flags)
  out = tmp_path / "out"
  assert json.loads((out / "eval_metrics.json").read_text())["micro_f1"] > 0.9
  named = json_lines(out / "predictions.jsonl")
  assert {type(p["labels"]) for p in named} == {list}
  assert set(named[0]["probabilities"]) == {"warm", "calm"}
  # Each label has a probability of its own.
  assert max(sum(p["probabilities"].values()) for p in named) > 1.5


def test_a_dry_run_leaves_nothing(golden, tmp_path, caplog):
  caplog.set_level("INFO", logger="absl")
  flags = table_settings(golden, tmp_path, ["text\tlabel", *["red\ta"] * 59, "green\tb"])
  train(flags, epochs=1, dry_run=True, eval_steps=1)
  assert not (tmp_path / "out").exists()
  assert "label_ids is nearly always 0" in caplog.text


def test_a_directory_with_other_labels_is_refused(golden, tmp_path):
  rows = ["text\tlabel", *["red\ta", "green\tb"] * 30]
  train(table_settings(golden, tmp_path, rows), epochs=1)
  flags = table_settings(golden, tmp_path, [row.replace("\tb", "\tc") for row in rows])
  with pytest.raises(UserError, match=r"1 of 2 entries of `labels` others, first b \(now c\)"):
    train(flags, epochs=1)
  assert (tmp_path / "out" / "labels.txt").read_text() == "a\nb\n"
  with pytest.raises(UserError, match=r"dev.tsv: line 3: expected a label of a, b, found 'c'"):
    fine_tuning_runs.classifier(**flags, do_eval=True)


BAD = [
  ({"do_eval": False}, "`do_train`, `do_eval` or `do_predict`"),
  ({"task_name": "sst"}, "`task_name`: expected one of cola, mnli, mrpc, xnli, ax, mnli-mm, qnli"),
  ({"data_dir": "/nothing"}, "expected a directory, found nothing at '/nothing'"),
  ({"max_seq_length": 256}, "128 positions"),
  ({"max_seq_length": 2}, "`max_seq_length`: expected at least 3"),
  ({"eval_batch_size": 0}, "`eval_batch_size`: expected at least 1"),
  ({"vocab_file": "vocab_cased.txt"}, "expected at most the 1200 tokens"),
  ({"init_checkpoint": "/nothing/model.ckpt"}, "/nothing/model.ckpt"),
  ({"init_checkpoint": ""}, "expected a checkpoint in `output_dir`"),
  ({"task_name": "CoLA", "do_train": True}, "train.tsv: line 1: expected a label of 0, 1, found"),
  ({"task_name": "XNLI"}, "xnli.dev.tsv"),
]


@pytest.mark.parametrize(("changes", "message"), BAD)
def test_bad_input_is_refused(changes, message, golden, tmp_path):
  if "vocab_file" in changes:
    changes = {"vocab_file": str(golden / changes["vocab_file"])}
  flags = {**settings(golden, tmp_path / "out"), "do_eval": True, **changes}
  with pytest.raises(UserError) as error:
    fine_tuning_runs.classifier(**flags)
  assert message in str(error.value)
  assert not (tmp_path / "out").exists()


def test_bad_input_is_one_line_without_tensorflow(root, golden, tmp_path):
  flags = settings(golden, tmp_path / "out", do_eval=True, task_name="sst")
  result = script(root, flags, forbid_tensorflow=True)
  assert result.returncode == 1
  assert result.stderr.startswith("error: --task_name: expected one of cola, mnli")
  assert len(result.stderr.splitlines()) == 1


def test_the_model_of_mnli_answers_the_other_sets(golden, tmp_path):
  """The rows of the matched sets under the names of the others: the original's answers to them."""
  matched = golden / "glue" / "MNLI"
  data, out = tmp_path / "data", tmp_path / "out"
  data.mkdir()
  for split in ("dev", "test"):
    text = (matched / f"{split}_matched.tsv").read_text(encoding="utf-8")
    (data / f"{split}_mismatched.tsv").write_text(text, encoding="utf-8")
  rows = [line.split("\t") for line in text.splitlines()]
  diagnostic = "".join("\t".join([row[0], *row[8:10]]) + "\n" for row in rows)
  (data / "diagnostic.tsv").write_text(diagnostic, encoding="utf-8")
  flags = settings(golden, out, "MNLI", data_dir=str(data))
  evaluate_and_predict({**flags, "task_name": "mnli-mm"})
  check_results(golden, "MNLI", out, predicts=True)
  (out / "test_results.tsv").unlink()
  fine_tuning_runs.classifier(**{**flags, "task_name": "ax"}, do_predict=True).predict(
    DeviceOptions()
  )
  check_results(golden, "MNLI", out, predicts=True)
  submission, path = GLUE.task("ax").submission, str(tmp_path / "AX.tsv")
  assert submission.write(str(out / "predictions.jsonl"), path) == len(rows) - 1
