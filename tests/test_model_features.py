"""What models take as features, and what they refuse."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from bert_tf import BertConfig, BertModel, UserError
from bert_tf.model_features import model_features

CONFIG = BertConfig(
  vocab_size=50, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
  intermediate_size=16, max_position_embeddings=6, type_vocab_size=2,
)  # fmt: skip
IDS = [[1, 2, 3, 4], [5, 6, 0, 0]]
MASK = [[1, 1, 1, 1], [1, 1, 0, 0]]
SEGMENTS = [[0, 0, 1, 1], [0, 1, 0, 0]]


@pytest.fixture(scope="module")
def model() -> BertModel:
  return BertModel(CONFIG)


def pooled(model, **features) -> np.ndarray:
  return model(features)["pooled_output"].numpy()


def test_lists_and_arrays_are_as_good_as_tensors(model):
  tensors = map(tf.constant, (IDS, MASK, SEGMENTS))
  names = ("input_ids", "input_mask", "segment_ids")
  expected = pooled(model, **dict(zip(names, tensors, strict=True)))
  for kind in (list, np.array, lambda x: np.array(x, np.int64)):
    features = {n: kind(x) for n, x in zip(names, (IDS, MASK, SEGMENTS), strict=True)}
    np.testing.assert_array_equal(pooled(model, **features, label_ids=[0, 1]), expected)
  found = model.predict({n: np.array(x) for n, x in zip(names, (IDS, MASK, SEGMENTS), strict=True)},
                        verbose=0)  # fmt: skip
  np.testing.assert_allclose(found["pooled_output"], expected, atol=1e-6)


@pytest.mark.parametrize(
  "names",
  [
    ("input_ids", "attention_mask", "token_type_ids"),
    ("input_word_ids", "input_mask", "input_type_ids"),
    ("token_ids", "padding_mask", "segment_ids"),
  ],
)
def test_other_tools_names_mean_the_same(model, names):
  expected = pooled(model, input_ids=IDS, input_mask=MASK, segment_ids=SEGMENTS)
  found = pooled(model, **dict(zip(names, (IDS, MASK, SEGMENTS), strict=True)))
  np.testing.assert_array_equal(found, expected)
  # They are read at all: padding and segments count.
  for left_out in names[1:]:
    kept = {n: x for n, x in zip(names, (IDS, MASK, SEGMENTS), strict=True) if n != left_out}
    assert not np.array_equal(pooled(model, **kept), expected)


def test_masks_may_be_of_booleans_or_floats_and_none_is_absent(model):
  expected = pooled(model, input_ids=IDS, input_mask=MASK)
  for mask in (np.array(MASK) > 0, np.array(MASK, np.float32), tf.constant(MASK) > 0):
    np.testing.assert_array_equal(
      pooled(model, input_ids=IDS, attention_mask=mask, token_type_ids=None), expected
    )


def test_one_row_of_positions_serves_every_row(model):
  shifted = pooled(model, input_ids=IDS, position_ids=[[0, 1, 2, 3]])
  np.testing.assert_allclose(shifted, pooled(model, input_ids=IDS), atol=1e-6)


REFUSED = {
  "not a dictionary": (IDS, "features: expected a dictionary with input_ids"),
  "no ids": ({"label_ids": [1]}, "expected input_ids, int [batch, length], found label_ids"),
  "nothing": ({}, "found nothing"),
  "two names": (
    {"input_ids": IDS, "input_mask": MASK, "attention_mask": MASK},
    "expected input_mask or attention_mask, which mean the same, found both",
  ),
  "two foreign names": (
    {"input_ids": IDS, "token_type_ids": SEGMENTS, "input_type_ids": SEGMENTS},
    "expected token_type_ids or input_type_ids",
  ),
  "a slip": ({"input_ids": IDS, "input_masks": MASK}, "did you mean 'input_mask'?"),
  "a slip in a foreign name": (
    {"input_ids": IDS, "attention_masks": MASK}, "did you mean 'attention_mask'?",
  ),
  "one text": ({"input_ids": IDS[0]}, "expected the shape [batch, length], found [4]"),
  "uneven rows": ({"input_ids": [[1, 2], [3]]}, "expected rows of one length"),
  "a ragged tensor": ({"input_ids": tf.ragged.constant([[1, 2], [3]])}, ".to_tensor()"),
  "another shape": (
    {"input_ids": IDS, "segment_ids": [[0, 1]]},
    "segment_ids: expected the shape of input_ids, [2, 4], found [1, 2]",
  ),
  "a mask of pairs": (
    {"input_ids": IDS, "attention_mask": np.ones([2, 4, 4], int)},
    "attention_mask: expected the shape of input_ids",
  ),
  "floats": ({"input_ids": np.array(IDS, float)}, "input_ids: expected integers, found float"),
  "an unknown word": ({"input_ids": [[1, 50]]}, "input_ids: expected 0 to 49"),
  "a negative word": ({"input_ids": [[-1, 2]]}, "input_ids: expected 0 to 49"),
  "an unknown segment": (
    {"input_ids": IDS, "token_type_ids": np.array(SEGMENTS) + 1},
    "token_type_ids: expected 0 to 1, as the config has it, found 2",
  ),
  "a mask of numbers": (
    {"input_ids": IDS, "input_mask": np.array(IDS)}, "input_mask: expected 0 to 1",
  ),
  "too long": ({"input_ids": [[1] * 7]}, "expected at most 6 tokens"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_would_be_read_wrongly_is_refused(model, case):
  features, message = REFUSED[case]
  with pytest.raises(UserError) as error:
    model(features)
  assert message in str(error.value) and "\n" not in str(error.value)


def test_names_that_tasks_pass_are_left_alone():
  """Of every task of this package and of Hugging Face's tokenizers."""
  others = (
    "label_ids", "is_real_example", "masked_lm_ids", "masked_lm_weights", "next_sentence_labels",
    "next_sentence_weights", "unique_ids", "start_positions", "end_positions", "is_impossible",
    "labels", "special_tokens_mask", "example_ids", "teacher_logits",
  )  # fmt: skip
  features = {"input_ids": IDS, **{name: np.array([1]) for name in others}}
  assert set(model_features(features, CONFIG)) == set(features)


def test_unknown_shapes_are_taken_on_trust(model):
  @tf.function(input_signature=[tf.TensorSpec(None, tf.int32), tf.TensorSpec([None, None])])
  def run(ids, mask):
    return model({"input_ids": tf.ensure_shape(ids, [None, None]), "input_mask": mask})

  expected = pooled(model, input_ids=IDS, input_mask=MASK)
  found = run(tf.constant(IDS), tf.constant(MASK, tf.float32))["pooled_output"]
  np.testing.assert_allclose(found, expected, atol=1e-6)


def test_keras_inputs(model):
  """A model of the functional API around an encoder."""
  with pytest.raises(UserError, match="expected integers, found float32"):
    model({"input_ids": keras.Input([None], name="input_ids")})
  names = ("input_ids", "attention_mask")
  inputs = {name: keras.Input([None], dtype="int32", name=name) for name in names}
  around = keras.Model(inputs, keras.layers.Dense(2)(model(inputs)["pooled_output"]))
  found = around({"input_ids": tf.constant(IDS), "attention_mask": tf.constant(MASK)})
  dense = around.layers[-1]
  expected = dense(pooled(model, input_ids=IDS, input_mask=MASK))
  np.testing.assert_allclose(found, expected, atol=1e-6)
