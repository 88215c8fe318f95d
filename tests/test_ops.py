"""The equations, and the compiled kernels beside what they are compiled from."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from bert_tf import BertConfig, fused_ops, heads, ops

RANDOM = np.random.default_rng(1)
# The kernels compute in float32; the references are computed in float64. bfloat16 keeps 8 bits.
TOLERANCE = {tf.float32: 3e-5, tf.bfloat16: 5e-2}


def normal(*shape: int) -> np.ndarray:
  return RANDOM.normal(size=shape)


def random_bytes(*shape: int) -> tf.Tensor:
  return tf.constant(RANDOM.integers(0, 256, shape, np.uint8))


def drop(x: tf.Tensor, random: tf.Tensor, dropped: int) -> tf.Tensor:
  """Dropout as its definition says."""
  return x * tf.cast(random >= dropped, x.dtype) * (256.0 / (256 - dropped))


def values_and_gradients(function, arguments, upstream):
  """The result of `function` and the gradients by its arguments, as float64."""
  with tf.GradientTape() as tape:
    tape.watch(arguments)
    y = function(*arguments)
  gradients = tape.gradient(y, arguments, tf.cast(upstream, y.dtype))
  return [tf.cast(x, tf.float64).numpy() for x in (y, *gradients)]


def check(fast, plain, arguments, dtypes):
  """Compares a kernel with the autodiff of its plain formula in float64 on the same numbers."""
  arguments = [tf.cast(a, dtype) for a, dtype in zip(arguments, dtypes, strict=True)]
  precise = [tf.cast(a, tf.float64) for a in arguments]
  upstream = tf.cast(normal(*arguments[0].shape), dtypes[0])
  expected = values_and_gradients(plain, precise, upstream)
  found = values_and_gradients(fast, arguments, upstream)
  for a, b in zip(found, expected, strict=True):
    np.testing.assert_allclose(a, b, atol=TOLERANCE[dtypes[0]] * max(1.0, np.abs(b).max()))


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_fused_gelu(dtype):
  x = np.concatenate([normal(6, 50), [[-1e4, -30.0, -5.0, 0.0, 5.0, 30.0, 1e4] + [0.5] * 43]])
  check(fused_ops.gelu, ops.gelu, [x], [dtype])


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_gradients_of_a_dense_layer_are_summed_in_float32(dtype):
  """TensorFlow's own gradient of a bias in bfloat16 is off by a tenth here."""

  def plain(x, kernel, bias):
    return tf.matmul(x, kernel) + bias

  def fast(x, kernel, bias):
    return ops.dense(x, kernel, bias, training=True)

  x, kernel, bias = (tf.cast(normal(*shape), dtype) for shape in ((2000, 8), (8, 8), (8,)))
  upstream = tf.cast(normal(2000, 8), dtype)
  arguments = [x, kernel, bias]
  expected = values_and_gradients(plain, [tf.cast(a, tf.float64) for a in arguments], upstream)
  found = values_and_gradients(fast, arguments, upstream)
  # A rounding to 8 bits at the end and no more.
  tolerance = {tf.float32: 1e-5, tf.bfloat16: 2**-8}[dtype]
  for a, b in zip(found, expected, strict=True):
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * np.abs(b).max())
  if dtype == tf.bfloat16:
    _, _, _, naive = values_and_gradients(ops.dense, arguments, upstream)
    assert np.abs(naive - expected[3]).max() > 10 * np.abs(found[3] - expected[3]).max()


@pytest.mark.parametrize("dropped", [0, 26, 128])
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_fused_residual_norm(dtype, dropped):
  random = random_bytes(12, 40)

  def plain(x, residual, gamma, beta):
    total = drop(x, random, dropped) + residual
    mean, variance = tf.nn.moments(total, [-1], keepdims=True)
    return (total - mean) / tf.sqrt(variance + 1e-12) * gamma + beta

  def fast(x, residual, gamma, beta):
    return fused_ops.residual_norm(x, residual, gamma, beta, 1e-12, random, dropped)

  gamma = normal(40)
  gamma[3] = 0.0  # a gradient must not be divided by it
  arguments = [normal(12, 40), normal(12, 40), gamma, normal(40)]
  check(fast, plain, arguments, [dtype, dtype, tf.float32, tf.float32])


