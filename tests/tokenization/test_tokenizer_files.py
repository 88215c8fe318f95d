import copy
import json

import pytest

from bert_tf.errors import UserError
from bert_tf.tokenization import (
  SPECIAL_TOKENS,
  AddedToken,
  FullTokenizer,
  TokenizerSettings,
  load_vocab,
  read_tokenizer_config,
  read_tokenizer_directory,
  read_tokenizer_json,
  tokenizer_config,
  write_vocabulary,
)

TOKENS = [*SPECIAL_TOKENS, "a", "##b", "Ä", "\u2028"]
TOKENIZER = {
  "version": "1.0",
  "added_tokens": [
    {"id": 4, "content": "[MASK]", "single_word": False, "normalized": False, "special": True},
    {"id": 9, "content": "<e1>", "single_word": False, "normalized": True, "special": False},
  ],
  "normalizer": {
    "type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
    "strip_accents": None, "lowercase": False,
  },
  "pre_tokenizer": {"type": "BertPreTokenizer"},
  "post_processor": {"type": "TemplateProcessing"},
  "model": {
    "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
    "max_input_chars_per_word": 100, "vocab": {token: i for i, token in enumerate(TOKENS)},
  },
}  # fmt: skip


@pytest.fixture
def write(tmp_path):
  def write(name: str, values) -> str:
    path = tmp_path / name
    path.write_text(values if isinstance(values, str) else json.dumps(values), encoding="utf-8")
    return str(path)

  return write


def test_tokenizer_json(write):
  path = write("tokenizer.json", TOKENIZER)
  tokens, settings = read_tokenizer_json(path)
  assert tokens == [*TOKENS[:-1], "", "<e1>"]
  assert settings == TokenizerSettings(False, None, True, (AddedToken("<e1>", True),))
  assert list(load_vocab(path)) == tokens
  assert FullTokenizer(path, settings=settings).tokenize("ab<e1>Ä") == ["a", "##b", "<e1>", "Ä"]


def test_older_tokenizer_json_without_types(write):
  values = copy.deepcopy(TOKENIZER)
  del values["model"]["type"], values["added_tokens"], values["post_processor"]
  assert read_tokenizer_json(write("tokenizer.json", values))[0] == [*TOKENS[:-1], ""]


@pytest.mark.parametrize(
  ("keys", "value", "message"),
  [
    (("model", "type"), "BPE", "expected type 'WordPiece' in model, found 'BPE'"),
    (("model",), {"type": "Unigram", "vocab": [["a", 0.5]]}, "found 'Unigram'"),
    (("model",), None, "expected a WordPiece model"),
    (("model", "continuing_subword_prefix"), "@@", "found '@@'"),
    (("model", "unk_token"), "<unk>", "found '<unk>'"),
    (("model", "max_input_chars_per_word"), 50, "found 50"),
    (("model", "vocab", "a"), 77, "expected ids from 0 to 9, each once, found 6 in place of 5"),
    (("model", "vocab", "a"), 6, "found 6 in place of 5"),
    (("model", "vocab", "[MASK]"), 3, "one id for each token, found 3 and 4 for '\\[MASK\\]'"),
    (("model", "vocab", "a"), "5", "whole numbers as ids, found 'a'"),
    (("normalizer", "type"), "NFC", "found 'NFC'"),
    (("normalizer",), None, "expected normalizer 'BertNormalizer', found None"),
    (("normalizer", "clean_text"), False, "expected clean_text true"),
    (("normalizer", "lowercase"), "yes", "true or false"),
    (("pre_tokenizer", "type"), "Whitespace", "found 'Whitespace'"),
    (("pre_tokenizer",), None, "expected pre_tokenizer BertPreTokenizer, found None"),
    (("post_processor", "type"), "RobertaProcessing", "found 'RobertaProcessing'"),
    (("added_tokens", 1, "single_word"), True, "single_word of '<e1>'"),
  ],
)
def test_other_tokenizers_are_refused(write, keys, value, message):
  values = copy.deepcopy(TOKENIZER)
  inner = values
  for key in keys[:-1]:
    inner = inner[key]
  inner[keys[-1]] = value
  with pytest.raises(UserError, match=message):
    read_tokenizer_json(write("tokenizer.json", values))


@pytest.mark.parametrize("content", ["", "{", "[]", "\x00"])
def test_what_is_no_object_is_refused(write, content):
  path = write("tokenizer.json", content)
  for read in (read_tokenizer_json, read_tokenizer_config):
    with pytest.raises(UserError, match="expected"):
      read(path)


