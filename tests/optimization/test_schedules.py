from __future__ import annotations

import json

import numpy as np
import pytest
import tensorflow as tf

from bert_tf.optimization.schedules import linear_warmup_and_decay


def test_rates_of_the_original(golden):
  for case in json.loads((golden / "model" / "lr_schedule.json").read_text()):
    rates = [
      linear_warmup_and_decay(
        tf.constant(step, tf.int64),
        case["init_lr"],
        case["num_train_steps"],
        case["num_warmup_steps"],
      ).numpy()
      for step in range(len(case["lr_at_step"]))
    ]
    np.testing.assert_allclose(rates, case["lr_at_step"], rtol=1e-6, atol=1e-11)


@pytest.mark.parametrize("step", [0, 5, 10])
def test_no_warmup_starts_at_the_peak(step):
  rate = linear_warmup_and_decay(tf.constant(step), 1.0, 10, 0)
  assert rate.numpy() == pytest.approx(1 - step / 10)
