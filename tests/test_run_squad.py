"""run_squad.py as its user meets it; references in tests/golden/cli and tests/golden/squad."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys

import fine_tuning_runs
import numpy as np
import pytest

from bert_tf.data import records
from bert_tf.errors import UserError
from bert_tf.tasks.fine_tuning import steps_of_epochs
from bert_tf.training.options import DeviceOptions, TrainingOptions

FLAGS = {
  "bert_config_file": None, "vocab_file": None, "output_dir": None, "train_file": None,
  "predict_file": None, "init_checkpoint": None, "do_lower_case": True, "max_seq_length": 384,
  "doc_stride": 128, "max_query_length": 64, "do_train": False, "do_predict": False,
  "train_batch_size": 32, "predict_batch_size": 8, "learning_rate": 5e-5, "num_train_epochs": 3.0,
  "warmup_proportion": 0.1, "save_checkpoints_steps": 1000, "iterations_per_loop": 1000,
  "n_best_size": 20, "max_answer_length": 30, "verbose_logging": False,
  "version_2_with_negative": False, "null_score_diff_threshold": 0.0,
  "use_tpu": False, "tpu_name": None, "tpu_zone": None, "gcp_project": None, "master": None,
  "num_tpu_cores": 8,
}  # fmt: skip


def settings(golden, tmp_path, version="v1", **changes):
  """The flags of the golden runs."""
  return {
    "bert_config_file": str(golden / "bert_config.json"),
    "vocab_file": str(golden / "vocab.txt"),
    "output_dir": str(tmp_path / "out"),
    "predict_file": str(golden / f"squad_{version}.json"),
    "init_checkpoint": str(golden / "tiny_heads_ckpt" / "model.ckpt"),
    "max_seq_length": 96,
    "doc_stride": 32,
    "max_query_length": 24,
    "do_predict": True,
    **changes,
  }


@pytest.fixture
def script(root, tmp_path):
  """Runs the script; forbids TensorFlow unless told otherwise."""

  def run(flags, tensorflow=False) -> subprocess.CompletedProcess:
    forbid = "" if tensorflow else "sys.modules['tensorflow'] = None;"
    code = f"import sys, runpy; sys.path.insert(0, {str(root)!r}); {forbid}"
    code += f" runpy.run_path({str(root / 'run_squad.py')!r}, run_name='__main__')"
    return subprocess.run(
      [sys.executable, "-c", code, *(f"--{name}={value}" for name, value in flags.items())],
      cwd=tmp_path, capture_output=True, text=True, timeout=300,
    )  # fmt: skip

  return run


def test_flags_are_the_originals(root):
  code = (
    "from bert_tf.scripts import run_squad as script; import json;"
    "print(json.dumps({n: script.FLAGS[n].default for n in script.FLAGS}))"
  )
  result = subprocess.run(
    [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
  )
  defaults = json.loads(result.stdout)
  assert {name: defaults[name] for name in FLAGS} == FLAGS


def check_nbest(path, expected_path):
  """Texts as the original's; probabilities within 1e-5 (float32 sums in another order)."""
  with gzip.open(expected_path, "rt", encoding="utf-8") as file:
    expected = json.load(file)
  found = json.loads(path.read_text())
  assert list(found) == list(expected)
  for qas_id, answers in expected.items():
    assert [answer["text"] for answer in found[qas_id]] == [answer["text"] for answer in answers]
    for name in ("probability", "start_logit", "end_logit"):
      np.testing.assert_allclose(
        [answer[name] for answer in found[qas_id]],
        [answer[name] for answer in answers],
        rtol=0,
        atol=1e-5,
      )


def test_squad_1_through_the_script(script, golden, tmp_path):
  result = script(settings(golden, tmp_path), tensorflow=True)
  assert result.returncode == 0, result.stderr
  out = tmp_path / "out"
  expected = (golden / "cli" / "squad_v1_predictions.json").read_text()
  assert (out / "predictions.json").read_text() == expected
  check_nbest(out / "nbest_predictions.json", golden / "squad" / "wp_v1_checkpoint_nbest.json.gz")
  assert sorted(path.name for path in out.iterdir()) == [
    "eval.tf_record", "eval_metrics.json", "nbest_predictions.json", "predictions.json",
  ]  # fmt: skip
  # Random weights: nobody expects right answers, but the scores are there and printed.
  scores = json.loads((out / "eval_metrics.json").read_text())
  assert list(scores) == ["exact_match", "f1"]
  assert json.loads(result.stdout) == scores


