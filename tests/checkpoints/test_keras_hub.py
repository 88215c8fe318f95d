"""KerasHub's files against the library itself."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from bert_tf import checkpoints, heads
from bert_tf.config import BertConfig
from bert_tf.errors import UserError
from bert_tf.modeling import BertModel

keras_hub = pytest.importorskip("keras_hub")


def make_backbone(config):
  return keras_hub.models.BertBackbone(
    config.vocab_size, config.num_hidden_layers, config.num_attention_heads, config.hidden_size,
    config.intermediate_size, max_sequence_length=config.max_position_embeddings,
    num_segments=config.type_vocab_size,
  )  # fmt: skip


def their_inputs(features):
  return {
    "token_ids": features["input_ids"], "padding_mask": features["input_mask"],
    "segment_ids": features["segment_ids"],
  }  # fmt: skip


def assert_backbone_outputs(ours, theirs):
  for name in ("sequence_output", "pooled_output"):
    np.testing.assert_allclose(ours[name], theirs[name], atol=1e-5)


@pytest.fixture(scope="module")
def backbone(config, randomise):
  backbone = make_backbone(config)
  randomise(backbone.variables)
  return backbone


def test_backbone_as_preset_as_weights_and_live(backbone, features, weights_of, assert_same,
                                                tmp_path):  # fmt: skip
  backbone.save_to_preset(str(tmp_path / "preset"))
  config = checkpoints.describe(str(tmp_path / "preset")).config
  backbone.save_weights(str(tmp_path / "bert.weights.h5"))
  loaded = []
  for source in (str(tmp_path / "preset"), str(tmp_path / "bert.weights.h5"), backbone):
    model = BertModel(config)
    report = checkpoints.load(model, source)
    assert report.format == "KerasHub" and not report.unexpected
    loaded.append(weights_of(model))
  assert_same(loaded[0], loaded[1])
  assert_same(loaded[0], loaded[2])
  assert_backbone_outputs(model(features), backbone(their_inputs(features)))


@pytest.mark.parametrize("form", ["preset", "weights", "live"])
def test_classifier(config, backbone, features, randomise, tmp_path, form):
  classifier = keras_hub.models.BertTextClassifier(backbone, 3)
  randomise(classifier.output_dense.variables, seed=1)
  source = classifier
  if form == "preset":
    source = str(tmp_path / "preset")
    classifier.save_to_preset(source)
  elif form == "weights":
    source = str(tmp_path / "c.weights.h5")
    classifier.save_weights(source)
  model = heads.ClassifierModel(config, 3)
  assert not checkpoints.load(model, source).unexpected
  logits = classifier(their_inputs(features))
  np.testing.assert_allclose(model(features)["logits"], logits, atol=1e-5)


def test_masked_lm_gives_its_encoder_and_refuses_its_head(config, backbone, features, tmp_path):
  masked_lm = keras_hub.models.BertMaskedLM(backbone)
  masked_lm.save_to_preset(str(tmp_path / "preset"))
  for source in (str(tmp_path / "preset"), masked_lm):
    model = BertModel(config)
    checkpoints.load(model, source)
    assert_backbone_outputs(model(features), backbone(their_inputs(features)))
    pretraining = heads.PretrainingModel(config)
    with pytest.raises(UserError, match="masked-LM head uses the erf form of gelu and the epsilon"):
      checkpoints.load(pretraining, source, ["cls/seq_relationship/*"])
    report = checkpoints.load(pretraining, source, ["cls/*"])
    assert "cls/predictions/output_bias" in report.missing
  conversion = checkpoints.convert(str(tmp_path / "preset"), str(tmp_path / "out"), "huggingface")
  assert "cls/predictions/output_bias" in conversion.left_out
  assert "cls/predictions/output_bias" not in checkpoints.formats.open_checkpoint(
    str(tmp_path / "out")
  ).shapes  # fmt: skip


def test_config_and_vocabulary_of_a_preset(config, vocabulary, directory_of, tmp_path):
  preset = str(tmp_path / "preset")
  checkpoints.convert(directory_of("source", BertModel(config)), preset, "keras_hub")
  about = checkpoints.describe(preset)
  assert about.config == config
  assert BertConfig.from_json_file(f"{preset}/config.json") == config
  assert about.tokenizer.do_lower_case is True
  assert list(about.tokens) == vocabulary


@pytest.mark.parametrize("num_labels", [None, 3])
def test_written_preset_loads_there_and_back(
  config, features, directory_of, weights_of, assert_same, tmp_path, num_labels
):
  model = heads.ClassifierModel(config, num_labels) if num_labels else BertModel(config)
  source, preset = directory_of("source", model), str(tmp_path / "preset")
  conversion = checkpoints.convert(source, preset, "keras_hub")
  assert max(conversion.differences.values()) == 0 and not conversion.left_out
  backbone = keras_hub.models.BertBackbone.from_preset(preset)
  assert_backbone_outputs(model(features), backbone(their_inputs(features)))
  tokenizer = keras_hub.models.BertTokenizer.from_preset(preset)
  assert np.asarray(tokenizer("a b")).tolist() == [7, 8]
  if num_labels:
    classifier = keras_hub.models.BertTextClassifier.from_preset(preset)
    classifier.predict(["a text"], verbose=0)
    logits = classifier(their_inputs(features))
    np.testing.assert_allclose(model(features)["logits"], logits, atol=1e-5)
  checkpoints.convert(preset, str(tmp_path / "back"), "tf1")
  other = heads.ClassifierModel(config, num_labels) if num_labels else BertModel(config)
  checkpoints.load(other, str(tmp_path / "back"))
  assert_same(weights_of(model), weights_of(other))


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"hidden_act": "gelu_erf"}, "always uses the tanh form of gelu; this model uses gelu_erf"),
    ({"layer_norm_eps": 1e-5}, "always uses the epsilon 1e-12; this model uses 1e-05"),
    ({"attention_probs_dropout_prob": 0.2}, "one dropout for everything"),
  ],
)
def test_configs_that_kerashub_cannot_have(config, directory_of, tmp_path, change, message):
  model = BertModel(dataclasses.replace(config, **change))
  source = directory_of("source", model)
  with pytest.raises(UserError, match=message):
    checkpoints.convert(source, str(tmp_path / "out"), "keras_hub")
  assert sorted(p.name for p in tmp_path.iterdir()) == ["source"]


def test_heads_that_kerashub_has_not_are_listed(config, directory_of, tmp_path):
  source = directory_of("source", heads.PretrainingModel(config))
  conversion = checkpoints.convert(source, str(tmp_path / "out"), "keras_hub")
  assert len(conversion.left_out) == 7
  assert "erf form of gelu" in conversion.left_out["cls/predictions/output_bias"]
  assert "no such head" in conversion.left_out["cls/seq_relationship/output_bias"]


def test_another_architecture_is_named(tmp_path):
  backbone = keras_hub.models.RobertaBackbone(20, 1, 2, 8, 12, max_sequence_length=10)
  backbone.save_to_preset(str(tmp_path / "preset"))
  with pytest.raises(UserError, match="BertBackbone, found 'RobertaBackbone'"):
    checkpoints.describe(str(tmp_path / "preset"))
  with pytest.raises(UserError, match="BertBackbone, found 'RobertaBackbone'"):
    checkpoints.formats.open_checkpoint(str(tmp_path / "preset"))
  with pytest.raises(UserError, match="expected KerasHub's BERT, found RobertaBackbone"):
    checkpoints.formats.open_checkpoint(backbone)


def test_keys_of_the_first_keras_3(config, backbone, weights_of, assert_same, tmp_path):
  import h5py

  backbone.save_to_preset(str(tmp_path))
  today = BertModel(config)
  checkpoints.load(today, str(tmp_path))
  with h5py.File(tmp_path / "model.weights.h5", "r+") as file:
    file.move("layers", "_layer_checkpoint_dependencies")
  make_backbone(config).load_weights(str(tmp_path / "model.weights.h5"))
  model = BertModel(config)
  assert not checkpoints.load(model, str(tmp_path)).unexpected
  assert_same(weights_of(today), weights_of(model))


def test_truncated_weights(backbone, config, tmp_path):
  backbone.save_to_preset(str(tmp_path))
  path = tmp_path / "model.weights.h5"
  path.write_bytes(path.read_bytes()[:40000])
  with pytest.raises(UserError, match="expected a complete HDF5 file"):
    checkpoints.load(BertModel(config), str(tmp_path))


def test_backbone_in_bfloat16(config, features, randomise, weights_of, tmp_path):
  backbone = keras_hub.models.BertBackbone(
    config.vocab_size, config.num_hidden_layers, config.num_attention_heads, config.hidden_size,
    config.intermediate_size, max_sequence_length=config.max_position_embeddings,
    num_segments=config.type_vocab_size, dtype="bfloat16",
  )  # fmt: skip
  randomise(backbone.variables)
  backbone.save_to_preset(str(tmp_path / "preset"))
  model = BertModel(checkpoints.describe(str(tmp_path / "preset")).config)
  assert not checkpoints.load(model, str(tmp_path / "preset")).unexpected
  expected = np.asarray(backbone.get_layer("pooled_dense").bias, np.float32)
  np.testing.assert_array_equal(weights_of(model)["bert/pooler/dense/bias"], expected)
  checkpoints.convert(str(tmp_path / "preset"), str(tmp_path / "out"), "tf1")
