from __future__ import annotations

import logging
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from bert_tf.errors import UserError
from bert_tf.model_dir import weight_files
from bert_tf.training import output_dir
from bert_tf.training.checkpointing import CheckpointManager


class Run:
  def __init__(self, directory, keep: int = 3):
    self.variables = {
      "weights": tf.Variable(tf.zeros([64, 64])),
      "global_step": tf.Variable(0, dtype=tf.int64),
      "bert_tf/loss_scale": tf.Variable(4.0),
    }
    self.manager = CheckpointManager(str(directory), lambda: self.variables, keep)

  def save(self, step: int) -> str:
    self.variables["global_step"].assign(step)
    self.variables["weights"].assign(tf.fill([64, 64], float(step)))
    return self.manager.save()


def steps(directory) -> list[int]:
  return [weight_files.step_of(prefix) for prefix in weight_files.complete_checkpoints(directory)]


def test_keeps_the_newest_and_lists_them_for_tensorflow(tmp_path):
  run = Run(tmp_path)
  for step in (1, 2, 9, 10, 100):
    run.save(step)
  assert steps(tmp_path) == [9, 10, 100]
  assert tf.train.latest_checkpoint(str(tmp_path)) == str(tmp_path / "model.ckpt-100")
  listed = tf.train.get_checkpoint_state(str(tmp_path)).all_model_checkpoint_paths
  assert [path.rpartition("-")[2] for path in listed] == ["9", "10", "100"]


@pytest.mark.parametrize("damage", ["truncated", "flipped", "index"])
def test_a_broken_checkpoint_is_named_and_the_one_before_taken(tmp_path, caplog, damage):
  run = Run(tmp_path)
  run.save(1)
  prefix = run.save(2)
  path = pathlib.Path(prefix + (".index" if damage == "index" else ".data-00000-of-00001"))
  data = bytearray(path.read_bytes())
  if damage == "flipped":
    data[1000] ^= 1
  else:
    data = data[: len(data) // 2]
  path.write_bytes(data)
  again = Run(tmp_path)
  with caplog.at_level(logging.WARNING, "absl"):
    assert again.manager.restore() == str(tmp_path / "model.ckpt-1")
  assert f"{prefix}: expected a complete TensorFlow checkpoint" in caplog.text
  np.testing.assert_array_equal(again.variables["weights"], np.ones([64, 64]))


def test_a_run_whose_checkpoints_are_all_broken_is_not_begun_anew(tmp_path):
  for step in (1, 2):
    with open(Run(tmp_path).save(step) + ".data-00000-of-00001", "wb"):
      pass
  with pytest.raises(UserError, match="found 2 broken"):
    Run(tmp_path).manager.restore()


def test_what_killed_processes_leave_is_removed(tmp_path):
  run = Run(tmp_path)
  run.save(1)
  (tmp_path / ".saving-abc").mkdir()
  (tmp_path / ".saving-abc" / "model.ckpt.data-00000-of-00001").write_bytes(b"half")
  # Killed between moving the data and moving the index.
  orphan = tmp_path / "model.ckpt-2.data-00000-of-00001"
  orphan.write_bytes(b"all of it, but no index")
  (tmp_path / ".checkpoint.abcd1234").write_text("half")
  others = tmp_path / "model.ckpt-export.txt", tmp_path / "notes.txt"
  for path in others:
    path.write_text("the user's own")
  output_dir.prepare(str(tmp_path)).close()
  assert steps(tmp_path) == [1]
  assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
    [
      ".lock", "checkpoint", "model.ckpt-1.data-00000-of-00001", "model.ckpt-1.index",
      "model.ckpt-export.txt", "notes.txt",
    ]
  )  # fmt: skip


def test_another_model_is_refused(tmp_path):
  Run(tmp_path).save(1)
  run = Run(tmp_path)
  run.variables["weights"] = tf.Variable(tf.zeros([64, 32]))
  with pytest.raises(UserError, match=r"expected weights of shape \[64, 32\], found \[64, 64\]"):
    run.manager.restore()
  run.variables["more"] = run.variables.pop("weights")
  with pytest.raises(UserError, match=r"expected more of shape .* found nothing"):
    run.manager.restore()


def test_the_original_s_checkpoints_need_hold_nothing_of_ours(tmp_path):
  run = Run(tmp_path)
  own = run.variables.pop("bert_tf/loss_scale")
  run.save(5)
  run.variables["bert_tf/loss_scale"] = own
  assert run.manager.restore()
  assert own.numpy() == 4.0
  assert run.variables["global_step"].numpy() == 5
