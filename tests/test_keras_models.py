"""Models as Keras objects, and models of fewer parts; tests/conformance has what all must do."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from bert_tf import BertConfig, BertModel, UserError, checkpoints, heads, modeling
from bert_tf.checkpoints import tf1
from bert_tf.names import named_variables

CONFIG = BertConfig(
  vocab_size=50, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
  intermediate_size=16, max_position_embeddings=16, type_vocab_size=2,
)  # fmt: skip
FEATURES = {
  "input_ids": tf.constant([[1, 2, 3, 4], [5, 6, 0, 0]]),
  "input_mask": tf.constant([[1, 1, 1, 1], [1, 1, 0, 0]]),
  "masked_lm_positions": tf.constant([[1, 3], [1, 0]]),
}
SEED = tf.constant([1, 2], tf.int64)

MODELS = {
  "encoder": lambda **options: BertModel(CONFIG, **options),
  "encoder without a pooler": lambda **options: BertModel(CONFIG, add_pooler=False, **options),
  "pretraining": lambda **options: heads.PretrainingModel(CONFIG, **options),
  "masked LM": lambda **options: heads.PretrainingModel(CONFIG, next_sentence=False, **options),
  "classifier": lambda **options: heads.ClassifierModel(CONFIG, 3, **options),
  "tokens": lambda **options: heads.TokenClassifierModel(CONFIG, 3, **options),
  "tokens without a pooler": lambda **options: heads.TokenClassifierModel(
    CONFIG, 3, add_pooler=False, **options
  ),
  "span": lambda **options: heads.SpanModel(CONFIG, **options),
  "span without a pooler": lambda **options: heads.SpanModel(CONFIG, add_pooler=False, **options),
}


@pytest.fixture(scope="module", params=MODELS)
def model(request):
  return MODELS[request.param]()


def same_outputs(one, other, **options) -> None:
  first, second = (tf.nest.flatten(model(FEATURES, **options)) for model in (one, other))
  for a, b in zip(first, second, strict=True):
    np.testing.assert_array_equal(a, b)


def test_a_config_makes_a_model_of_the_same_form(model):
  made = type(model).from_config(model.get_config())
  shapes = [{n: v.shape for n, v in named_variables(m).items()} for m in (made, model)]
  assert shapes[0] == shapes[1]
  assert made.get_config() == model.get_config()


def test_precision_recomputation_and_name_are_saved(tmp_path):
  path = str(tmp_path / "model.keras")
  model = BertModel(CONFIG, "mixed_bfloat16", recompute_activations=True, name="encoder_b")
  model.save(path)
  loaded = keras.saving.load_model(path)
  assert loaded.dtype_policy.name == "mixed_bfloat16" and loaded.recompute_activations
  assert loaded.name == "encoder_b" and set(named_variables(loaded)) == set(named_variables(model))
  same_outputs(loaded, model)


def test_a_damaged_config_is_refused(tmp_path):
  config = {**BertModel(CONFIG).get_config(), "config": {"vocab_sise": 3}}
  with pytest.raises(UserError, match="did you mean 'vocab_size'"):
    BertModel.from_config(config)


@pytest.mark.parametrize("kind", ["encoder", "tokens", "span"])
def test_nothing_but_the_pooled_vector_needs_a_pooler(kind):
  whole, without = MODELS[kind](), MODELS[f"{kind} without a pooler"]()
  weights = named_variables(whole)
  left_out = set(weights) - set(named_variables(without))
  assert left_out == {"bert/pooler/dense/kernel", "bert/pooler/dense/bias"}
  for name, variable in named_variables(without).items():
    variable.assign(weights[name])
  for training in (False, True):
    expected = whole(FEATURES, training=training, dropout_seed=SEED)
    found = without(FEATURES, training=training, dropout_seed=SEED)
    assert set(expected) - set(found) == {"pooled_output"}
    for name, value in found.items():
      np.testing.assert_array_equal(value, expected[name])


def test_a_masked_lm_is_pretraining_without_next_sentences(tmp_path):
  whole, masked_lm = MODELS["pretraining"](), MODELS["masked LM"]()
  left_out = set(named_variables(whole)) - set(named_variables(masked_lm))
  assert {name.rsplit("/", 1)[0] for name in left_out} == {
    "bert/pooler/dense", "cls/seq_relationship",
  }  # fmt: skip
  path = str(tmp_path / "bert_model.ckpt")
  tf1.write(path, named_variables(whole))
  report = checkpoints.load(masked_lm, path)
  assert not report.missing and set(report.unexpected) == left_out
  expected, found = whole(FEATURES), masked_lm(FEATURES)
  np.testing.assert_array_equal(found["masked_lm_logits"], expected["masked_lm_logits"])
  assert not {"next_sentence_logits", "pooled_output"} & set(found)


def test_a_masked_lm_trains_on_its_positions_alone():
  """Without dropout with the gradients of the whole layer; rows that are packed too."""
  config = dataclasses.replace(CONFIG, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
  model = heads.PretrainingModel(config, next_sentence=False)
  packed = {
    "sequence_ids": tf.constant([[1, 1, 2, 2], [1, 2, 0, 0]]),
    "cls_positions": [[0, 2]] * 2,
  }

  def run(features, training: bool):
    with tf.GradientTape() as tape:
      outputs = model(features, training=training, dropout_seed=SEED)
      loss = tf.reduce_logsumexp(outputs["masked_lm_logits"])
    gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
    assert outputs["sequence_output"].shape[1] == (2 if training else 4)
    return [outputs["masked_lm_logits"], *map(tf.convert_to_tensor, gradients)]

  for features in (FEATURES, {**FEATURES, **packed}):
    for a, b in zip(run(features, True), run(features, False), strict=True):
      np.testing.assert_allclose(a, b, atol=1e-5)


def test_names_of_the_original_s_modeling():
  assert modeling.get_activation("GELU") is modeling.gelu
  assert modeling.get_activation("relu") is tf.nn.relu
  assert modeling.get_activation(None)(3) == modeling.get_activation("")(3) == 3
  assert modeling.get_activation(tf.sin) is tf.sin
  with pytest.raises(UserError, match=r"expected an activation of gelu, .*, found 'swish'"):
    modeling.get_activation("swish")
  drawn = modeling.create_initializer(0.5)([4000])
  assert np.abs(drawn).max() <= 1.0 and 0.35 < np.std(drawn) < 0.5
