"""The encoder and its heads against the original's numbers (tests/golden/README.md)."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf

from bert_tf import BertConfig, BertModel, checkpoints, heads, ops
from bert_tf.names import named_variables

CASES = {
  "forward": ("bert_config.json", "tiny_ckpt/bert_model.ckpt"),
  "forward_relu": ("config_relu_large_type.json", "relu_ckpt/model.ckpt"),
}


@pytest.fixture(params=list(CASES))
def case(request, golden):
  """(name, pretraining model with the golden weights, golden arrays)."""
  config_file, checkpoint = CASES[request.param]
  config = BertConfig.from_json_file(golden / config_file)
  model = heads.PretrainingModel(config)
  allow = () if request.param == "forward" else ("output_*",)
  checkpoints.load(model, str(golden / checkpoint), allow)
  return request.param, model, np.load(golden / "model" / f"{request.param}.npz")


def inputs(arrays):
  return {name[3:]: tf.constant(arrays[name]) for name in arrays.files if name.startswith("in_")}


def test_variables_are_the_originals(case, golden):
  name, model, _ = case
  listed = json.loads((golden / "model" / "variables.json").read_text())[f"{name}.npz"]
  assert {n: list(v.shape) for n, v in named_variables(model).items()} == {
    n: shape for n, shape in listed["variables"]
  }


def test_forward_pass_is_the_originals(case):
  """Tolerances of the golden README, where float64 differs from the original by 8e-7."""
  _, model, arrays = case
  features = inputs(arrays)
  outputs = model(features)
  for name in ("embedding_output", "sequence_output", "pooled_output"):
    np.testing.assert_allclose(outputs[name], arrays[name], atol=5e-6)
  np.testing.assert_allclose(outputs["encoder_layers"], arrays["all_encoder_layers"], atol=5e-6)
  rows = arrays["attention_probs_rows"]
  probs = np.stack(outputs["attention_probs"])[:, rows]
  np.testing.assert_allclose(probs, arrays["attention_probs"], atol=5e-6)
  np.testing.assert_allclose(
    outputs["next_sentence_logits"], arrays["next_sentence_logits"], atol=1e-5
  )
  if "masked_lm_log_probs" in arrays.files:
    log_probs = tf.nn.log_softmax(outputs["masked_lm_logits"])
    np.testing.assert_allclose(log_probs, arrays["masked_lm_log_probs"], atol=1e-5)


def test_losses_are_the_originals(case):
  from bert_tf.data import records
  from bert_tf.tasks.pretraining.task import PretrainingTask, Source

  _, model, arrays = case
  task = PretrainingTask(model.config, Source([], records.pretraining(128, 20)))
  features = inputs(arrays)
  weights = task.loss_weights(features)
  sums = task.loss_sums(model(features), features)
  for name in ("masked_lm", "next_sentence"):
    loss = float(sums[name] / weights[name])
    np.testing.assert_allclose(loss, arrays[f"{name}_loss"], atol=1e-5)


def test_mask_and_segments_may_be_left_out(case, golden):
  name, model, arrays = case
  defaults = np.load(golden / "model" / f"{name}_defaults.npz")
  outputs = model.bert({"input_ids": tf.constant(arrays["in_input_ids"])})
  np.testing.assert_allclose(outputs["pooled_output"], defaults["pooled_output"], atol=5e-6)


def test_padding_changes_nothing(case):
  _, model, arrays = case
  features = inputs(arrays)
  outputs = model.bert(features)["pooled_output"]
  sequence = ("input_ids", "input_mask", "segment_ids")
  padded = {n: tf.pad(features[n], [[0, 0], [0, 7]]) for n in sequence}
  # Padding ids other than 0 must not matter either.
  padded["input_ids"] = tf.where(padded["input_mask"] == 0, 7, padded["input_ids"])
  np.testing.assert_allclose(model.bert(padded)["pooled_output"], outputs, atol=5e-6)


def small_config(**changes) -> BertConfig:
  config = BertConfig(
    vocab_size=50, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
    intermediate_size=32, max_position_embeddings=32, type_vocab_size=2,
  )  # fmt: skip
  return dataclasses.replace(config, **changes)


def test_dropout_is_a_function_of_its_seed():
  model = BertModel(small_config())
  features = {"input_ids": tf.constant([[1, 2, 3, 4]])}

  def pooled(seed, **kwargs):
    seed = None if seed is None else tf.constant(seed, tf.int64)
    return model(features, dropout_seed=seed, **kwargs)["pooled_output"].numpy()

  first = pooled([1, 2], training=True)
  assert np.array_equal(first, pooled([1, 2], training=True))
  assert not np.array_equal(first, pooled([1, 3 << 20], training=True))
  assert not np.array_equal(first, pooled([1, 2], training=False))
  assert not np.array_equal(pooled(None, training=True), pooled(None, training=True))


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_dropout_keeps_the_mean_and_drops_at_its_rate(rate):
  dropout = ops.Dropout(tf.constant([3, 4], tf.int64))
  x = tf.ones([400, 1000])
  first, second = dropout(x, rate).numpy(), dropout(x, rate).numpy()
  # 400,000 draws: three standard deviations of the mean are 0.0016 (rate 0.1) to 0.0048.
  assert abs(first.mean() - 1) < 0.005
  # The rate is rounded to a multiple of 1/256.
  assert abs((first == 0).mean() - round(rate * 256) / 256) < 0.003
  # Two places have independent masks: both drop with the product of the rates.
  both = ((first == 0) & (second == 0)).mean()
  assert abs(both - (round(rate * 256) / 256) ** 2) < 0.003


def test_recomputed_activations_give_the_same_gradients():
  tf.random.set_seed(1)
  plain = heads.ClassifierModel(small_config(), 2)
  recomputed = heads.ClassifierModel(small_config(), 2, recompute_activations=True)
  for target, source in zip(recomputed.variables, plain.variables, strict=True):
    target.assign(source)
  features = {"input_ids": tf.constant([[1, 2, 3, 4], [5, 6, 7, 8]])}
  seed = tf.constant([5, 6], tf.int64)

  def gradients(model):
    @tf.function
    def run():
      with tf.GradientTape() as tape:
        logits = model(features, training=True, dropout_seed=seed)["logits"]
        loss = tf.reduce_sum(logits**2)
      return tape.gradient(loss, [v.value for v in model.trainable_variables])

    return run()

  for a, b in zip(gradients(plain), gradients(recomputed), strict=True):
    np.testing.assert_allclose(tf.convert_to_tensor(a), tf.convert_to_tensor(b), atol=1e-6)


@pytest.mark.parametrize("rows_hold", ["a sequence", "its tokens alone", "two sequences"])
def test_the_last_layer_may_be_computed_where_it_is_wanted(rows_hold):
  model = BertModel(small_config())
  ids = tf.constant([[1, 2, 3, 4, 5, 0], [6, 7, 8, 9, 1, 2]])
  features = {"input_ids": ids, "input_mask": tf.sign(ids)}
  wanted = tf.constant([[0, 4, 2], [0, 3, 3]])
  if rows_hold == "its tokens alone":
    features["token_places"] = tf.where(tf.reshape(ids, [-1]) > 0)[:, 0]
  if rows_hold == "two sequences":
    features["sequence_ids"] = tf.constant([[1, 1, 2, 2, 2, 0], [1, 1, 1, 2, 2, 2]])
    features["cls_positions"] = tf.constant([[0, 2], [0, 3]])
    wanted = tf.concat([features["cls_positions"], wanted], axis=1)
  everywhere = model(features)
  found = model(features, wanted_positions=wanted)
  expected = tf.gather(everywhere["sequence_output"], wanted, batch_dims=1)
  # Another order of additions in the products.
  np.testing.assert_allclose(found["sequence_output"], expected, atol=1e-6)
  np.testing.assert_allclose(found["pooled_output"], everywhere["pooled_output"], atol=1e-6)
  probs = tf.transpose(everywhere["attention_probs"][-1], [0, 2, 1, 3])
  probs = tf.transpose(tf.gather(probs, wanted, batch_dims=1), [0, 2, 1, 3])
  np.testing.assert_allclose(found["attention_probs"][-1], probs, atol=1e-6)
  for layer, other in zip(found["encoder_layers"][:-1], everywhere["encoder_layers"], strict=False):
    np.testing.assert_array_equal(layer, other)


@pytest.mark.parametrize("recompute", [False, True])
def test_training_computes_the_last_layer_where_a_loss_needs_it(recompute):
  """Without dropout its losses and gradients are those of the whole layer."""
  config = small_config(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
  model = heads.PretrainingModel(config, recompute_activations=recompute)
  ids = tf.constant([[1, 2, 3, 4, 5, 0], [6, 7, 8, 9, 1, 2]])
  positions = tf.constant([[1, 3, 0], [2, 5, 4]])
  features = {"input_ids": ids, "input_mask": tf.sign(ids), "masked_lm_positions": positions}

  @tf.function
  def run(training: bool):
    with tf.GradientTape() as tape:
      outputs = model(features, training=training, dropout_seed=tf.constant([5, 6], tf.int64))
      logits = [outputs["masked_lm_logits"], outputs["next_sentence_logits"]]
      loss = tf.add_n([tf.reduce_logsumexp(x) for x in logits])
    gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
    return outputs["sequence_output"], [*logits, *map(tf.convert_to_tensor, gradients)]

  whole, expected = run(False)
  few, found = run(True)
  assert whole.shape == [2, 6, config.hidden_size] and few.shape == [2, 4, config.hidden_size]
  for a, b in zip(found, expected, strict=True):
    np.testing.assert_allclose(a, b, atol=1e-6 * max(1.0, np.abs(b).max()))


def test_mixed_precision_stays_close_and_keeps_float32_weights():
  tf.random.set_seed(1)
  full = heads.ClassifierModel(small_config(), 3)
  mixed = heads.ClassifierModel(small_config(), 3, dtype="mixed_bfloat16")
  for target, source in zip(mixed.variables, full.variables, strict=True):
    assert target.dtype == "float32"
    target.assign(source)
  features = {"input_ids": tf.constant([[1, 2, 3, 4]])}
  outputs = mixed(features)
  assert outputs["sequence_output"].dtype == tf.bfloat16
  assert outputs["logits"].dtype == tf.float32
  # bfloat16 has 8 bits of precision; the logits of this model are below 0.2.
  np.testing.assert_allclose(outputs["logits"], full(features)["logits"], atol=5e-3)


def test_heads_have_the_originals_names():
  config = small_config()
  expected = {
    heads.ClassifierModel(config, 3): {"output_weights": (3, 16), "output_bias": (3,)},
    heads.TokenClassifierModel(config, 5): {"output_weights": (5, 16), "output_bias": (5,)},
    heads.SpanModel(config): {"cls/squad/output_weights": (2, 16), "cls/squad/output_bias": (2,)},
  }
  for model, names in expected.items():
    found = {
      n: tuple(v.shape) for n, v in named_variables(model).items() if not n.startswith("bert/")
    }
    assert found == names


def test_token_and_span_heads_score_every_token():
  features = {"input_ids": tf.constant([[1, 2, 3, 4], [5, 6, 7, 8]])}
  assert heads.TokenClassifierModel(small_config(), 5)(features)["logits"].shape == (2, 4, 5)
  outputs = heads.SpanModel(small_config())(features)
  assert outputs["start_logits"].shape == outputs["end_logits"].shape == (2, 4)


@pytest.mark.parametrize("name", ["gelu", "gelu_erf", "relu", "tanh", "linear"])
def test_activations(name):
  from scipy.special import erf

  x = np.linspace(-4, 4, 101).astype(np.float32)
  reference = {
    "gelu": 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
    "gelu_erf": 0.5 * x * (1 + erf(x / np.sqrt(2))),
    "relu": np.maximum(x, 0),
    "tanh": np.tanh(x),
    "linear": x,
  }[name]
  np.testing.assert_allclose(ops.get_activation(name)(x), reference, atol=2e-6)


def test_names_let_tensorflow_fuse_gelu_into_the_product(golden):
  """Without this order of names a forward pass in bfloat16 takes a tenth longer (oneDNN)."""
  model = BertModel(BertConfig.from_json_file(golden / "bert_config.json"))
  ids = tf.ones([1, 4], tf.int32)
  features = {"input_ids": ids, "input_mask": ids, "segment_ids": ids - 1}
  model(features)
  graph = tf.function(lambda: model(features)["sequence_output"]).get_concrete_function().graph
  powers = [op for op in graph.get_operations() if op.type == "Pow"]
  assert len(powers) == model.config.num_hidden_layers
  for power in powers:
    bias = power.inputs[0].op
    assert bias.type == "BiasAdd" and bias.name < power.name