def predict(**flags):
  fine_tuning_runs.squad(**flags).predict(DeviceOptions())


def test_a_dry_run_predicts_nothing(script, golden, tmp_path):
  result = script({**settings(golden, tmp_path), "dry_run": True})
  assert result.returncode == 0, result.stderr
  assert not (tmp_path / "out").exists()


def test_squad_2(golden, tmp_path):
  options = {"version_2_with_negative": True, "null_score_diff_threshold": -2.0}
  predict(**settings(golden, tmp_path, "v2", **options))
  out = tmp_path / "out"
  expected = (golden / "cli" / "squad_v2_predictions.json").read_text()
  assert (out / "predictions.json").read_text() == expected
  expected = json.loads((golden / "cli" / "squad_v2_null_odds.json").read_text())
  found = json.loads((out / "null_odds.json").read_text())
  assert list(found) == list(expected)
  np.testing.assert_allclose(list(found.values()), list(expected.values()), rtol=0, atol=1e-5)
  check_nbest(out / "nbest_predictions.json", golden / "squad" / "wp_v2_checkpoint_nbest.json.gz")
  scores = json.loads((out / "eval_metrics.json").read_text())
  assert (scores["total"], scores["NoAns_total"]) == (34, 13)
  assert "best_f1_thresh" in scores


def test_dynamic_padding(golden, tmp_path):
  """Without padding, no answer is worse: positions of padding only take candidates' places."""
  flags = settings(golden, tmp_path, max_seq_length=128, doc_stride=100, predict_batch_size=3)
  predict(**flags)
  predict(**{**flags, "output_dir": str(tmp_path / "dynamic"), "dynamic_padding": True})
  full, dynamic = (
    json.loads((tmp_path / name / "nbest_predictions.json").read_text())
    for name in ("out", "dynamic")
  )
  assert list(dynamic) == list(full)

  def score(answers):
    return answers[0]["start_logit"] + answers[0]["end_logit"]

  same = [dynamic[key][0]["text"] == full[key][0]["text"] for key in full]
  assert np.mean(same) > 0.9
  for key in full:
    assert score(dynamic[key]) > score(full[key]) - 1e-5


def test_training_learns_and_predicts_from_its_checkpoint(golden, tmp_path):
  """A tiny model learns the fixture's answers by heart; nothing but the data tells it them."""
  path = str(golden / "squad_v1.json")
  flags = settings(golden, tmp_path, do_train=True, train_file=path)
  flags["init_checkpoint"] = str(golden / "tiny_ckpt" / "bert_model.ckpt")
  runner = fine_tuning_runs.squad(**flags)
  assert runner.num_train_examples == 31  # Two answers cannot be found.
  steps, warmup = steps_of_epochs(31, 16, 150, 0.1)
  assert (steps, warmup) == (290, 29)
  runner.train(
    TrainingOptions(
      flags["output_dir"],
      steps,
      warmup,
      16,
      2e-3,
      flags["init_checkpoint"],
      log_steps=10,
      eval_steps=145,
    ),
    DeviceOptions(),
  )
  runner.predict(DeviceOptions())
  out = tmp_path / "out"
  assert json.loads((out / "eval_metrics.json").read_text())["exact_match"] > 60
  log = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
  losses = [record["loss"] for record in log if record["kind"] == "train"]
  assert losses[0] > 3 and losses[-1] < 1
  scores = [record["f1"] for record in log if record["kind"] == "eval"]
  assert len(scores) == 2 and scores[1] > 60
  assert (out / "best" / "eval_results.txt").exists()

  windows = [records.decode_example(data) for data in records.read_records(out / "train.tf_record")]
  assert len(windows) == 185
  assert all(list(window) == sorted(records.squad(96, is_training=True)) for window in windows)
  # Questions are shuffled, windows of one question stay together.
  assert [window["unique_ids"] for window in windows] == [[1000000000 + i] for i in range(185)]

  import tensorflow as tf

  saved = dict(tf.train.list_variables(str(out / "model.ckpt-290")))
  assert saved["cls/squad/output_weights"] == [2, 32]
  assert saved["cls/squad/output_bias/adam_v"] == [2]
  assert "bert/pooler/dense/kernel" in saved
  # The answers do not depend on the pooler: the original has no slots for it either.
  assert "bert/pooler/dense/kernel/adam_m" not in saved