@pytest.mark.parametrize(
  ("values", "stated"),
  [
    ({}, {}),
    ({"do_lower_case": False, "strip_accents": None}, {"do_lower_case": False}),
    ({"strip_accents": False, "tokenizer_class": "BertTokenizerFast"}, {"strip_accents": False}),
    ({"tokenize_chinese_chars": False, "never_split": []}, {"tokenize_chinese_chars": False}),
    ({"never_split": None, "do_basic_tokenize": True, "unk_token": {"content": "[UNK]"}}, {}),
    ({"added_tokens_decoder": {"0": {"content": "[PAD]", "special": True}}}, {}),
    (
      {"added_tokens_decoder": {"7": {"content": "[N]", "special": True, "normalized": False}}},
      {"added_tokens": (AddedToken("[N]", False, True),)},
    ),
  ],
)
def test_tokenizer_config(write, values, stated):
  found = read_tokenizer_config(write("tokenizer_config.json", values))
  assert found == stated
  TokenizerSettings(**found)


@pytest.mark.parametrize(
  ("values", "message"),
  [
    ({"tokenizer_class": "BertJapaneseTokenizer"}, "found 'BertJapaneseTokenizer'"),
    ({"tokenizer_class": "RobertaTokenizerFast"}, "found 'RobertaTokenizerFast'"),
    ({"never_split": ["a"]}, r"found \['a'\]"),
    ({"do_basic_tokenize": False}, "expected do_basic_tokenize True, found False"),
    ({"word_tokenizer_type": "mecab"}, "found 'mecab'"),
    ({"cls_token": "<s>"}, "found '<s>'"),
    ({"do_lower_case": "no"}, "true or false for do_lower_case, found 'no'"),
  ],
)
def test_what_cannot_be_honoured_is_refused(write, values, message):
  with pytest.raises(UserError, match=rf"tokenizer_config.json: .*{message}"):
    read_tokenizer_config(write("tokenizer_config.json", values))


def test_directories(tmp_path, write):
  assert read_tokenizer_directory(tmp_path) is None
  json_file = write("tokenizer.json", TOKENIZER)
  saved = read_tokenizer_directory(tmp_path)
  assert saved is not None
  assert (len(saved.tokens), saved.vocab_file) == (10, None)
  assert saved.stated["do_lower_case"] is False
  # tokenizer_config.json goes before tokenizer.json.
  write("tokenizer_config.json", {"do_lower_case": True, "strip_accents": False})
  saved = read_tokenizer_directory(tmp_path)
  settings = TokenizerSettings(**saved.stated)
  assert settings == TokenizerSettings(True, False, True, (AddedToken("<e1>", True),))
  # What is written is read back, the vocabulary complete.
  new = tmp_path / "new"
  write_vocabulary(saved.tokens, new / "vocab.txt")
  values = tokenizer_config(settings, load_vocab(new / "vocab.txt"))
  (new / "tokenizer_config.json").write_text(json.dumps(values))
  again = read_tokenizer_directory(new)
  assert again == (saved.tokens, again.stated, str(new / "vocab.txt"))
  assert TokenizerSettings(**again.stated) == settings
  write("vocab.txt", "\n".join([*TOKENS[:-2], "Ö"]))
  with pytest.raises(UserError, match=r"expected the tokens of .*vocab.txt, found others"):
    read_tokenizer_directory(tmp_path)
  assert json_file


def test_added_tokens_beside_a_vocabulary(tmp_path, write):
  write("vocab.txt", "\n".join(TOKENS))
  write("added_tokens.json", {"</e1>": 10, "<e1>": 9})
  write("special_tokens_map.json", {"additional_special_tokens": ["<e1>"]})
  saved = read_tokenizer_directory(tmp_path)
  assert saved.tokens[-3:] == ["", "<e1>", "</e1>"]
  assert saved.vocab_file is None
  assert set(saved.stated["added_tokens"]) == {
    AddedToken("</e1>", True),
    AddedToken("<e1>", False, True),
  }
  write("added_tokens.json", {"<e1>": 12})
  with pytest.raises(UserError, match="found 12 in place of 9"):
    read_tokenizer_directory(tmp_path)


def test_default_settings_leave_the_file_as_it_was():
  assert tokenizer_config(TokenizerSettings(False)) == {"do_lower_case": False}
  with pytest.raises(UserError, match="added token"):
    tokenizer_config(TokenizerSettings(added_tokens=(AddedToken("x"),)))
