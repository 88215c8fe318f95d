from __future__ import annotations

import json
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from bert_tf.optimization.adamw import adamw_update
from bert_tf.optimization.schedules import linear_warmup_and_decay


def test_equations_in_float64():
  """Three updates against the equations, written out in NumPy."""
  random = np.random.default_rng(1)
  w, m, v = (random.normal(size=(5, 3)) for _ in range(3))
  v = v**2
  variables = [tf.Variable(x, dtype=tf.float32) for x in (w, m, v)]
  for _ in range(3):
    g = random.normal(size=(5, 3))
    m = 0.9 * m + 0.1 * g
    v = 0.999 * v + 0.001 * g**2
    w = w - 0.01 * (m / (np.sqrt(v) + 1e-6) + 0.1 * w)
    variable, m_slot, v_slot = variables
    gradient = tf.constant(g, tf.float32)
    adamw_update(variable, gradient, m_slot, v_slot, tf.constant(0.01), weight_decay_rate=0.1)
  for variable, expected in zip(variables, (w, m, v), strict=True):
    np.testing.assert_allclose(variable.numpy(), expected, rtol=2e-5, atol=2e-6)


def test_bias_correction_is_that_of_keras():
  """Keras' AdamW adds epsilon to the root of v before its bias is corrected, as ours does."""
  random = np.random.default_rng(2)
  start = random.normal(size=(5, 3))
  reference = keras.Variable(start, dtype="float32")
  optimizer = keras.optimizers.AdamW(0.01, weight_decay=0.1, epsilon=1e-6)
  optimizer.build([reference])
  ours, m, v = (tf.Variable(x, dtype=tf.float32) for x in (start, 0 * start, 0 * start))
  for step in range(1, 6):
    gradient = tf.constant(random.normal(size=(5, 3)), tf.float32)
    optimizer.apply([gradient])
    adamw_update(
      ours, gradient, m, v, tf.constant(0.01),
      weight_decay_rate=0.1, bias_correction_step=tf.constant(step),
    )  # fmt: skip
    np.testing.assert_allclose(ours.numpy(), reference.numpy(), rtol=0, atol=1e-6)
  # Without the correction the first updates are up to three times as long.
  first = tf.Variable(start, dtype=tf.float32)
  gradient = tf.ones_like(first)
  zeros = [tf.Variable(tf.zeros_like(first)) for _ in range(2)]
  adamw_update(first, gradient, *zeros, tf.constant(0.01), weight_decay_rate=0.0)
  np.testing.assert_allclose(start - first.numpy(), 0.01 * 0.1 / (0.001**0.5 + 1e-6), rtol=1e-4)


def short_schedules() -> list[dict]:
  path = pathlib.Path(__file__).resolve().parent.parent / "golden" / "model" / "lr_schedule.json"
  return [case for case in json.loads(path.read_text()) if "w_after_step" in case]


@pytest.mark.parametrize("case", short_schedules(), ids=lambda c: f"{c['num_train_steps']}steps")
def test_trajectories_of_the_original(case):
  """A vector pulled to [0.4, 0.2, -0.5] by a mean squared error, with decay 0.01."""
  variable, m, v = (tf.Variable(x) for x in ([0.1, -0.2, -0.1], [0.0] * 3, [0.0] * 3))
  for step, expected in enumerate(case["w_after_step"]):
    gradient = 2 / 3 * (variable - tf.constant([0.4, 0.2, -0.5]))
    rate = linear_warmup_and_decay(
      tf.constant(step + 1), case["init_lr"], case["num_train_steps"], case["num_warmup_steps"]
    )
    adamw_update(variable, gradient, m, v, rate, weight_decay_rate=0.01)
    np.testing.assert_allclose(variable.numpy(), expected, rtol=0, atol=5e-7)
