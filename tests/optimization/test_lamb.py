from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from bert_tf.optimization.lamb import lamb_update, trust_ratio


def update(w, g, steps=1, rate=0.01, decay=0.1):
  variable, m, v = (tf.Variable(x, dtype=tf.float32) for x in (w, np.zeros_like(w), w * 0.0))
  for step in range(1, steps + 1):
    lamb_update(
      variable,
      tf.constant(g, tf.float32),
      m,
      v,
      tf.constant(rate),
      tf.constant(step, tf.int64),
      weight_decay_rate=decay,
    )
  return variable.numpy(), m.numpy(), v.numpy()


def test_first_step_worked_by_hand():
  """w = (3, 4), g = (0.3, -0.4), decay 0.1, rate 0.01.

  After one step the corrected moments are g and g^2, so r = g / |g| = (1, -1) and
  u = r + 0.1 w = (1.3, -0.6). |w| = 5, |u| = sqrt(2.05) = 1.4317821, their ratio 3.4921515.
  w - 0.01 * 3.4921515 * u = (2.9546020, 4.0209529).
  """
  w, m, v = update(np.array([3.0, 4.0]), np.array([0.3, -0.4]))
  np.testing.assert_allclose(w, [2.9546020, 4.0209529], rtol=2e-6)
  np.testing.assert_allclose(m, [0.03, -0.04], rtol=1e-6)
  np.testing.assert_allclose(v, [0.00009, 0.00016], rtol=1e-4)


def test_equations_in_float64():
  """Ten steps of the paper's algorithm 2 in NumPy."""
  random = np.random.default_rng(3)
  w0, g = random.normal(size=(2, 4, 3))
  w, m, v = w0.copy(), np.zeros_like(g), np.zeros_like(g)
  for t in range(1, 11):
    m = 0.9 * m + 0.1 * g
    v = 0.999 * v + 0.001 * g**2
    r = m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + 1e-6)
    u = r + 0.01 * w
    w = w - 0.02 * np.linalg.norm(w) / np.linalg.norm(u) * u
  found, *_ = update(w0, g, steps=10, rate=0.02, decay=0.01)
  # 1 - 0.999^t loses digits in float32.
  np.testing.assert_allclose(found, w, rtol=1e-4, atol=1e-5)


def test_the_size_of_a_step_is_that_of_the_weights():
  """What LAMB is for: |step| = rate * |w|, whatever the size of the gradient."""
  for scale in (1e-3, 1.0, 1e3):
    w = np.array([3.0, 4.0])
    found, *_ = update(w, scale * np.array([0.3, -0.4]))
    assert abs(np.linalg.norm(found - w) - 0.05) < 1e-5


def test_a_weight_or_an_update_of_zero_has_ratio_one():
  assert trust_ratio(tf.constant(0.0), tf.constant(2.0)).numpy() == 1.0
  assert trust_ratio(tf.constant(2.0), tf.constant(0.0)).numpy() == 1.0
  assert trust_ratio(tf.constant(3.0), tf.constant(2.0)).numpy() == 1.5
  w, *_ = update(np.zeros(2), np.array([0.3, -0.4]))
  np.testing.assert_allclose(w, [-0.01, 0.01], rtol=1e-4)
  np.testing.assert_array_equal(update(np.ones(2), np.zeros(2), decay=0.0)[0], [1, 1])


def test_agrees_with_the_model_garden():
  """Which by default leaves weights without decay unscaled; told not to, it is the same."""
  pytest.importorskip("official", reason="needs the extra model-garden")
  from official.modeling.optimization.lamb import LAMB

  random = np.random.default_rng(4)
  w, g = random.normal(size=(2, 6, 5)).astype(np.float32)
  theirs = tf.Variable(w)
  optimizer = LAMB(0.02, weight_decay_rate=0.01, exclude_from_layer_adaptation=["none of them"])
  for _ in range(5):
    optimizer.apply_gradients([(tf.constant(g), theirs)])
  ours, *_ = update(w, g, steps=5, rate=0.02, decay=0.01)
  # Both are float32; the powers of the betas are taken in another order.
  np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-4, atol=1e-5)
