"""The passes over gradients and weights, compiled and not, against NumPy in float64."""

import numpy as np
import pytest
import tensorflow as tf

from bert_tf import fused_ops
from bert_tf.optimization import fused_update

RANDOM = np.random.default_rng(4)
TYPES = [tf.float32, tf.bfloat16, tf.float16]


@pytest.fixture(params=["compiled", "plain"], autouse=True)
def path(request, monkeypatch):
  if request.param == "compiled" and not fused_ops.available(512):
    pytest.skip("not everything runs on CPUs here")
  monkeypatch.setattr(fused_update, "_LARGE", 0 if request.param == "compiled" else 1 << 30)


def gradients(dtype: tf.DType) -> list[tf.Tensor]:
  """Large and small, wide and narrow."""
  shapes = [(300, 512), (512,), (7, 2), ()]
  return [tf.cast(RANDOM.normal(size=shape), dtype) for shape in shapes]


@pytest.mark.parametrize("dtype", TYPES)
def test_global_norm(dtype):
  values = gradients(dtype)
  expected = np.sqrt(sum(np.sum(np.square(v.numpy().astype(np.float64))) for v in values))
  found = fused_update.global_norm(values)
  assert found.dtype == tf.float32
  # Sums of 150,000 squares in float32; the type of the gradients must not matter.
  np.testing.assert_allclose(found, expected, rtol=2e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_the_norm_shows_what_is_not_finite(bad):
  values = gradients(tf.float32)
  values[0] = tf.tensor_scatter_nd_update(values[0], [[3, 5]], [bad])
  assert not np.isfinite(fused_update.global_norm(values))


@pytest.mark.parametrize("dtype", TYPES)
def test_scaled_is_computed_in_float32(dtype):
  for value in gradients(dtype):
    found = fused_update.scaled(value, tf.constant(0.3))
    assert found.dtype == tf.float32
    np.testing.assert_array_equal(found, value.numpy().astype(np.float32) * np.float32(0.3))


def test_decayed():
  for weights in gradients(tf.float32):
    expected = weights.numpy() - np.float32(2e-3) * weights.numpy()
    # The compiler may round once where NumPy rounds twice.
    np.testing.assert_allclose(
      fused_update.decayed(weights, tf.constant(2e-3)), expected, rtol=2e-7
    )


@pytest.mark.parametrize("dtype", [tf.bfloat16, tf.float16])
def test_a_widened_gradient_is_taken_before_the_cast(dtype):
  @tf.function
  def gradient_types(w, x):
    with tf.GradientTape() as tape:
      tape.watch(w)
      y = tf.reduce_sum(tf.cast(tf.matmul(x, tf.cast(w, dtype)), tf.float32) * w)
    gradient = tape.gradient(y, w)
    only_cast = tape_of_product(x, w)
    before = fused_update.before_widening(only_cast)
    assert fused_update.before_widening(gradient) is gradient, "a sum is no cast"
    assert only_cast.dtype == tf.float32 and before.dtype == dtype
    return only_cast, tf.cast(before, tf.float32)

  def tape_of_product(x, w):
    with tf.GradientTape() as tape:
      tape.watch(w)
      y = tf.reduce_sum(tf.matmul(x, tf.cast(w, dtype)))
    return tape.gradient(y, w)

  w, x = tf.cast(RANDOM.normal(size=(6, 6)), tf.float32), tf.cast(RANDOM.normal(size=(6, 6)), dtype)
  after, before = gradient_types(w, x)
  np.testing.assert_array_equal(after, before)


def test_values_outside_of_a_graph_stay_as_they_are():
  value = tf.cast(tf.constant([1.0], tf.bfloat16), tf.float32)
  assert fused_update.before_widening(value) is value
