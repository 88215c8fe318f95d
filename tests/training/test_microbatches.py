"""A batch in pieces of so many tokens: the update is that of the whole batch."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf
from runs import LENGTH, PREDICTIONS, golden_config, weights_of, write_records

from bert_tf import UserError
from bert_tf.data import records
from bert_tf.model_dir import weight_files
from bert_tf.tasks.pretraining.task import PretrainingTask, Source
from bert_tf.training import loop, microbatches
from bert_tf.training.options import DeviceOptions, TrainingOptions

ONE_DEVICE = DeviceOptions(distribution_strategy="one_device")
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def batch_of(lengths: list[int], width: int = 64) -> dict[str, tf.Tensor]:
  mask = (np.arange(width) < np.array(lengths)[:, None]).astype(np.int32)
  return {
    "input_ids": tf.constant(mask * np.arange(1, len(lengths) + 1)[:, None], tf.int32),
    "input_mask": tf.constant(mask),
    "label_ids": tf.range(1, len(lengths) + 1),
  }


def cut(batch: microbatches.Pieces) -> list[dict[str, tf.Tensor]]:
  found, start = [], tf.constant(0)
  while start < batch.rows:
    piece, start = batch.take(start)
    found.append(piece)
  return found


@pytest.mark.parametrize("budget", [64, 128, 200, 100000])
def test_pieces_hold_all_rows_within_the_budget(budget):
  lengths = [3, 64, 17, 16, 40, 5, 64, 1, 33]
  found = cut(microbatches.of_tokens(batch_of(lengths), budget, ("input_ids", "input_mask")))
  assert sorted(int(i) for piece in found for i in piece["label_ids"]) == list(range(1, 10))
  for piece in found:
    rows, width = piece["input_mask"].shape
    assert piece["input_ids"].shape == (rows, width) and rows * width <= budget
    longest = int(tf.reduce_max(tf.reduce_sum(piece["input_mask"], 1)))
    assert width == microbatches.round_up(longest)
    for row, number in enumerate(piece["label_ids"].numpy()):
      assert int(tf.reduce_sum(piece["input_mask"][row])) == lengths[number - 1]
      assert int(piece["input_ids"][row, 0]) == number
  widths = [piece["input_mask"].shape[1] for piece in found]
  assert widths == sorted(widths, reverse=True)


def test_padding_stays_where_a_loss_depends_on_it():
  found = cut(microbatches.of_tokens(batch_of([3, 9, 20, 5, 6]), 128))
  assert [piece["input_mask"].shape for piece in found] == [(2, 64), (2, 64), (1, 64)]


def test_equal_pieces_are_in_order():
  found = cut(microbatches.equal(batch_of([3, 9, 20, 5]), 2))
  assert [piece["label_ids"].numpy().tolist() for piece in found] == [[1, 2], [3, 4]]


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> list[str]:
  return write_records(tmp_path_factory.mktemp("records"), files=1, short=True)


def train(directory, files, steps=5, pack=False, config=NO_DROPOUT, **more) -> list[dict]:
  """Trains the tiny model; returns the lines of its log."""
  source = Source(files, records.pretraining(LENGTH, PREDICTIONS), pack=pack)
  task = PretrainingTask(golden_config("tiny", **config), source)
  options = TrainingOptions(
    str(directory), steps, 2, train_batch_size=10, learning_rate=1e-3, log_steps=1, **more
  )
  loop.train(task, options, ONE_DEVICE)
  return [json.loads(line) for line in (directory / "metrics.jsonl").open()]


@pytest.fixture(scope="module")
def whole(tmp_path_factory, files) -> tuple[list[dict], dict[str, np.ndarray]]:
  directory = tmp_path_factory.mktemp("whole")
  return train(directory, files), weights_of(directory)


WAYS = {
  "tokens": {"tokens_per_batch": 200},
  "packed": {"pack": True},
  "packed, tokens": {"pack": True, "tokens_per_batch": 128},
}


@pytest.mark.parametrize("way", WAYS)
def test_the_weights_are_those_of_whole_batches(way, whole, files, tmp_path):
  log = train(tmp_path, files, **WAYS[way])
  expected_log, expected = whole
  for line, reference in zip(log, expected_log, strict=True):
    for name in ("loss", "masked_lm_loss", "next_sentence_loss", "gradient_norm"):
      assert line[name] == pytest.approx(reference[name], rel=2e-5), name
    assert line["padding_ratio"] < reference["padding_ratio"] - 0.05
  found = weights_of(tmp_path)
  for name, value in expected.items():
    if not name.startswith("bert_tf/"):
      # The true gradient of key biases is zero: Adam scales rounding noise.
      atol = 5e-5 if "key/bias" in name else 1e-5
      np.testing.assert_allclose(found[name], value, rtol=0, atol=atol, err_msg=name)


def test_a_run_that_was_stopped_ends_with_the_same_bits(files, tmp_path):
  """With dropout: its masks follow the pieces."""
  ways = {"pack": True, "tokens_per_batch": 128, "config": {}, "save_checkpoints_steps": 3}
  train(tmp_path / "whole", files, 6, **ways)
  part = tmp_path / "part"
  train(part, files, 6, **ways)
  # As if it had been killed after step 3.
  for path in part.glob("model.ckpt-6*"):
    path.unlink()
  [newest] = weight_files.complete_checkpoints(part)[-1:]
  assert newest.endswith("model.ckpt-3")
  train(part, files, 6, **ways)
  expected, found = weights_of(tmp_path / "whole"), weights_of(part)
  for name, value in expected.items():
    if name != "bert_tf/elapsed_seconds":
      np.testing.assert_array_equal(found[name], value, err_msg=name)


def test_two_ways_at_once_are_refused(tmp_path):
  with pytest.raises(UserError, match="expected `tokens_per_batch` or `gradient_accumulation"):
    TrainingOptions(str(tmp_path), 1, 0, 4, tokens_per_batch=64, gradient_accumulation_steps=2)
  options = TrainingOptions(str(tmp_path), 1, 0, 4)
  with pytest.raises(UserError, match="`tokens_per_batch`: expected at least 0"):
    dataclasses.replace(options, tokens_per_batch=-1)