def test_evaluation_while_training_needs_answers(golden, tmp_path):
  flags = settings(golden, tmp_path, do_train=True, do_predict=False)
  runner = fine_tuning_runs.squad(**flags, train_file=str(golden / "squad_v1.json"))
  with pytest.raises(UserError, match="`eval_steps`: expected `do_predict` and a `predict_file`"):
    runner.train(TrainingOptions(flags["output_dir"], 10, 1, 8, eval_steps=5), DeviceOptions())


def test_steps_are_counted_from_questions():
  # Published: 87,599 questions in batches of 32, two epochs; they make more windows.
  assert steps_of_epochs(87599, 32, 2.0, 0.1) == (5474, 547)


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"do_predict": False}, "expected `do_train`, `do_eval` or `do_predict`, found none"),
    ({"predict_file": None}, "`do_predict`: expected `predict_file`"),
    ({"do_train": True}, "`do_train`: expected `train_file`"),
    ({"predict_file": "nothing.json"}, r"nothing\.json"),
    ({"bert_config_file": "nothing.json"}, r"nothing\.json"),
    ({"init_checkpoint": "nothing.ckpt"}, r"found nothing at 'nothing\.ckpt'"),
    ({"init_checkpoint": None}, "expected a checkpoint in `output_dir` .* found none"),
    ({"max_seq_length": 27}, r"max_seq_length \(27\) must be greater than max_query_length \(24\)"),
    ({"max_seq_length": 129}, "129` is more than the 128 positions"),
    ({"doc_stride": 0}, "doc_stride >= 1"),
    ({"predict_batch_size": 0}, "`predict_batch_size`: expected at least 1"),
    ({"n_best_size": 0}, "`n_best_size`: expected at least 1"),
    ({"max_answer_length": 0}, "`max_answer_length`"),
  ],
)
def test_bad_flags(golden, tmp_path, changes, message):
  with pytest.raises(UserError, match=message):
    fine_tuning_runs.squad(**settings(golden, tmp_path, **changes))
  assert not (tmp_path / "out").exists()


def test_vocabulary_of_another_size(golden, tmp_path):
  flags = settings(golden, tmp_path, vocab_file=str(golden / "vocab_cased.txt"))
  with pytest.raises(UserError, match=r"vocab_cased\.txt: expected at most the 1200 tokens"):
    fine_tuning_runs.squad(**flags, do_lower_case=False)


def broken_squad(golden, tmp_path, change):
  squad = json.loads((golden / "squad_v1.json").read_text(encoding="utf-8"))
  change(squad)
  path = tmp_path / "broken.json"
  path.write_text(json.dumps(squad), encoding="utf-8")
  return str(path)


@pytest.mark.parametrize("case", ["offset", "data", "version_2"])
def test_bad_files_are_one_line_before_tensorflow_is_loaded(script, golden, tmp_path, case):
  def move_answer(squad):
    squad["data"][0]["paragraphs"][0]["qas"][1]["answers"][0]["answer_start"] = 5000

  flags = settings(golden, tmp_path)
  if case == "offset":
    path = broken_squad(golden, tmp_path, move_answer)
    flags |= {"do_train": True, "train_file": path}
    message = "question 'salt-2': expected an answer inside the context"
  elif case == "data":
    flags["predict_file"] = broken_squad(golden, tmp_path, lambda squad: squad.pop("data"))
    message = "add 'data'"
  else:
    flags["predict_file"] = str(golden / "squad_v2.json")
    message = "pass --version_2_with_negative=True"
  result = script(flags)
  assert result.returncode == 1
  assert result.stderr.startswith("error: ") and message in result.stderr
  assert len(result.stderr.splitlines()) == 1
  assert not (tmp_path / "out").exists()
