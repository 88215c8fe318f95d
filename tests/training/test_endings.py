"""How a run ends: by its time, by a signal, by an error, by what others do to its directory."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import time

import numpy as np
import pytest
from runs import (
  finish,
  golden_batches,
  golden_config,
  golden_task,
  in_process,
  log_of,
  train,
  weights_of,
  write_records,
)  # fmt: skip

from bert_tf.errors import UserError
from bert_tf.training import output_dir
from bert_tf.training.options import DeviceOptions, TrainingOptions

ENDLESS = {"num_train_steps": 10**6, "save_checkpoints_steps": 10**6, "log_steps": 10**6}


def records_of(directory, kind: str) -> list[dict]:
  lines = map(json.loads, (directory / "metrics.jsonl").read_text().splitlines())
  return [line for line in lines if line["kind"] == kind]


def wait_for(condition, process) -> None:
  deadline = time.monotonic() + 120
  while not condition():
    assert process.is_alive()
    assert time.monotonic() < deadline
    time.sleep(0.05)


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> list[str]:
  return write_records(tmp_path_factory.mktemp("records"))


def test_a_run_whose_time_is_up_is_evaluated_at_its_end(tmp_path, files):
  options = {**ENDLESS, "eval_steps": 10**6, "total_training_time": 3.0}
  assert finish(in_process(train, str(tmp_path), "one_device", options, files=files), 120) == 0
  step = int(weights_of(tmp_path)["global_step"])
  assert [line["step"] for line in records_of(tmp_path, "train")] == [step]
  assert [line["step"] for line in records_of(tmp_path, "eval")] == [step]
  assert weights_of(tmp_path / "best")["global_step"] == step


def test_a_run_that_is_stopped_is_evaluated_and_writes_its_last_metrics(tmp_path, files):
  options = {**ENDLESS, "log_steps": 5, "eval_steps": 10**6}
  process = in_process(train, str(tmp_path), "one_device", options, files=files)
  wait_for(lambda: records_of(tmp_path, "train") if (tmp_path / "metrics.jsonl").exists() else 0,
           process)  # fmt: skip
  os.kill(process.pid, signal.SIGTERM)
  assert finish(process, 60) == 128 + signal.SIGTERM, log_of(tmp_path)
  saved = weights_of(tmp_path)
  step = int(saved["global_step"])
  assert records_of(tmp_path, "train")[-1]["step"] == step
  assert [line["step"] for line in records_of(tmp_path, "eval")] == [step]
  assert saved["bert_tf/best_step"] == step
  assert saved["bert_tf/evaluations_since_best"] == 0


def train_on_unequal_shares(directory: str, kind: str) -> None:
  """Two replicas whose shares have rows of different lengths; the third batch is bad."""
  import tensorflow as tf
  from absl import logging

  from bert_tf import script
  from bert_tf.training import loop

  os.makedirs(directory)
  os.dup2(os.open(os.path.join(directory, "log"), os.O_WRONLY | os.O_CREAT), 2)
  logging.set_verbosity(logging.INFO)
  cpu = tf.config.list_physical_devices("CPU")[0]
  tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
  batches = golden_batches()
  if kind == "loss":
    batches[2]["masked_lm_weights"][3, 0] = float("nan")
  else:
    batches[2]["input_ids"][0, 5] = 1300
  task = golden_task(golden_config("tiny"), batches)
  whole = task.train_dataset

  def cut(options):
    # Every other share is cut to its 60 first places, as shares of similar length are.
    def shorter(number, batch):
      length = 64 - 4 * tf.cast(number % 2, tf.int32)
      names = "input_ids", "input_mask", "segment_ids"
      places = tf.minimum(batch["masked_lm_positions"], length - 1)
      cut = {name: batch[name][:, :length] for name in names}
      return {**batch, **cut, "masked_lm_positions": places}

    return whole(options).enumerate(options.skip_batches).map(shorter)

  type(task).train_dataset = lambda self, options: cut(options)
  options = TrainingOptions(directory, 6, 1, 4, log_steps=1)
  devices = DeviceOptions(distribution_strategy="mirrored")
  script.call(lambda: loop.train(task, options, devices))


@pytest.mark.parametrize(
  ("kind", "message"),
  [
    ("loss", "error: step 3: expected a finite loss and gradient, found loss nan"),
    ("ids", "error: step 3: input_ids holds 1300, outside of 0 to 1199"),
  ],
)
def test_a_step_that_fails_on_two_replicas_is_explained(tmp_path, kind, message):
  directory = tmp_path / "out"
  process = in_process(train_on_unequal_shares, str(directory), kind)
  assert finish(process, 120) == 1, log_of(directory)
  assert message in log_of(directory)
  assert "ConcatOp" not in log_of(directory)
  if kind == "loss":
    with np.load(directory / "nonfinite_step_3.npz") as batch:
      assert batch["input_ids"].shape == (4, 64)
      assert not batch["input_mask"][2:, 60:].any()


def train_two_shapes(directory: str) -> None:
  for number, width in enumerate((32, 48, 32)):
    config = {"hidden_size": width, "num_hidden_layers": 1}
    train(f"{directory}/{number}", "mirrored", {"num_train_steps": 2}, config)


@pytest.mark.long
def test_two_mirrored_trainings_of_different_shapes_in_one_process(tmp_path):
  assert finish(in_process(train_two_shapes, str(tmp_path)), 180) == 0, log_of(tmp_path / "1")
  assert all(weights_of(tmp_path / str(number))["global_step"] == 2 for number in range(3))


@pytest.mark.parametrize("removed", ["directory", "lock", "replaced"])
def test_a_directory_that_is_removed_while_training_is_noticed(tmp_path, files, removed):
  directory = tmp_path / "out"
  process = in_process(train, str(directory), "one_device", {**ENDLESS, "log_steps": 5},
                       files=files)  # fmt: skip
  metrics = directory / "metrics.jsonl"
  wait_for(lambda: metrics.exists() and metrics.read_text(), process)
  log = (directory / "log").open()
  if removed == "lock":
    (directory / ".lock").unlink()
    wait_for(lambda: "was removed while training; taking it again" in log.read(), process)
    os.kill(process.pid, signal.SIGTERM)
    assert finish(process, 60) == 128 + signal.SIGTERM
    assert (directory / ".lock").exists()
    return
  if removed == "replaced":
    directory.rename(tmp_path / "elsewhere")
    directory.mkdir()
  else:
    shutil.rmtree(directory)
  assert finish(process, 60) == 1
  assert "error: --output_dir: expected" in log.read()


def test_a_lock_that_another_process_took_over_ends_the_run(tmp_path):
  with output_dir.prepare(str(tmp_path)) as lock:
    lock.check()
    (tmp_path / ".lock").unlink()
    lock.check()
    (tmp_path / ".lock").unlink()
    with (
      output_dir.prepare(str(tmp_path)),
      pytest.raises(UserError, match=r"another process .* is at work in"),
    ):
      lock.check()
  assert (tmp_path / ".lock").read_text() == ""


def bytes_of(directory) -> dict:
  return {p: p.read_bytes() for p in sorted(directory.rglob("*")) if p.is_file()}


def test_a_finished_run_is_left_as_it_was(tmp_path, caplog):
  from bert_tf.training import loop

  task = golden_task(golden_config("tiny", num_hidden_layers=1))
  options = TrainingOptions(str(tmp_path), 3, 1, 4, learning_rate=1e-3)
  devices = DeviceOptions(distribution_strategy="one_device")
  loop.train(task, options, devices)
  before = bytes_of(tmp_path)
  assert loop.train(task, options, devices) == 3
  assert bytes_of(tmp_path) == before
  assert "has done 3 of 3 steps. To train on, raise `num_train_steps`" in caplog.text
  assert "give another `output_dir`" in caplog.text
  # A state file that a full disk left empty is written anew, though nothing is trained.
  (tmp_path / "checkpoint").write_text("")
  assert loop.train(task, options, devices) == 3
  assert bytes_of(tmp_path).keys() == before.keys()
  assert 'model_checkpoint_path: "model.ckpt-3"' in (tmp_path / "checkpoint").read_text()
  # More steps go on from there.
  more = dataclasses.replace(options, num_train_steps=5, num_warmup_steps=2)
  assert loop.train(task, more, devices) == 5
  assert "going on for longer than was said: was `num_train_steps=3` (now 5)" in caplog.text


def test_a_run_that_failed_in_its_first_step_can_be_mended(tmp_path, caplog):
  from bert_tf.training import loop

  config = golden_config("tiny", num_hidden_layers=1)
  batches = golden_batches()
  batches[0]["masked_lm_weights"][0, 0] = float("nan")
  options = TrainingOptions(str(tmp_path), 3, 1, 4, learning_rate=10.0)
  devices = DeviceOptions(distribution_strategy="one_device")
  with pytest.raises(UserError, match="step 1: expected a finite loss") as caught:
    loop.train(golden_task(config, batches), options, devices)
  assert "allow_config_change" not in str(caught.value)
  mended = dataclasses.replace(options, learning_rate=1e-3)
  assert loop.train(golden_task(config), mended, devices) == 3
  assert "starting anew" in caplog.text
  # One that failed later names what its advice needs.
  batches[0], batches[4] = golden_batches()[0], batches[0]
  longer = dataclasses.replace(mended, num_train_steps=6)
  with pytest.raises(UserError, match=r"lower `learning_rate` .* with `allow_config_change`"):
    loop.train(golden_task(config, batches), longer, devices)
