"""What ends a run early, what is evaluated, what is left out."""

from __future__ import annotations

import dataclasses
import json
import logging

import numpy as np
import pytest
from runs import GOLDEN, golden_batches, golden_config, golden_task, weights_of
from test_step import ONE_DEVICE, original_options, train_records

from bert_tf.errors import UserError
from bert_tf.model_dir.weight_files import complete_checkpoints, step_of
from bert_tf.training import loop
from bert_tf.training.options import TrainingOptions

# One layer, to trace it quickly; from random weights.
CONFIG = golden_config("tiny", num_hidden_layers=1)


def options_for(directory, **changes) -> TrainingOptions:
  return original_options(directory, **{"init_checkpoint": None, "num_train_steps": 6, **changes})


def poisoned(step: int) -> list[dict]:
  """Batches of which one has a weight that is not a number."""
  batches = golden_batches()
  batches[step - 1]["masked_lm_weights"][1, 2] = float("nan")
  return batches


def test_a_loss_that_is_not_finite_ends_the_run_and_is_explained(tmp_path):
  options = options_for(tmp_path, save_checkpoints_steps=2)
  with pytest.raises(UserError) as raised:
    loop.train(golden_task(CONFIG, poisoned(4)), options, ONE_DEVICE)
  message = str(raised.value)
  assert message.startswith("step 4: expected a finite loss and gradient, found loss nan")
  assert "masked_lm loss is the first output that is not finite" in message
  assert "learning rate (0.000333 in this step)" in message
  path = tmp_path / "nonfinite_step_4.npz"
  assert str(path) in message
  saved = np.load(path)
  np.testing.assert_array_equal(saved["input_ids"], golden_batches()[3]["input_ids"])
  # Nothing of it is in the checkpoints, so the run can go on with better data.
  assert [step_of(p) for p in complete_checkpoints(str(tmp_path))] == [0, 2]
  assert loop.train(golden_task(CONFIG), options, ONE_DEVICE) == 6
  assert all(np.isfinite(value).all() for name, value in weights_of(tmp_path).items()
             if name != "bert_tf/best_value")  # fmt: skip


def test_a_rate_of_zero_is_not_blamed(tmp_path):
  with pytest.raises(UserError) as raised:
    loop.train(
      golden_task(CONFIG, poisoned(1)), options_for(tmp_path, learning_rate=0.0), ONE_DEVICE
    )
  assert "not the learning rate, which is 0 in this step" in str(raised.value)
  assert "too high" not in str(raised.value)


def test_batches_that_are_not_finite_can_be_left_out(tmp_path):
  options = options_for(tmp_path, skip_nonfinite_steps=1, log_steps=3)
  assert loop.train(golden_task(CONFIG, poisoned(4)), options, ONE_DEVICE) == 6
  weights = weights_of(tmp_path)
  assert weights["bert_tf/skipped_steps"] == 1
  assert weights["global_step"] == 6
  first, second = train_records(tmp_path)
  assert "skipped_steps" not in first
  assert second["skipped_steps"] == 1
  assert np.isfinite(second["loss"])
  batches = poisoned(4)
  batches[4]["masked_lm_weights"][0, 0] = float("inf")
  with pytest.raises(UserError, match="step 5: expected a finite loss"):
    loop.train(
      golden_task(CONFIG, batches), dataclasses.replace(options, output_dir=f"{tmp_path}/2"),
      ONE_DEVICE,
    )  # fmt: skip


def test_an_id_outside_of_the_vocabulary_is_named_with_its_step(tmp_path):
  batches = golden_batches()
  batches[2]["input_ids"][0, 5] = 1300
  with pytest.raises(UserError, match=r"step 3: input_ids holds 1300, outside of 0 to 1199"):
    loop.train(golden_task(CONFIG, batches), options_for(tmp_path), ONE_DEVICE)


def evaluated_task(values: list[float], metric: str = "-loss"):
  """A task whose evaluations give these values, one after the other."""
  task = golden_task(CONFIG)
  results = iter(values)
  # The class is this task's own.
  type(task).best_metric = metric
  type(task).evaluate = lambda self, model: {metric.removeprefix("-"): next(results)}
  return task


def best_step(directory) -> int:
  [prefix] = complete_checkpoints(str(directory / "best"))
  return step_of(prefix)


def test_the_best_weights_are_kept_apart(tmp_path):
  options = options_for(tmp_path, eval_steps=2)
  assert loop.train(evaluated_task([3.0, 2.0, 2.5]), options, ONE_DEVICE) == 6
  assert best_step(tmp_path) == 4
  assert (tmp_path / "best" / "eval_results.txt").read_text() == "global_step = 4\nloss = 2.0\n"
  lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
  evaluations = [(line["step"], line["loss"]) for line in lines if line["kind"] == "eval"]
  assert evaluations == [(2, 3.0), (4, 2.0), (6, 2.5)]
  best = weights_of(tmp_path / "best")
  assert best["global_step"] == 4
  assert not any(name.endswith("adam_m") for name in best)
  # They are weights to start from.
  other = options_for(tmp_path / "next", init_checkpoint=str(tmp_path / "best"), num_train_steps=1)
  loop.train(golden_task(CONFIG), other, ONE_DEVICE)


