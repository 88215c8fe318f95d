"""BERT's AdamW as an optimizer of Keras, against the original's log and the engine's updates."""

from __future__ import annotations

import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from bert_tf import checkpoints, names
from bert_tf.config import BertConfig
from bert_tf.errors import UserError
from bert_tf.heads import ClassifierModel, PretrainingModel
from bert_tf.optimization import AdamWeightDecayOptimizer, LinearWarmupAndDecay, create_optimizer


def loss_of(model, batch) -> tf.Tensor:
  """The sum of both losses of pretraining (`get_masked_lm_output` and its sibling)."""
  outputs = model(batch, training=True, dropout_seed=tf.zeros([2], tf.int64))
  cross_entropy = tf.nn.sparse_softmax_cross_entropy_with_logits
  words = cross_entropy(tf.reshape(batch["masked_lm_ids"], [-1]), outputs["masked_lm_logits"])
  weights = tf.reshape(tf.cast(batch["masked_lm_weights"], tf.float32), [-1])
  labels = tf.reshape(batch["next_sentence_labels"], [-1])
  return tf.reduce_sum(words * weights) / (tf.reduce_sum(weights) + 1e-5) + tf.reduce_mean(
    cross_entropy(labels, outputs["next_sentence_logits"])
  )


def test_fifteen_steps_of_the_original(golden):
  config = json.loads((golden / "bert_config.json").read_text())
  config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
  model = PretrainingModel(BertConfig.from_dict(config))
  checkpoints.load(model, str(golden / "tiny_ckpt" / "bert_model.ckpt"))
  optimizer = create_optimizer(1e-3, 15, 4)
  batches = dict(np.load(golden / "model" / "train_batches.npz"))
  log = json.loads((golden / "model" / "train.json").read_text())

  @tf.function
  def step(batch):
    with tf.GradientTape() as tape:
      loss = loss_of(model, batch)
    gradients = tape.gradient(loss, model.trainable_weights)
    optimizer.apply_gradients(zip(gradients, model.trainable_weights, strict=True))
    return loss

  for index, entry in enumerate(log["steps"]):
    batch = {name: tf.constant(values[index].astype(np.int32)) for name, values in batches.items()}
    assert float(step(batch)) == pytest.approx(entry["total_loss"], abs=2e-5)
  found = names.named_variables(model)
  for name, value in np.load(golden / "model" / "train_final_weights.npz").items():
    key, _, rows = name.partition("[:")
    tensor = found[key].numpy()[: int(rows[:-1])] if rows else found[key].numpy()
    # As in the test of the engine: the true gradient of key biases is zero.
    np.testing.assert_allclose(tensor, value, rtol=0, atol=5e-5 if "key/bias" in key else 5e-6)


def test_rows_of_one_id_are_added_before_they_are_squared():
  table = keras.Variable(np.ones([3, 2]), dtype="float32", name="table")
  dense = keras.Variable(np.ones([3, 2]), dtype="float32", name="dense")
  slices = tf.IndexedSlices(tf.constant([[1.0, 2.0], [3.0, 4.0]]), tf.constant([1, 1]), [3, 2])
  sparse_optimizer, dense_optimizer = (AdamWeightDecayOptimizer(0.1) for _ in range(2))
  for _ in range(3):
    sparse_optimizer.apply([slices], [table])
    dense_optimizer.apply([tf.constant([[0.0, 0.0], [4.0, 6.0], [0.0, 0.0]])], [dense])
  np.testing.assert_array_equal(table.numpy(), dense.numpy())
  # Keras' own Adam, for which this class exists, does not.
  adams = [keras.optimizers.Adam(0.1, epsilon=1e-6) for _ in range(2)]
  for _ in range(3):
    adams[0].apply([slices], [table])
    adams[1].apply([tf.constant([[0.0, 0.0], [4.0, 6.0], [0.0, 0.0]])], [dense])
  assert np.abs(table.numpy() - dense.numpy()).max() > 1e-3


_TWO_REPLICAS = """
import numpy as np, tensorflow as tf, keras
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from bert_tf.optimization import create_optimizer

def run(strategy, gradients):
  with strategy.scope():
    variable = keras.Variable(np.ones([2, 2]), dtype="float32", name="kernel")
    optimizer = create_optimizer(0.1, 10)
    optimizer.build([variable])
  given = iter(gradients)
  values = strategy.experimental_distribute_values_from_function(lambda context: next(given))
  @tf.function
  def step(values):
    strategy.run(lambda value: optimizer.apply([value], [variable]), args=(values,))
  for _ in range(3): step(values)
  return variable.numpy(), optimizer._m[0].numpy()

one = [tf.constant([[3.0, 0.0], [0.0, 0.0]]), tf.constant([[0.0, 4.0], [0.0, 0.0]])]
two = run(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]), one)
whole = run(tf.distribute.OneDeviceStrategy("CPU:0"), [one[0] + one[1]])
for found, expected in zip(two, whole): np.testing.assert_allclose(found, expected, rtol=1e-6)
# The norm is 5; three updates of a first moment with the gradient [0.6, 0.8].
np.testing.assert_allclose(whole[1][0], (1 - 0.9 ** 3) * np.array([0.6, 0.8]), rtol=1e-5)
"""


def test_replicas_clip_the_gradient_of_the_whole_batch(root):
  ended = subprocess.run(
    [sys.executable, "-c", _TWO_REPLICAS], cwd=root, capture_output=True, text=True, timeout=120
  )
  assert ended.returncode == 0, ended.stderr[-2000:]


def test_fit_with_compile_and_a_saved_optimizer(golden, tmp_path):
  config = BertConfig.from_json_file(str(golden / "bert_config.json"))
  bert = ClassifierModel(config, 2)
  ids = keras.Input([None], dtype="int32", name="input_ids")
  model = keras.Model(ids, bert({"input_ids": ids})["logits"])
  model.compile(
    optimizer=create_optimizer(1e-3, 20, 2),
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
  )
  random = np.random.default_rng(0)
  labels = np.arange(16) % 2
  texts = np.where(labels[:, None] == 1, 7, 11) + random.integers(0, 2, [16, 8])
  history = model.fit(texts, labels, batch_size=4, epochs=5, verbose=0).history["loss"]
  assert history[-1] < history[0]
  assert model.optimizer.iterations.numpy() == 20
  restored = keras.optimizers.deserialize(keras.optimizers.serialize(model.optimizer))
  assert restored.get_config() == model.optimizer.get_config()


def test_schedule_is_the_original_s(golden):
  for case in json.loads((golden / "model" / "lr_schedule.json").read_text()):
    rate = LinearWarmupAndDecay(case["init_lr"], case["num_train_steps"], case["num_warmup_steps"])
    expected = case["lr_at_step"]
    found = [float(rate(step)) for step in range(min(len(expected), 50) - 1)]
    # Update i is made with the rate of step i + 1.
    np.testing.assert_allclose(found, expected[1 : len(found) + 1], rtol=1e-6, atol=1e-11)


@pytest.mark.parametrize("numbers", [(-1.0, 10, 0), (1e-3, 0, 0), (float("nan"), 1, 0)])
def test_numbers_out_of_range(numbers):
  with pytest.raises(UserError, match="expected at least"):
    create_optimizer(*numbers)
