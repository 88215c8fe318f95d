"""The loss and the model behind run_squad.py."""

from __future__ import annotations

import numpy as np
import scipy.special
import tensorflow as tf

from bert_tf import names
from bert_tf.config import BertConfig
from bert_tf.data import records
from bert_tf.tasks.squad.model import SquadTask
from bert_tf.training import inference


def config_of(golden):
  return BertConfig.from_json_file(str(golden / "bert_config.json"))


def test_loss_is_the_mean_of_both_cross_entropies(golden):
  rng = np.random.default_rng(1)
  start, end = rng.normal(size=[2, 5, 12]).astype(np.float32)
  positions = rng.integers(0, 12, [2, 5]).astype(np.int32)
  task = SquadTask(config_of(golden), 12)
  features = {"start_positions": positions[0], "end_positions": positions[1]}
  sums = task.loss_sums({"start_logits": start, "end_logits": end}, features)
  loss = sums["span"] / task.loss_weights(features)["span"]
  rows = np.arange(5)
  # -mean(sum(one_hot * log_softmax)) of each side, then their mean: the original's compute_loss.
  expected = -(
    scipy.special.log_softmax(start, axis=-1)[rows, positions[0]].mean()
    + scipy.special.log_softmax(end, axis=-1)[rows, positions[1]].mean()
  )
  np.testing.assert_allclose(loss, expected / 2, rtol=1e-6)


def test_variables_are_the_originals(golden):
  model = SquadTask(config_of(golden), 64).create_model("float32")
  variables = names.named_variables(model)
  saved = dict(tf.train.list_variables(str(golden / "tiny_heads_ckpt" / "model.ckpt")))
  # The checkpoint also holds a classifier.
  expected = {name: shape for name, shape in saved.items() if name not in names.TASK_HEADS[:2]}
  assert {name: list(variable.shape) for name, variable in variables.items()} == expected


def test_logits_do_not_depend_on_the_batch(golden, tmp_path):
  task = SquadTask(config_of(golden), 16)
  model = task.create_model("float32")
  rng = np.random.default_rng(1)
  features = {
    "input_ids": rng.integers(0, 1200, [7, 16]).astype(np.int32),
    "input_mask": (np.arange(16) < rng.integers(2, 17, [7, 1])).astype(np.int32),
    "segment_ids": (np.arange(16) >= 4).astype(np.int32) * np.ones([7, 1], np.int32),
  }
  path = str(tmp_path / "windows")
  with records.RecordWriter(path) as writer:
    for row in range(7):
      record = {name: values[row].tolist() for name, values in features.items()}
      writer.write(records.encode_example({"unique_ids": [row], **record}))
  one_by_one = list(task.predict(model, path, 7, 1))
  by_threes = list(task.predict(model, path, 7, 3))
  assert [row[0] for row in by_threes] == list(range(7))
  for alone, together in zip(one_by_one, by_threes, strict=True):
    assert alone[0] == together[0]
    np.testing.assert_allclose(alone[1:], together[1:], rtol=0, atol=1e-5)


def test_only_version_2_should_have_questions_without_an_answer(golden):
  from bert_tf.training import dry_run

  batch = {
    "input_mask": np.ones([8, 12], np.int32),
    "is_impossible": np.zeros([8], np.int32),
    "start_positions": np.zeros([8], np.int32),
  }
  for version_2 in (False, True):
    task = SquadTask(config_of(golden), 12, version_2_with_negative=version_2)
    warned = dry_run._data_warnings([batch], task)
    assert any("is_impossible is nearly always 0" in line for line in warned) == version_2


def test_an_evaluation_is_traced_once_for_a_model(golden):
  traces = []

  def answers(model, features):
    traces.append(model)
    return (model(features, training=False)["start_logits"],)

  predict = inference.Predictor(answers)
  model = SquadTask(config_of(golden), 12).create_model("float32")
  features = {
    "input_ids": tf.ones([2, 12], tf.int32), "input_mask": tf.ones([2, 12], tf.int32),
    "segment_ids": tf.zeros([2, 12], tf.int32),
  }  # fmt: skip
  batches = tf.data.Dataset.from_tensors(features)
  first, again = list(predict(model, batches)), list(predict(model, batches))
  assert traces == [model]
  np.testing.assert_array_equal(first[0][1], again[0][1])
  # Another model has weights of its own.
  other = SquadTask(config_of(golden), 12).create_model("float32")
  [(places, start)] = predict(other, batches)
  assert traces == [model, other] and places.tolist() == [0, 1]
  np.testing.assert_allclose(start, other(features, training=False)["start_logits"], atol=1e-5)
