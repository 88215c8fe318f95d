"""BertConfig reads what Google and Hugging Face released and refuses the rest."""

from __future__ import annotations

import json

import pytest

from bert_tf import BertConfig, UserError


def test_reads_the_originals_json(golden):
  config = BertConfig.from_json_file(golden / "bert_config.json")
  assert (config.hidden_size, config.num_hidden_layers, config.vocab_size) == (32, 2, 1200)
  written = json.loads(config.to_json_string())
  assert written == json.loads((golden / "bert_config.json").read_text())


def test_type_vocab_size_defaults_to_16_as_in_the_original():
  assert BertConfig.from_dict({"vocab_size": 10}).type_vocab_size == 16


def test_accepts_the_keys_of_the_multilingual_and_chinese_models():
  extra = {"directionality": "bidi", "pooler_fc_size": 768, "pooler_type": "first_token_transform"}
  assert BertConfig.from_dict({"vocab_size": 10, **extra}) == BertConfig(vocab_size=10)


@pytest.mark.parametrize(
  ("theirs", "ours"), [("gelu", "gelu_erf"), ("gelu_new", "gelu"), ("relu", "relu")]
)
def test_hugging_faces_gelu_is_the_erf_form(theirs, ours):
  values = {"model_type": "bert", "vocab_size": 10, "hidden_act": theirs, "use_cache": True}
  config = BertConfig.from_dict({**values, "layer_norm_eps": 1e-5})
  assert config.hidden_act == ours
  assert config.layer_norm_eps == 1e-5
  assert config.type_vocab_size == 2


# The config.json of pytorch-transformers 1.x, which has neither `model_type` nor `architectures`.
OF_2019 = {
  "vocab_size": 10, "hidden_size": 12, "hidden_act": "gelu", "finetuning_task": "mrpc",
  "num_labels": 3, "output_attentions": False, "output_hidden_states": False, "output_past": True,
  "pruned_heads": {}, "torchscript": False, "use_bfloat16": False, "is_decoder": False,
}  # fmt: skip


def test_configs_of_2019_are_hugging_faces():
  config = BertConfig.from_dict(OF_2019)
  assert (config.hidden_act, config.type_vocab_size, config.hidden_size) == ("gelu_erf", 2, 12)
  # Whatever wrote the file may have added keys where the architecture is named.
  assert BertConfig.from_dict({**OF_2019, "model_type": "bert", "my_trainer": 1}) == config


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"pruned_heads": {"0": [1]}}, "found pruned_heads: .* heads were taken out"),
    ({"is_encoder_decoder": True}, "half of an encoder and decoder"),
    ({"add_cross_attention": True}, "attend to another text"),
    ({"quantization_config": {"bits": 8}}, "stored as integers"),
    ({"position_embedding_type": "relative_key"}, "position_embedding_type absolute"),
    ({"architectures": ["RobertaModel"]}, "architecture bert, found 'RobertaModel'"),
    ({"num_hiden_layers": 3}, "did you mean 'num_hidden_layers'"),
    ({"my_trainer": 1}, "unknown key 'my_trainer'"),
    ({"model_type": "bert", "num_hiden_layers": 3}, "did you mean 'num_hidden_layers'"),
    ({"hidden_act": ["gelu"]}, "expected hidden_act"),
  ],
)
def test_configs_of_other_models_and_misspellings_are_refused(change, message):
  with pytest.raises(UserError, match=message):
    BertConfig.from_dict({**OF_2019, **change})


@pytest.mark.parametrize(
  ("beside", "weights", "expected"),
  [
    (["pytorch_model.bin"], None, "gelu_erf"),
    (["model.safetensors.index.json"], None, "gelu_erf"),
    (["bert_model.ckpt.index"], None, "gelu"),
    ([], None, "gelu"),
    (["pytorch_model.bin", "bert_model.ckpt.index"], None, "gelu"),
    (["pytorch_model.bin", "bert_model.ckpt.index"], "bert_model.ckpt", "gelu"),
    (["pytorch_model.bin", "bert_model.ckpt.index"], "pytorch_model.bin", "gelu_erf"),
    # A directory with both is read as Hugging Face's.
    (["pytorch_model.bin", "bert_model.ckpt.index"], ".", "gelu_erf"),
  ],
)
def test_gelu_of_googles_config_is_that_of_the_weights(tmp_path, beside, weights, expected):
  for name in beside:
    (tmp_path / name).touch()
  path = tmp_path / "bert_config.json"
  path.write_text('{"vocab_size": 10, "hidden_act": "gelu"}')
  weights = weights and str(tmp_path / weights)
  assert BertConfig.from_json_file(str(path), weights).hidden_act == expected
  for said, meant in (("gelu_new", "gelu"), ("gelu_erf", "gelu_erf"), ("relu", "relu")):
    path.write_text(json.dumps({"vocab_size": 10, "hidden_act": said}))
    assert BertConfig.from_json_file(str(path), weights).hidden_act == meant


def test_vocabularies_shorter_than_the_table_are_said_and_longer_ones_refused(caplog):
  config = BertConfig(vocab_size=30528)
  with caplog.at_level("INFO", logger="absl"):
    config.check_vocabulary_size(30528, "vocab.txt")
    assert not caplog.records
    config.check_vocabulary_size(30522, "vocab.txt")
  assert "the last 6 rows belong to no token" in caplog.text
  with pytest.raises(UserError, match=r"at most the 30528 tokens .* found 30529; .*add-tokens"):
    config.check_vocabulary_size(30529, "vocab.txt")


@pytest.mark.parametrize(
  ("values", "message"),
  [
    ({"vocab_size": 10, "hiden_size": 8}, "did you mean 'hidden_size'"),
    ({"hidden_size": 8}, "vocab_size is missing"),
    ({"vocab_size": 10, "hidden_size": 10, "num_attention_heads": 3}, "must be a multiple"),
    ({"vocab_size": 10, "hidden_act": "glue"}, "did you mean 'gelu'"),
    ({"vocab_size": "10"}, "positive integer"),
    ({"vocab_size": 10, "num_hidden_layers": 0}, "positive integer"),
    ({"vocab_size": 10, "hidden_dropout_prob": 1.0}, r"\[0, 1\)"),
    ({"model_type": "roberta", "vocab_size": 10}, "architecture bert, found 'roberta'"),
    ({"class_name": "RobertaBackbone", "config": {}}, "BertBackbone, found 'RobertaBackbone'"),
    ({"class_name": "BertBackbone", "config": {}}, "key 'vocabulary_size' of KerasHub"),
    ([], "JSON object"),
  ],
)
def test_refuses_with_the_reason(values, message):
  with pytest.raises(UserError, match=message):
    BertConfig.from_dict(values)


def test_refuses_files_that_hold_no_config(tmp_path):
  with pytest.raises(UserError, match="found nothing at"):
    BertConfig.from_json_file(tmp_path / "absent.json")
  broken = tmp_path / "broken.json"
  broken.write_text('{"vocab_size": 10,')
  with pytest.raises(UserError, match="expected JSON"):
    BertConfig.from_json_file(broken)


def test_sequences_beyond_the_positions_are_refused():
  BertConfig(vocab_size=10).check_sequence_length(512)
  with pytest.raises(UserError, match="512 positions"):
    BertConfig(vocab_size=10).check_sequence_length(513)
