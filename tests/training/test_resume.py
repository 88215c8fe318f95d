"""Runs that are killed, and checkpoints that are not whole."""

from __future__ import annotations

import os
import pathlib
import random
import re
import resource
import signal
import time

import numpy as np
import pytest
from runs import finish, free_ports, in_process, log_of, train, weights_of, write_records
from test_strategy import tf_config

from bert_tf.errors import UserError
from bert_tf.model_dir import weight_files
from bert_tf.training import output_dir

# Dropout is on (0.1, the config's), and 40 batches of 4 are more than an epoch of the records.
STEPS = 200
OPTIONS = {"num_train_steps": STEPS, "save_checkpoints_steps": 7, "log_steps": 5}


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> list[str]:
  return write_records(tmp_path_factory.mktemp("records"))


def steps_done(directory: pathlib.Path) -> int:
  """The newest step that the run has logged."""
  path = directory / "metrics.jsonl"
  return path.read_text().count('"kind": "train"') if path.exists() else 0


def wait_for_steps(directory: pathlib.Path, more_than: int, process) -> None:
  """Returns once the run has logged more steps than that, or has ended."""
  deadline = time.monotonic() + 300
  while steps_done(directory) <= more_than and process.is_alive():
    assert time.monotonic() < deadline, "no progress"
    time.sleep(0.01)


def assert_same_bits(directory, reference) -> None:
  found, expected = weights_of(directory), weights_of(reference)
  assert set(found) == set(expected)
  for name, value in expected.items():
    if name != "bert_tf/elapsed_seconds":
      np.testing.assert_array_equal(found[name], value, err_msg=name)


def check_killing(root: pathlib.Path, files: list[str], strategy: str, kills: int) -> None:
  """Kills a run `kills` times and compares its end with that of a run in peace."""
  reference, killed = root / "reference", root / "killed"
  done = in_process(train, str(reference), strategy, OPTIONS, files=files)
  moments = random.Random(kills)
  for _ in range(kills):
    before = steps_done(killed)
    process = in_process(train, str(killed), strategy, OPTIONS, files=files)
    # It must get on a little, or this would never end; then any moment is as good.
    wait_for_steps(killed, before, process)
    time.sleep(moments.uniform(0, 0.5))
    process.kill()
    process.join()
  last = in_process(train, str(killed), strategy, OPTIONS, files=files)
  assert finish(done, 600) == 0
  assert finish(last, 600) == 0
  assert "Resuming from" in log_of(killed)
  assert_same_bits(killed, reference)
  assert not list(killed.glob(".saving-*"))


@pytest.mark.parametrize(
  ("strategy", "kills"),
  [
    ("one_device", 2),
    pytest.param("mirrored", 1, marks=pytest.mark.long),
  ],
)
def test_killed_runs_end_with_the_same_bits(tmp_path, files, strategy, kills):
  check_killing(tmp_path, files, strategy, kills)


@pytest.mark.long
@pytest.mark.parametrize("strategy", ["one_device", "mirrored"])
def test_killed_twenty_times(tmp_path, files, strategy):
  check_killing(tmp_path, files, strategy, 20)


def test_deterministic_operations_are_enough(tmp_path, files):
  """TensorFlow then refuses to run what has no deterministic kernel."""
  options = {**OPTIONS, "num_train_steps": 10, "deterministic": True}
  processes = [
    in_process(train, str(tmp_path / name), "one_device", options, files=files) for name in "ab"
  ]
  assert [finish(process, 300) for process in processes] == [0, 0]
  assert_same_bits(tmp_path / "a", tmp_path / "b")


def test_a_signal_saves_and_tells_how_to_go_on(tmp_path, files):
  options = {**OPTIONS, "num_train_steps": 100000, "save_checkpoints_steps": 100000}
  process = in_process(train, str(tmp_path), "one_device", options, files=files)
  wait_for_steps(tmp_path, 0, process)
  os.kill(process.pid, signal.SIGTERM)
  assert finish(process, 60) == 128 + signal.SIGTERM
  step = weights_of(tmp_path)["global_step"]
  assert step > 0
  message = f"stopped: saved {tmp_path}/model.ckpt-{step}; start the same command again to go on"
  assert message in log_of(tmp_path)