@pytest.mark.parametrize("dropped", [0, 26, 128])
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_fused_attention_weights(dtype, dropped):
  random = random_bytes(2, 3, 9, 9)
  mask = np.ones((2, 9))
  mask[1, 6:] = 0
  bias = ops.attention_bias(tf.constant(mask))

  def plain(scores):
    probs = tf.nn.softmax(scores * 0.125 + tf.cast(bias, scores.dtype))
    return drop(probs, random, dropped)

  def fast(scores):
    return fused_ops.attention_weights(scores, 0.125, bias, random, dropped)

  check(fast, plain, [8 * normal(2, 3, 9, 9)], [dtype])
  assert not np.any(fast(tf.cast(normal(2, 3, 9, 9), dtype)).numpy()[1, :, :, 6:])


def test_a_wholly_masked_row_stays_finite():
  """Every score has the same bias then, and the softmax is that of the scores."""
  bias = ops.attention_bias(tf.zeros([1, 4]))
  weights = fused_ops.attention_weights(tf.zeros([1, 1, 4, 4]), 1.0, bias, random_bytes(1), 0)
  np.testing.assert_allclose(weights, np.full([1, 1, 4, 4], 0.25))


def test_infinities_are_not_hidden():
  """Training has to see that numbers became too large."""
  x = tf.constant([[1.0, float("inf")], [1.0, float("nan")]])
  ones, random = tf.ones([2]), random_bytes(2, 2)
  y = fused_ops.residual_norm(x, tf.zeros([2, 2]), ones, ones, 1e-12, random, 0)
  assert not np.isfinite(y).any()


def config(**changes) -> BertConfig:
  base = BertConfig(
    vocab_size=60, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
    intermediate_size=64, max_position_embeddings=32, type_vocab_size=2,
  )  # fmt: skip
  return dataclasses.replace(base, **changes)


def features() -> dict[str, tf.Tensor]:
  mask = np.ones((3, 12), np.int32)
  mask[2, 7:] = 0
  return {
    "input_ids": tf.constant(np.random.default_rng(2).integers(0, 60, (3, 12))),
    "input_mask": tf.constant(mask),
    "masked_lm_positions": tf.constant([[1, 2], [3, 0], [5, 6]]),
  }


def outputs_and_gradients(model, **options):
  """What a training step sees, in a new graph."""

  def run():
    with tf.GradientTape() as tape:
      outputs = model(features(), training=True, dropout_seed=tf.constant([5, 6], tf.int64))
      logits = outputs["masked_lm_logits"], outputs["next_sentence_logits"]
      loss = tf.add_n([tf.reduce_mean(x**2) for x in logits])
      # Whoever puts the probabilities into a loss gets their gradient too.
      loss += tf.add_n(
        [tf.reduce_mean(tf.cast(x, tf.float32) ** 3) for x in outputs["attention_probs"]]
      )
    variables = [v.value for v in model.trainable_variables]
    gradients = [tf.convert_to_tensor(g) for g in tape.gradient(loss, variables)]
    return *logits, *gradients

  return [x.numpy() for x in tf.function(run, autograph=False, **options)()]


@pytest.fixture
def fused(monkeypatch):
  """Switches the kernels on and off for a narrow model; they are traced as `fused` says."""
  if not fused_ops.available(1 << 20):
    pytest.skip("not everything runs on CPUs here")

  def switch(on: bool) -> None:
    monkeypatch.setattr(fused_ops, "_LEAST_WIDTH", 0 if on else 1 << 30)

  return switch


def initialised(*args, **kwargs) -> heads.PretrainingModel:
  tf.keras.utils.set_random_seed(3)
  return heads.PretrainingModel(config(), *args, **kwargs)


