"""SavedModels as checkpoints: ours, the Model Garden's own exports, and modules of TensorFlow 1."""

from __future__ import annotations

import dataclasses
import os

import numpy as np
import pytest
import tensorflow as tf

from bert_tf import checkpoints, heads
from bert_tf.checkpoints import formats, saved_model, tf1
from bert_tf.errors import UserError
from bert_tf.export.graphs.frozen_model import FrozenModel
from bert_tf.model_dir import Description
from bert_tf.modeling import BertModel


@pytest.fixture
def ours(config, randomise, tmp_path):
  """A classifier, and a SavedModel of it as exports write it."""
  model = heads.ClassifierModel(config, 3)
  randomise(model.variables)
  path = str(tmp_path / "export" / "7")
  tf.saved_model.save(FrozenModel(model), path)
  return model, path


def test_ours(ours, config, weights_of, assert_same):
  model, path = ours
  variables = f"{path}/variables/variables"
  above = os.path.dirname(path)
  for given in (path, f"{path}/saved_model.pb", f"{path}/variables", variables, above,
                variables + ".index", f"{path}/"):  # fmt: skip
    other = heads.ClassifierModel(config, 3)
    report = checkpoints.load(other, given)
    assert report.format == "SavedModel" and not report.unexpected
    assert_same(weights_of(other), weights_of(model))


def test_conversion_of_ours(ours, config, tmp_path):
  _, path = ours
  about = Description(config)
  for to in ("tf1", "huggingface"):
    done = checkpoints.convert(path, str(tmp_path / f"out-{to}"), to, about)
    assert max(done.differences.values()) == 0 and "logits" in done.differences


def test_newest_version(ours, tmp_path):
  model, _ = ours
  tf.saved_model.save(FrozenModel(model), str(tmp_path / "export" / "12"))
  assert saved_model.find(str(tmp_path / "export")) == str(tmp_path / "export" / "12")
  assert saved_model.find(str(tmp_path)) is None
  assert saved_model.find(str(tmp_path / "none")) is None


def test_ours_in_bfloat16(config, randomise, weights_of, tmp_path):
  model = BertModel(config, dtype="mixed_bfloat16")
  randomise(model.variables)
  tf.saved_model.save(FrozenModel(model), str(tmp_path / "m"))
  other = BertModel(config)
  checkpoints.load(other, str(tmp_path / "m"))
  name = "bert/pooler/dense/kernel"
  expected = tf.cast(tf.cast(weights_of(model)[name], "bfloat16"), "float32")
  np.testing.assert_array_equal(weights_of(other)[name], expected)


@pytest.mark.parametrize("with_mlm", [pytest.param(False, marks=pytest.mark.long), True])
def test_export_of_model_garden(config, features, randomise, tmp_path, with_mlm):
  """Made by the function that made TF-Hub's `bert_en_uncased_L-12_H-768_A-12/4`."""
  pytest.importorskip("official.nlp.tools.export_tfhub_lib", reason="needs the extra model-garden")
  from official.legacy.bert import configs
  from official.nlp.tools import export_tfhub_lib

  # Their export takes seconds for each layer.
  config = dataclasses.replace(config, num_hidden_layers=1)
  theirs = configs.BertConfig(
    config.vocab_size, config.hidden_size, config.num_hidden_layers, config.num_attention_heads,
    config.intermediate_size, max_position_embeddings=config.max_position_embeddings,
    type_vocab_size=config.type_vocab_size,
  )  # fmt: skip
  core, restored = export_tfhub_lib._create_model(bert_config=theirs, with_mlm=with_mlm)
  randomise([*core.variables, *(restored.variables if with_mlm else ())])
  items = restored.checkpoint_items if with_mlm else {"model": restored, "encoder": restored}
  path = tf.train.Checkpoint(**items).save(str(tmp_path / "ckpt"))
  (tmp_path / "vocab.txt").write_text("[PAD]\n")
  export_tfhub_lib.export_model(
    str(tmp_path / "hub"), bert_config=theirs, model_checkpoint_path=path, with_mlm=with_mlm,
    vocab_file=str(tmp_path / "vocab.txt"), do_lower_case=True,
  )  # fmt: skip
  model = heads.PretrainingModel(config) if with_mlm else BertModel(config)
  report = checkpoints.load(model, str(tmp_path / "hub"), ["cls/seq_relationship/*"])
  assert report.format == "SavedModel" and not report.unexpected
  exported = tf.saved_model.load(str(tmp_path / "hub"))
  inputs = {
    "input_word_ids": features["input_ids"], "input_mask": features["input_mask"],
    "input_type_ids": features["segment_ids"],
  }  # fmt: skip
  ours = model(features)
  for name in ("sequence_output", "pooled_output"):
    np.testing.assert_allclose(ours[name], exported(inputs)[name], atol=1e-5)
  if with_mlm:
    inputs["masked_lm_positions"] = features["masked_lm_positions"]
    logits = np.reshape(exported.mlm(inputs)["mlm_logits"], [-1, config.vocab_size])
    np.testing.assert_allclose(ours["masked_lm_logits"], logits, atol=1e-5)


def test_an_encoder_of_model_garden_saved_by_itself(config, randomise, tmp_path):
  pytest.importorskip("official.nlp.modeling", reason="needs the extra model-garden")
  from official.nlp.modeling import networks

  encoder = networks.BertEncoderV2(
    config.vocab_size, config.hidden_size, config.num_hidden_layers, config.num_attention_heads,
    config.max_position_embeddings, config.type_vocab_size, config.intermediate_size,
  )  # fmt: skip
  encoder(encoder.inputs)
  randomise(encoder.variables)
  tf.saved_model.save(encoder, str(tmp_path / "m"))
  model = BertModel(config)
  checkpoints.load(model, str(tmp_path / "m"))
  np.testing.assert_array_equal(model.embeddings.word_embeddings, encoder.get_embedding_table())


def hub_module(path, tensors):
  """The files of a module of TensorFlow 1: the graph is not looked at."""
  (path / "variables").mkdir(parents=True)
  (path / "saved_model.pb").write_bytes(b"")
  tf1.write(str(path / "variables" / "variables"), tensors)
  return str(path)


@pytest.mark.parametrize("prefix", ["", "module/"])
def test_modules_of_tensorflow_1(config, randomise, weights_of, assert_same, tmp_path, prefix):
  model = BertModel(config)
  randomise(model.variables)
  named = {prefix + name: array for name, array in weights_of(model).items()}
  path = hub_module(tmp_path / "hub", named)
  reader = formats.open_checkpoint(path)
  assert_same({name: reader.read(name) for name in reader.shapes}, weights_of(model))


def test_other_saved_models_are_refused_in_one_line(tmp_path):
  path = hub_module(tmp_path / "hub", {"dense/kernel": np.ones(2, "f4")})
  with pytest.raises(UserError, match="names of BERT's, found dense/kernel; take the checkpoint"):
    formats.open_checkpoint(path)
  tf.saved_model.save(tf.Module(), str(tmp_path / "empty"))
  with pytest.raises(UserError, match="expected a SavedModel"):
    formats.open_checkpoint(str(tmp_path / "empty"))
