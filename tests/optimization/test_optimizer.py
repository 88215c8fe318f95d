from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from bert_tf import names
from bert_tf.config import BertConfig
from bert_tf.heads import PretrainingModel
from bert_tf.optimization.optimizer import Optimizer, layer_rates


@pytest.fixture(scope="module")
def variables(golden):
  config = BertConfig.from_json_file(str(golden / "bert_config.json"))
  return names.named_variables(PretrainingModel(config))


def test_layerwise_decay_by_depth(variables):
  rates = layer_rates(variables, 0.5)
  assert set(rates) == set(variables)
  expected = {
    "bert/embeddings/word_embeddings": 0.125,
    "bert/embeddings/LayerNorm/gamma": 0.125,
    "bert/encoder/layer_0/attention/self/query/kernel": 0.25,
    "bert/encoder/layer_1/output/LayerNorm/beta": 0.5,
    "bert/pooler/dense/kernel": 1.0,
    "cls/predictions/output_bias": 1.0,
  }
  assert {name: rates[name] for name in expected} == expected
  assert set(layer_rates(variables, 1.0).values()) == {1.0}


def test_decayed_variables_are_the_original_s(variables, golden):
  import json

  flags = json.loads((golden / "model" / "train.json").read_text())["final"]
  for name, entry in flags.items():
    assert names.uses_weight_decay(name) == entry["weight_decay"], name
  assert set(flags) <= set(variables)


@pytest.mark.parametrize("algorithm", ["adamw", "lamb"])
def test_the_rate_of_each_layer_is_used(algorithm):
  from keras import Variable

  def after(decay: float) -> dict[str, np.ndarray]:
    model = {
      "bert/encoder/layer_0/output/dense/bias": Variable([1.0, 2.0]),
      "bert/encoder/layer_1/output/dense/bias": Variable([1.0, 2.0]),
    }
    optimizer = Optimizer(model, algorithm, layerwise_lr_decay=decay)
    gradients = {name: tf.constant([1.0, -1.0]) for name in model}
    one = tf.constant(1.0)
    optimizer.apply(gradients, one, tf.constant(0.01), tf.constant(1), tf.constant(True))
    return {name: variable.numpy() - [1.0, 2.0] for name, variable in model.items()}

  plain, decayed = after(1.0), after(0.5)
  for name, factor in zip(plain, (0.25, 0.5), strict=True):
    assert np.abs(plain[name]).min() > 0
    np.testing.assert_allclose(decayed[name], factor * plain[name], rtol=1e-4)


@pytest.mark.parametrize("algorithm", ["adamw", "lamb"])
@pytest.mark.parametrize("dtype", [tf.float32, tf.bfloat16])
def test_the_moments_are_those_of_the_scaled_gradients(variables, algorithm, dtype):
  optimizer = Optimizer(variables, algorithm)
  gradients = {name: tf.fill(v.shape, tf.constant(3.0, dtype)) for name, v in variables.items()}
  scale, rate = tf.constant(0.1), tf.constant(0.0)
  optimizer.apply(gradients, scale, rate, tf.constant(1), tf.constant(True))
  for name, slot in optimizer.slots.items():
    expected = 0.1 * 0.3 if name.endswith(names.ADAM_M) else 0.001 * 0.3**2
    np.testing.assert_allclose(slot.numpy(), np.full(slot.shape, expected), rtol=1e-4)


def test_nothing_changes_where_the_condition_fails(variables):
  optimizer = Optimizer(variables)
  before = {name: variable.numpy() for name, variable in variables.items()}
  gradients = {name: tf.fill(v.shape, float("nan")) for name, v in variables.items()}
  optimizer.apply(gradients, tf.constant(1.0), tf.constant(0.1), tf.constant(1), tf.constant(False))
  for name, variable in variables.items():
    np.testing.assert_array_equal(variable.numpy(), before[name])
  assert not any(np.any(slot.numpy()) for slot in optimizer.slots.values())