def start_workers(directory, options, files):
  """Two workers on this machine."""
  ports = free_ports(2)
  return [
    in_process(
      train,
      str(directory),
      "multi_worker_mirrored",
      options,
      files=files,
      environment=tf_config(ports, index),
    )
    for index in range(2)
  ]


@pytest.mark.long
def test_a_signal_to_one_of_two_workers_stops_both(tmp_path, files):
  """They agree on the step to stop at; neither waits for the other for ever."""
  options = {**OPTIONS, "num_train_steps": 100000, "save_checkpoints_steps": 100000}
  processes = start_workers(tmp_path, options, files)
  wait_for_steps(tmp_path, 0, processes[0])
  os.kill(processes[1].pid, signal.SIGTERM)
  assert [finish(process, 120) for process in processes] == [128 + signal.SIGTERM] * 2
  assert weights_of(tmp_path)["global_step"] > 0


@pytest.mark.long
def test_one_of_two_workers_is_lost(tmp_path, files):
  """The other one ends with a message; when both are started again, the run ends as it should."""
  options = {**OPTIONS, "num_train_steps": 100}

  def start(directory):
    return start_workers(directory, options, files)

  reference, killed = tmp_path / "reference", tmp_path / "killed"
  assert [finish(process, 600) for process in start(reference)] == [0, 0]
  processes = start(killed)
  wait_for_steps(killed, 3, processes[0])
  processes[1].kill()
  assert finish(processes[0], 300) == 1
  assert re.search(
    r"error: expected all workers to take part, found worker \d \(localhost:\d+\) gone",
    log_of(killed),
  )
  assert [finish(process, 600) for process in start(killed)] == [0, 0]
  assert "Resuming from" in log_of(killed)
  assert_same_bits(killed, reference)


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path, files):
  process = in_process(train_on_full_disk, str(tmp_path), files)
  assert finish(process, 120) == 1
  log = log_of(tmp_path)
  assert "error: cannot write the checkpoint" in log
  assert "model.ckpt-7:" in log
  assert [os.path.basename(p) for p in weight_files.complete_checkpoints(tmp_path)] == [
    "model.ckpt-0"
  ]
  assert not list(tmp_path.glob("model.ckpt-7*"))
  assert not list(tmp_path.glob(".saving-*"))
  # With room again, the same command goes on.
  assert finish(in_process(train, str(tmp_path), "one_device", OPTIONS, files=files), 120) == 0
  assert weights_of(tmp_path)["global_step"] == STEPS


def train_on_full_disk(directory: str, files: list[str]) -> None:
  """No file may grow beyond 100 kB once the first checkpoint is written."""
  from bert_tf.checkpoints import tf1

  write = tf1.write

  def write_then_fill_up(prefix, tensors):
    write(prefix, tensors)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

  tf1.write = write_then_fill_up
  train(directory, "one_device", OPTIONS, files=files)


def test_a_second_run_in_the_same_directory_is_refused(tmp_path):
  with output_dir.prepare(str(tmp_path)):
    process = in_process(output_dir.prepare, str(tmp_path))
    assert finish(process, 60) == 1
    with pytest.raises(UserError, match=rf"another process \(pid {os.getpid()}\) is at work in"):
      output_dir.prepare(str(tmp_path))
  output_dir.prepare(str(tmp_path)).close()


def test_a_directory_that_cannot_be_made_is_named(tmp_path):
  (tmp_path / "file").write_text("")
  with pytest.raises(UserError, match=r"`output_dir`: cannot write in .*file/run"):
    output_dir.prepare(str(tmp_path / "file" / "run"))
