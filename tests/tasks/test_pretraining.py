"""Losses and gradients do not depend on how sequences are laid into rows."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from bert_tf import BertConfig, fused_ops, ops
from bert_tf.data import records
from bert_tf.data.packing import pack_sequences
from bert_tf.tasks.pretraining.task import PretrainingTask, Source

LENGTH, PREDICTIONS = 64, 10


def config(**changes) -> BertConfig:
  return BertConfig(
    vocab_size=1200, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
    intermediate_size=64, max_position_embeddings=LENGTH, type_vocab_size=2,
    hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, **changes,
  )  # fmt: skip


@pytest.fixture(scope="module")
def batch() -> dict[str, tf.Tensor]:
  """24 sequences of 5 to 40 pieces, with a prediction for every sixth piece."""
  random = np.random.default_rng(4)
  lengths = random.integers(5, 41, [24, 1])
  columns, places = np.arange(LENGTH), np.arange(PREDICTIONS)
  mask = (columns < lengths).astype(np.int32)
  weights = places < np.maximum(1, lengths // 6)
  arrays = {
    "input_ids": random.integers(1, 1200, [24, LENGTH]) * mask,
    "input_mask": mask,
    "segment_ids": (columns >= lengths // 2) * mask,
    "masked_lm_positions": (1 + 5 * places) * weights,
    "masked_lm_ids": random.integers(1, 1200, [24, PREDICTIONS]) * weights,
    "next_sentence_labels": random.integers(0, 2, [24, 1]),
  }
  features = {name: tf.constant(value, tf.int32) for name, value in arrays.items()}
  return {**features, "masked_lm_weights": tf.constant(weights, tf.float32)}


def initialised(recompute: bool = False):
  tf.keras.utils.set_random_seed(3)
  task = PretrainingTask(config(), Source([], records.pretraining(LENGTH, PREDICTIONS)))
  return task, task.create_model("float32", recompute)


def losses_and_gradients(task, model, features) -> dict[str, np.ndarray]:
  @tf.function(autograph=False)
  def run():
    with tf.GradientTape() as tape:
      outputs = model(features, training=True, dropout_seed=tf.zeros([2], tf.int64))
      weights = task.loss_weights(features)
      losses = {n: s / weights[n] for n, s in task.loss_sums(outputs, features).items()}
      loss = tf.add_n(list(losses.values()))
    variables = {variable.path: variable.value for variable in model.trainable_variables}
    gradients = {n: tf.convert_to_tensor(g) for n, g in tape.gradient(loss, variables).items()}
    return {**losses, **gradients}

  return {name: value.numpy() for name, value in run().items()}


@pytest.mark.parametrize("path", ["plain", "kernels", "recomputed"])
def test_packed_rows_have_the_same_losses_and_gradients(path, batch, monkeypatch):
  monkeypatch.setattr(fused_ops, "_LEAST_WIDTH", 0 if path == "kernels" else 1 << 30)
  if path == "kernels" and not fused_ops.available(32):
    pytest.skip("not everything runs on CPUs here")
  task, model = initialised(recompute=path == "recomputed")
  packed = pack_sequences(batch)
  assert len(packed["input_ids"]) < len(batch["input_ids"]) / 2
  plain = losses_and_gradients(task, model, batch)
  found = losses_and_gradients(task, model, packed)
  assert plain["masked_lm"] > 1
  for name, expected in plain.items():
    largest = max(1e-3, np.abs(expected).max())
    np.testing.assert_allclose(found[name], expected, rtol=0, atol=2e-6 * largest, err_msg=name)


def test_sequences_of_a_row_do_not_see_each_other(batch):
  """Other ids in the first place of a row change nothing in the second."""
  _, model = initialised()
  packed = pack_sequences(batch)
  first = packed["sequence_ids"] == 1
  others = {**packed, "input_ids": tf.where(first, 7, packed["input_ids"])}
  before, after = (model.bert(rows)["sequence_output"] for rows in (packed, others))
  second = packed["sequence_ids"] == 2
  np.testing.assert_array_equal(tf.boolean_mask(after, second), tf.boolean_mask(before, second))
  assert not np.array_equal(tf.boolean_mask(after, first), tf.boolean_mask(before, first))


def test_bias_between_sequences():
  bias = ops.attention_bias(tf.constant([[1, 1, 1, 0]]), tf.constant([[1, 1, 2, 0]]))
  masked = ops.MASKED_SCORE
  assert bias.numpy().tolist() == [[[
    [0, 0, masked, masked], [0, 0, masked, masked], [masked, masked, 0, masked],
    [masked, masked, masked, 0],
  ]]]  # fmt: skip
