"""What an export asks of weights: nothing that it does not use, and numbers that are finite."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import tensorflow as tf
import weight_dirs

from bert_tf.errors import UserError
from bert_tf.export import kinds, weights
from bert_tf.export.kinds.base import Parts
from bert_tf.export.options import GraphPlan
from bert_tf.model_dir import Description
from bert_tf.serving import fill_mask

NO_POOLER, NO_HEAD = ("bert/pooler/*",), ("cls/seq_relationship/*",)


def read(path, config, tokens, head, labels=(), **plan):
  about = Description(config, tokens, labels=labels, head=head, max_seq_length=16)
  return weights.read(path, kinds.kind_of(head), GraphPlan(about, **plan))


def test_parts_are_known_by_their_names():
  pooler, head = "bert/pooler/dense/kernel", "cls/seq_relationship/output_weights"
  for names, parts in (
    ((), (False, False)),
    ((pooler,), (True, False)),
    ((pooler, head), (True, True)),
    ((head,), (False, False)),
  ):
    assert Parts.among(names) == parts


@pytest.mark.parametrize("without", [NO_POOLER, NO_HEAD, NO_POOLER + NO_HEAD])
def test_a_masked_lm_fills_masks_with_what_it_has(golden, tmp_path, without):
  """And gives what it gives with all weights: nothing else is read."""
  path = weight_dirs.write(golden, tmp_path / "model", without=without)
  whole = weight_dirs.write(golden, tmp_path / "whole")
  text = ["the [MASK] of a [MASK]"]
  found, expected = (list(fill_mask.fill_mask(p, text, max_seq_length=32)) for p in (path, whole))
  assert found == expected and len(found[0]["masks"]) == 2


def test_an_encoder_without_pooler_gives_means(golden, config, tokens, tmp_path, caplog):
  path = weight_dirs.write(golden, tmp_path / "model", without=NO_POOLER)
  model = read(path, config, tokens, "encoder")
  assert model.pooler is None and "no `pooled` vector" in caplog.text
  from bert_tf.export.graphs.encoder import EncoderModule
  from bert_tf.export.options import TextOptions

  module = EncoderModule(model, TextOptions(tokens, max_seq_length=16), (-1,))
  whole = EncoderModule(
    read(str(golden / "tiny_ckpt"), config, tokens, "encoder"), module.text, (-1,)
  )
  text = tf.constant(["the old house"])
  found, expected = module.answers_to_text(text), whole.answers_to_text(text)
  assert set(found) == {"mean", "truncated"}
  assert set(expected) == {"mean", "pooled", "truncated"}
  np.testing.assert_allclose(found["mean"], expected["mean"], atol=1e-6)
  vectors = module.token_vectors(text, tf.constant([""]))["vectors"]
  assert vectors.shape[2:] == (1, config.hidden_size)


@pytest.mark.parametrize(
  ("head", "labels"), [("tokens", ("no", "yes")), ("question_answering", ())]
)
def test_models_of_tokens_and_spans_need_no_pooler(golden, config, tokens, tmp_path, head, labels):
  path = weight_dirs.write(golden, tmp_path / "model", "tiny_heads_ckpt", without=NO_POOLER)
  model = read(path, config, tokens, head, labels)
  assert model.bert.pooler is None


def test_a_classifier_needs_its_pooler(golden, config, tokens, tmp_path, caplog):
  path = weight_dirs.write(golden, tmp_path / "model", "tiny_heads_ckpt", without=NO_POOLER)
  labels = ("no", "yes")
  with pytest.raises(UserError, match=r"bert/pooler/dense.*allow_missing"):
    read(path, config, tokens, "classification", labels)
  with caplog.at_level(logging.WARNING):
    read(path, config, tokens, "classification", labels, allow_missing=NO_POOLER)
  assert "stays random, as `allow_missing` says: bert/pooler/dense" in caplog.text


def test_fill_mask_allows_what_is_named(golden, tmp_path):
  path = weight_dirs.write(golden, tmp_path / "model", without=("cls/predictions/transform/*",))
  with pytest.raises(UserError, match=r"cls/predictions/transform/.*allow_missing"):
    fill_mask.MaskFiller(path)
  filler = fill_mask.MaskFiller(path, allow_missing=["cls/predictions/*"])
  assert filler.fill([b"the [MASK]"])


def test_labels_are_as_many_as_outputs(golden, config, tokens):
  with pytest.raises(UserError, match="expected the names of its 2 outputs, found 3: a, b, c"):
    read(str(golden / "tiny_heads_ckpt"), config, tokens, "classification", ("a", "b", "c"))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_refused(golden, config, tokens, tmp_path, value):
  def change(name, array):
    if name.startswith("bert/encoder/layer_1/output/dense"):
      array = np.array(array)
      array.flat[3] = value
    return array

  path = weight_dirs.write(golden, tmp_path / "model", change=change)
  message = "finite weights.*bert/encoder/layer_1/output/dense/"
  with pytest.raises(UserError, match=message):
    read(path, config, tokens, "pretraining")
  with pytest.raises(UserError, match=message):
    fill_mask.MaskFiller(path)


def test_rows_without_a_token_are_no_words(golden, config, tokens, tmp_path):
  """Those of a padded table; here the likeliest of all."""

  def change(name, array):
    if name == "cls/predictions/output_bias":
      array = np.array(array)
      array[-8:] = 100
    return array

  path = weight_dirs.write(golden, tmp_path / "model", change=change)
  about = Description(config, tokens[:-8], head="pretraining", max_seq_length=16)
  from bert_tf.export import exporters

  found = exporters.graph_of(path, GraphPlan(about, top_k=5)).fill_mask(tf.constant(["a [MASK]"]))
  words = {word.decode() for word in found["tokens"].numpy().reshape(-1)}
  assert len(words) == 5 and words <= set(tokens[:-8])
  everything = exporters.graph_of(path, GraphPlan(about, top_k=5000))
  assert everything.fill_mask(tf.constant(["[MASK]"]))["tokens"].shape == (1, 1, len(tokens) - 8)