def test_the_fast_and_the_plain_path_agree(fused):
  fused(False)
  plain = outputs_and_gradients(initialised())
  fused(True)
  fast = outputs_and_gradients(initialised())
  assert any(not np.array_equal(a, b) for a, b in zip(fast, plain, strict=True)), "same path"
  for a, b in zip(fast, plain, strict=True):
    np.testing.assert_allclose(a, b, atol=1e-5 * max(1.0, np.abs(b).max()))


@pytest.mark.parametrize("recompute", [False, True])
def test_gradients_of_biases_in_bfloat16(fused, recompute):
  """Summed over a thousand rows in bfloat16 they would be wrong by a tenth and more."""
  fused(False)
  ids = tf.constant(np.random.default_rng(5).integers(0, 60, (64, 16)))
  many = {"input_ids": ids, "masked_lm_positions": ids[:, :2] % 16}

  def gradients(dtype: str) -> dict[str, np.ndarray]:
    tf.keras.utils.set_random_seed(3)
    plain = config(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    model = heads.PretrainingModel(plain, dtype, recompute_activations=recompute)
    # The gradient of a key's bias is 0: it adds the same to all scores of a row.
    biases = {
      v.path: v.value
      for v in model.trainable_variables
      if v.path.endswith("bias") and "key" not in v.path
    }

    @tf.function
    def run():
      with tf.GradientTape() as tape:
        outputs = model(many, training=True, dropout_seed=tf.constant([1, 2], tf.int64))
        names = ("masked_lm_logits", "next_sentence_logits")
        loss = tf.add_n([tf.reduce_logsumexp(outputs[name]) for name in names])
      return tape.gradient(loss, biases)

    return {name: gradient.numpy() for name, gradient in run().items()}

  exact, found = gradients("float32"), gradients("mixed_bfloat16")
  for name, expected in exact.items():
    error = np.linalg.norm(found[name] - expected) / np.linalg.norm(expected)
    assert error < 0.05, f"{name}: {error}"


def test_bfloat16_is_as_close_to_float32_on_the_fast_path(fused):
  fused(False)
  exact = outputs_and_gradients(initialised())
  plain = outputs_and_gradients(initialised("mixed_bfloat16"))
  fused(True)
  fast = outputs_and_gradients(initialised("mixed_bfloat16"))

  def error(found) -> float:
    return sum(float(np.sum((a - b) ** 2)) for a, b in zip(found, exact, strict=True))

  assert error(fast) < 1.2 * error(plain)


def test_recomputed_kernels_give_the_same_gradients(fused):
  fused(True)
  kept = outputs_and_gradients(initialised())
  recomputed = outputs_and_gradients(initialised(recompute_activations=True))
  for a, b in zip(kept, recomputed, strict=True):
    np.testing.assert_allclose(a, b, atol=1e-6)


def test_kernels_inside_of_a_compiled_step(fused):
  """As with --enable_xla, where the kernels become part of the whole."""
  fused(True)
  for x in outputs_and_gradients(initialised(), jit_compile=True):
    assert np.isfinite(x).all()


TWO_REPLICAS = """
import tensorflow as tf
from bert_tf import fused_ops, ops
[cpu] = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
x = tf.linspace(-3.0, 3.0, 20)
run = tf.function(lambda: strategy.run(fused_ops.gelu, args=(x,)))
values = strategy.experimental_local_results(run())
assert len(values) == 2
for y in values:
  tf.debugging.assert_near(y, ops.gelu(x), atol=1e-6)
"""


def test_kernels_on_several_replicas(root):
  """In a process of its own: devices cannot be split once they are in use."""
  ended = subprocess.run(
    [sys.executable, "-c", TWO_REPLICAS], cwd=root, capture_output=True, text=True, timeout=300
  )
  assert ended.returncode == 0, ended.stderr


def test_a_mask_is_the_same_whoever_applies_it():
  seed = tf.constant([7, 8], tf.int64)
  x = tf.ones([20, 30])
  random, dropped = ops.Dropout(seed).draw([20, 30], 0.1)
  np.testing.assert_allclose(ops.Dropout(seed)(x, 0.1), drop(x, random, dropped), rtol=1e-6)
  assert ops.Dropout(seed).draw([2], 0.001)[1] == 0
