"""A classifier of documents: its windows, and what they are pooled to."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from bert_tf import BertConfig, UserError
from bert_tf.document_classifier import POOLINGS, DocumentClassifierModel
from bert_tf.heads import ClassifierModel
from bert_tf.names import named_variables

LENGTH, STRIDE = 12, 5
CONFIG = BertConfig(
  vocab_size=60, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
  max_position_embeddings=LENGTH,
)  # fmt: skip
SEED = tf.constant([1, 2], tf.int64)


def documents(*lengths: int) -> dict[str, tf.Tensor]:
  """Random documents of so many ids, [CLS] and [SEP] (1 and 2) among them."""
  random = np.random.default_rng(3)
  ids = np.zeros([len(lengths), max(lengths)], np.int32)
  for row, length in enumerate(lengths):
    ids[row, :length] = [1, *random.integers(3, 60, length - 2), 2]
  values = {"input_ids": ids, "input_mask": (ids > 0).astype(np.int32), "segment_ids": ids * 0}
  return {name: tf.constant(value) for name, value in values.items()}


def part(features: dict[str, tf.Tensor], rows: list[int]) -> dict[str, tf.Tensor]:
  return {name: tf.gather(value, rows) for name, value in features.items()}


@pytest.fixture(scope="module")
def models() -> dict[str, ClassifierModel]:
  """One of sequences, "sequence", and those of documents, all with the same weights."""
  random = np.random.RandomState(0)
  made: dict[str, ClassifierModel] = {"sequence": ClassifierModel(CONFIG, 3)}
  for pooling in POOLINGS:
    made[pooling] = DocumentClassifierModel(CONFIG, 3, LENGTH, STRIDE, pooling)
  values = {
    name: random.normal("gamma" in name, 0.3, variable.shape)
    for name, variable in sorted(named_variables(made["attention"]).items())
  }
  for model in made.values():
    for name, variable in named_variables(model).items():
      variable.assign(values[name])
  return made


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("training", [False, True])
def test_of_one_window_logits_are_those_of_a_sequence(models, pooling, training):
  """Bit for bit, with dropout too."""
  features = documents(LENGTH, 7, 3)
  expected = models["sequence"](features, training=training, dropout_seed=SEED)["logits"]
  found = models[pooling](features, training=training, dropout_seed=SEED)["logits"]
  np.testing.assert_array_equal(found, expected)


def by_definition(pooling: str, model, sequence, features) -> np.ndarray:
  """Logits of the only document, from the vectors of its windows one by one."""
  ids = features["input_ids"].numpy()[0]
  ids = ids[ids > 0]
  pieces, room, start, vectors = ids[1:-1], LENGTH - 2, 0, []
  while True:
    window = np.array([[1, *pieces[start : start + room], 2]], np.int32)
    vectors.append(sequence({"input_ids": window})["pooled_output"].numpy()[0])
    if start + room >= len(pieces):
      break
    start += STRIDE
  weights = named_variables(model)
  vectors = np.array(vectors, np.float64)
  if pooling == "mean":
    pooled = vectors.mean(0)
  elif pooling == "max":
    pooled = vectors.max(0)
  else:
    scores = vectors @ weights["window_attention/query"].numpy() / np.sqrt(CONFIG.hidden_size)
    share = np.exp(scores - scores.max())
    pooled = (share / share.sum()) @ vectors
  return pooled @ weights["output_weights"].numpy().T + weights["output_bias"].numpy()


@pytest.mark.parametrize("pooling", POOLINGS)
def test_pooling_by_its_definition(models, pooling):
  features = documents(43)
  expected = by_definition(pooling, models[pooling], models["sequence"], features)
  found = models[pooling](features)["logits"].numpy()[0]
  np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_results_do_not_depend_on_the_batch(models, pooling):
  """Documents of up to 60 windows, alone and together; more of them than are computed at once."""
  features = documents(300, 7, 43, 12, 3, 155, 13)
  model = models[pooling]
  together = model(features)["logits"].numpy()
  alone = [model(part(features, [row]))["logits"].numpy()[0] for row in range(len(together))]
  np.testing.assert_allclose(together, alone, rtol=1e-5, atol=1e-5)
  backwards = model(part(features, [6, 5, 4, 3, 2, 1, 0]))["logits"].numpy()[::-1]
  np.testing.assert_allclose(together, backwards, rtol=1e-5, atol=1e-5)
  padded = {name: tf.pad(value, [[0, 0], [0, 9]]) for name, value in features.items()}
  np.testing.assert_allclose(together, model(padded)["logits"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_training_and_prediction_pool_alike(models, pooling):
  """While training all windows are computed at once, and the last layer for [CLS] alone."""
  without = BertConfig.from_dict(
    {**CONFIG.to_dict(), "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
  )
  model = DocumentClassifierModel(without, 3, LENGTH, STRIDE, pooling)
  for name, variable in named_variables(model).items():
    variable.assign(named_variables(models[pooling])[name])
  features = documents(300, 7, 43)
  with tf.GradientTape() as tape:
    found = model(features, training=True, dropout_seed=SEED)
    loss = tf.reduce_sum(found["logits"] ** 2)
  expected = model(features)
  kept = found["pooled_output"].numpy() != 0
  scale = found["pooled_output"].numpy()[kept] / expected["pooled_output"].numpy()[kept]
  np.testing.assert_allclose(scale, scale[0], rtol=1e-4)
  assert scale[0] == pytest.approx(1 / 0.9, rel=5e-3)  # Of the dropout of a head.
  gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
  assert all(np.isfinite(tf.convert_to_tensor(g)).all() for g in gradients)


def test_an_empty_batch_has_no_logits(models):
  none = {name: value[:0] for name, value in documents(30).items()}
  assert models["mean"](none)["logits"].shape == (0, 3)


def test_an_unknown_pooling_is_refused():
  with pytest.raises(UserError, match="`pooling`: expected one of mean, max, attention"):
    DocumentClassifierModel(CONFIG, 3, LENGTH, STRIDE, "min")