def test_early_stopping_waits_as_long_as_it_is_told(tmp_path, caplog):
  options = options_for(
    tmp_path, eval_steps=1, early_stopping_patience=2, num_train_steps=15, log_steps=100
  )
  task = evaluated_task([0.5, 0.6, float("nan"), 0.7, 0.7, 0.2, 0.9], "accuracy")
  with caplog.at_level(logging.INFO, "absl"):
    assert loop.train(task, options, ONE_DEVICE) == 6
  assert best_step(tmp_path) == 4
  assert "Ending training at step 6: 2 evaluations brought nothing better than step 4" in (
    caplog.text
  )
  # Started once more, the run knows that it has ended.
  assert loop.train(evaluated_task([]), options, ONE_DEVICE) == 6
  assert "was stopped early" in caplog.text


def test_pretraining_is_evaluated_as_its_own_script_does(tmp_path):
  options = options_for(tmp_path, eval_steps=6)
  from runs import write_records

  files = write_records(tmp_path)
  task = golden_task(CONFIG, files=files)
  loop.train(task, options, ONE_DEVICE)
  line = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[-1])
  assert line["kind"] == "eval"
  assert line["loss"] == pytest.approx(line["masked_lm_loss"] + line["next_sentence_loss"], abs=0.1)
  assert 0 <= line["masked_lm_accuracy"] <= 1


def test_time_that_is_used_up_ends_training_at_rate_zero(tmp_path, caplog):
  options = options_for(
    tmp_path, num_train_steps=10**6, num_warmup_steps=0, total_training_time=4.0, log_steps=1
  )
  endless = golden_batches() * 400
  with caplog.at_level(logging.INFO, "absl"):
    step = loop.train(golden_task(CONFIG, endless), options, ONE_DEVICE)
  assert 0 < step < 10**6
  assert f"Ending training at step {step}: its time is used up" in caplog.text
  rates = [record["learning_rate"] for record in train_records(tmp_path)]
  # The schedule followed the clock, as the steps alone would have left the rate where it was.
  assert rates == sorted(rates, reverse=True)
  assert rates[-1] < 0.99e-3
  assert weights_of(tmp_path)["bert_tf/elapsed_seconds"] >= 4.0
  assert loop.train(golden_task(CONFIG, endless), options, ONE_DEVICE) == step


def test_a_profile_of_some_steps(tmp_path):
  loop.train(golden_task(CONFIG), options_for(tmp_path, profile_steps=(3, 4)), ONE_DEVICE)
  assert list(tmp_path.glob("plugins/profile/*/*.xplane.pb"))


def test_a_dry_run_tells_much_and_writes_nothing(tmp_path, caplog):
  options = options_for(tmp_path / "out", dry_run=True, learning_rate=0.5)
  with caplog.at_level(logging.INFO, "absl"):
    assert loop.train(golden_task(CONFIG), options, ONE_DEVICE) == 0
  for text in (
    f"Dry run: {golden_parameters()} parameters in 30 variables",
    "next_sentence_labels: 0:",
    "% padding",
    "a step",
    "GB for each device",
    "`learning_rate=0.5` is high for AdamW",
    "no `init_checkpoint`",
    "nothing found that would fail, 2 warning(s)",
  ):
    assert text in caplog.text, text
  assert not (tmp_path / "out").exists()


def golden_parameters() -> int:
  """Of the tiny model without its second layer, by the shapes that the original logged."""
  shapes = json.loads((GOLDEN / "model" / "variables.json").read_text())
  entries = json.loads((GOLDEN / "model" / "train.json").read_text())["final"]
  assert shapes
  return sum(int(np.prod(e["shape"])) for n, e in entries.items() if "/layer_1/" not in n)


def test_a_dry_run_fails_where_the_run_would(tmp_path):
  batches = golden_batches()
  batches[2]["segment_ids"][0, 5] = 7
  options = options_for(tmp_path / "out", dry_run=True)
  with pytest.raises(UserError, match="segment_ids holds 7"):
    loop.train(golden_task(CONFIG, batches), options, ONE_DEVICE)
  other = dataclasses.replace(options, init_checkpoint=str(GOLDEN / "relu_ckpt" / "model.ckpt"))
  with pytest.raises(UserError, match=r"expected .* of shape"):
    loop.train(golden_task(CONFIG), other, ONE_DEVICE)


def test_a_batch_that_cannot_be_divided_is_refused(tmp_path):
  options = options_for(tmp_path, gradient_accumulation_steps=3)
  with pytest.raises(UserError, match="`train_batch_size`: expected a multiple of 3"):
    loop.train(golden_task(CONFIG), options, ONE_DEVICE)


def test_evaluation_that_a_task_does_not_offer_is_refused(tmp_path):
  task = golden_task(CONFIG)
  type(task).can_evaluate = False
  with pytest.raises(UserError, match="`eval_steps`: expected something to evaluate on"):
    loop.train(task, options_for(tmp_path, eval_steps=2), ONE_DEVICE)
