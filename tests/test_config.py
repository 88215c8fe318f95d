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
