"""Model Garden checkpoints against tf-models-official itself."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from bert_tf import checkpoints, heads
from bert_tf.errors import UserError
from bert_tf.modeling import BertModel

pytest.importorskip("official.nlp.modeling", reason="needs the extra model-garden")
from official.nlp.modeling import layers, models, networks


def sizes(config):
  return {
    "vocab_size": config.vocab_size, "hidden_size": config.hidden_size,
    "num_layers": config.num_hidden_layers, "num_attention_heads": config.num_attention_heads,
    "max_sequence_length": config.max_position_embeddings,
    "type_vocab_size": config.type_vocab_size, "inner_dim": config.intermediate_size,
  }  # fmt: skip


def gelu(x):
  return tf.nn.gelu(x, approximate=True)


def their_inputs(features):
  return {
    "input_word_ids": features["input_ids"], "input_mask": features["input_mask"],
    "input_type_ids": features["segment_ids"],
    "masked_lm_positions": features["masked_lm_positions"],
  }  # fmt: skip


def make_encoder(config):
  encoder = networks.BertEncoderV2(**sizes(config))
  encoder(encoder.inputs)
  return encoder


def make_pretrainer(config, with_head=True):
  head = layers.ClassificationHead(config.hidden_size, 2, name="next_sentence")
  pretrainer = models.BertPretrainerV2(
    make_encoder(config), mlm_activation=gelu, classification_heads=[head] if with_head else []
  )
  pretrainer(pretrainer.inputs)
  return pretrainer


def assert_encoder_outputs(ours, theirs):
  np.testing.assert_allclose(ours["sequence_output"], theirs["sequence_output"], atol=1e-5)
  for one, other in zip(ours["encoder_layers"], theirs["encoder_outputs"], strict=True):
    np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("wrapped_as", ["encoder", "model", "anything"])
def test_encoder(config, features, randomise, tmp_path, wrapped_as):
  encoder = make_encoder(config)
  randomise(encoder.variables)
  path = tf.train.Checkpoint(**{wrapped_as: encoder}).save(str(tmp_path / "ckpt"))
  model = BertModel(config)
  report = checkpoints.load(model, path)
  assert report.format == "Model Garden" and not report.unexpected
  inputs = their_inputs(features)
  del inputs["masked_lm_positions"]
  theirs, ours = encoder(inputs), model(features)
  assert_encoder_outputs(ours, theirs)
  np.testing.assert_allclose(ours["pooled_output"], theirs["pooled_output"], atol=1e-5)


def test_older_functional_encoder(config, features, randomise, tmp_path):
  encoder = networks.BertEncoder(dict_outputs=True, **sizes(config))
  randomise(encoder.variables)
  tf.train.Checkpoint(model=encoder).write(str(tmp_path / "ckpt"))
  model = BertModel(config)
  assert not checkpoints.load(model, str(tmp_path / "ckpt")).unexpected
  inputs = their_inputs(features)
  del inputs["masked_lm_positions"]
  theirs, ours = encoder(inputs), model(features)
  assert_encoder_outputs(ours, theirs)
  np.testing.assert_allclose(ours["pooled_output"], theirs["pooled_output"], atol=1e-5)


def assert_pretrainer_outputs(ours, theirs, config):
  assert_encoder_outputs(ours, theirs)
  logits = np.reshape(theirs["mlm_logits"], [-1, config.vocab_size])
  np.testing.assert_allclose(ours["masked_lm_logits"], logits, atol=1e-5)
  if "next_sentence" in theirs:
    np.testing.assert_allclose(ours["next_sentence_logits"], theirs["next_sentence"], atol=1e-5)


@pytest.mark.parametrize("by_items", [False, True])
def test_pretrainer(config, features, randomise, tmp_path, by_items):
  pretrainer = make_pretrainer(config)
  randomise(pretrainer.variables)
  items = pretrainer.checkpoint_items if by_items else {}
  path = str(tmp_path / "ckpt")
  tf.train.Checkpoint(model=pretrainer, **items).write(path)
  model = heads.PretrainingModel(config)
  report = checkpoints.load(model, path)
  # Pretraining there never trains the encoder's own pooler; the head's is BERT's.
  assert [name.rsplit("_pooler_layer/")[1] for name in report.unexpected] == ["bias", "kernel"]
  assert_pretrainer_outputs(model(features), pretrainer(their_inputs(features)), config)


def test_pretrainer_items_without_the_sentence_logits(config, randomise, tmp_path):
  pretrainer = make_pretrainer(config)
  randomise(pretrainer.variables)
  path = str(tmp_path / "ckpt")
  tf.train.Checkpoint(**pretrainer.checkpoint_items).write(path)
  model = heads.PretrainingModel(config)
  with pytest.raises(UserError, match="expected cls/seq_relationship/output_weights"):
    checkpoints.load(model, path)
  checkpoints.load(model, path, ["cls/seq_relationship/*"])
  head = pretrainer.classification_heads[0]
  np.testing.assert_array_equal(model.bert.pooler.variables[0], head.dense.kernel)


def test_older_functional_pretrainer(config, features, randomise, tmp_path):
  encoder = networks.BertEncoder(dict_outputs=False, **sizes(config))
  pretrainer = models.BertPretrainer(
    encoder, num_classes=2, num_token_predictions=3, activation=gelu
  )
  randomise(pretrainer.variables)
  tf.train.Checkpoint(model=pretrainer).write(str(tmp_path / "ckpt"))
  model = heads.PretrainingModel(config)
  assert not checkpoints.load(model, str(tmp_path / "ckpt")).unexpected
  ours, theirs = model(features), pretrainer(their_inputs(features))
  logits = np.reshape(theirs["masked_lm"], [-1, config.vocab_size])
  np.testing.assert_allclose(ours["masked_lm_logits"], logits, atol=1e-5)
  np.testing.assert_allclose(ours["next_sentence_logits"], theirs["classification"], atol=1e-5)


def test_classifier(config, features, randomise, tmp_path):
  encoder = networks.BertEncoder(dict_outputs=True, **sizes(config))
  classifier = models.BertClassifier(encoder, 3)
  randomise(classifier.variables)
  tf.train.Checkpoint(model=classifier).write(str(tmp_path / "ckpt"))
  model = heads.ClassifierModel(config, 3)
  assert not checkpoints.load(model, str(tmp_path / "ckpt")).unexpected
  inputs = their_inputs(features)
  del inputs["masked_lm_positions"]
  np.testing.assert_allclose(model(features)["logits"], classifier(inputs), atol=1e-5)


def test_optimizer_slots_are_no_weights(config, randomise, tmp_path):
  import tf_keras

  encoder = make_encoder(config)
  optimizer = tf_keras.optimizers.legacy.Adam()
  with tf.GradientTape() as tape:
    loss = tf.reduce_sum(encoder.get_embedding_table() ** 2)
  table = encoder.get_embedding_table()
  optimizer.apply_gradients([(tape.gradient(loss, table), table)])
  path = tf.train.Checkpoint(model=encoder, optimizer=optimizer).save(str(tmp_path / "ckpt"))
  assert not checkpoints.load(BertModel(config), path).unexpected


def test_written_encoder_restores_there_and_back(config, features, directory_of, weights_of,
                                                 assert_same, tmp_path):  # fmt: skip
  model = BertModel(config)
  source = directory_of("source", model)
  output = str(tmp_path / "garden")
  conversion = checkpoints.convert(source, output, "model_garden")
  assert max(conversion.differences.values()) == 0 and not conversion.left_out
  for wrapped_as in ("encoder", "model"):
    encoder = make_encoder(config)
    status = tf.train.Checkpoint(**{wrapped_as: encoder}).read(f"{output}/bert_model.ckpt")
    status.assert_existing_objects_matched()
    inputs = their_inputs(features)
    del inputs["masked_lm_positions"]
    assert_encoder_outputs(model(features), encoder(inputs))
  older = networks.BertEncoder(dict_outputs=True, **sizes(config))
  status = tf.train.Checkpoint(model=older).read(f"{output}/bert_model.ckpt")
  status.assert_existing_objects_matched()
  assert_encoder_outputs(model(features), older(inputs))
  checkpoints.convert(output, str(tmp_path / "back"), "tf1")
  other = BertModel(config)
  checkpoints.load(other, str(tmp_path / "back"))
  assert_same(weights_of(model), weights_of(other))


@pytest.mark.parametrize("form", ["model", "items", "restore"])
def test_written_pretrainer_restores_there_and_back(
  config, features, directory_of, weights_of, assert_same, tmp_path, form
):
  model = heads.PretrainingModel(config)
  source = directory_of("source", model)
  output = str(tmp_path / "garden")
  checkpoints.convert(source, output, "model_garden")
  pretrainer = make_pretrainer(config)
  items = pretrainer.checkpoint_items if form == "items" else {"model": pretrainer}
  checkpoint = tf.train.Checkpoint(**items)
  read = checkpoint.restore if form == "restore" else checkpoint.read
  read(f"{output}/bert_model.ckpt").assert_existing_objects_matched()
  if form != "items":
    theirs = pretrainer(their_inputs(features))
    assert_pretrainer_outputs(model(features), theirs, config)
  checkpoints.convert(output, str(tmp_path / "back"), "tf1")
  other = heads.PretrainingModel(config)
  checkpoints.load(other, str(tmp_path / "back"))
  assert_same(weights_of(model), weights_of(other))


def test_masked_lm_without_a_sentence_head(config, directory_of, weights_of, tmp_path):
  from bert_tf.checkpoints import tf1

  source = directory_of("source", heads.PretrainingModel(config))
  reader = tf1.Reader(f"{source}/bert_model.ckpt")
  kept = {n: reader.read(n) for n in reader.shapes if "seq_relationship" not in n}
  tf1.write(f"{source}/bert_model.ckpt", kept)
  output = str(tmp_path / "garden")
  assert "masked_lm_logits" in checkpoints.convert(source, output, "model_garden").differences
  pretrainer = make_pretrainer(config, with_head=False)
  status = tf.train.Checkpoint(model=pretrainer).read(f"{output}/bert_model.ckpt")
  status.assert_existing_objects_matched()


def test_what_the_format_cannot_have(config, directory_of, tmp_path):
  import dataclasses

  other = dataclasses.replace(config, layer_norm_eps=1e-5)
  source = directory_of("eps", BertModel(other))
  with pytest.raises(UserError, match="always uses the epsilon 1e-12"):
    checkpoints.convert(source, str(tmp_path / "out"), "model_garden")
  source = directory_of("squad", heads.SpanModel(config))
  conversion = checkpoints.convert(source, str(tmp_path / "out"), "model_garden")
  assert set(conversion.left_out) == {"cls/squad/output_weights", "cls/squad/output_bias"}
  assert "have no such head" in str(conversion)
