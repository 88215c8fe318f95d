import doctest
import importlib

import pytest

from bert_tf.errors import UserError
from bert_tf.tokenization import TokenizerSettings, require_special_tokens, why_unreachable


@pytest.mark.parametrize(
  ("token", "reason"),
  [
    ("##.", "always a word by itself"),
    ("##中", "always a word by itself"),
    ("中文", "makes '中 文'"),
    ("a" * 201, "more than 200"),
    ("##" + "a" * 200, "more than 200"),
    ("Zebra", "makes 'zebra'"),
    ("é", "makes 'e'"),
    ("a b", "makes 'a b'"),
    ("a\u200db", "makes 'ab'"),
    ("##", "makes 'nothing'"),
    ("", "makes 'nothing'"),
  ],
)
def test_what_no_text_gives(token, reason):
  assert reason in (why_unreachable(token, TokenizerSettings()) or "")


@pytest.mark.parametrize(
  "token", ["a" * 200, "##" + "a" * 199, "##ing", "中", ".", "straße", "##a1"]
)
def test_what_text_gives(token):
  assert why_unreachable(token, TokenizerSettings()) is None


def test_settings_count():
  assert why_unreachable("Käse", TokenizerSettings(False)) is None
  assert why_unreachable("käse", TokenizerSettings(True, False)) is None
  assert why_unreachable("##中文", TokenizerSettings(tokenize_chinese_chars=False)) is None


def test_special_tokens_are_asked_for():
  require_special_tokens({"[UNK]": 0}, ("[UNK]",))
  with pytest.raises(UserError, match=r"v.txt: expected .*, found no \[PAD\], \[SEP\] in 3 lines"):
    require_special_tokens({"[UNK]": 0, "[CLS]": 1, "[MASK]": 2}, path="v.txt")


@pytest.mark.parametrize("name", ["reachable", "tokenizer", "vocabulary", "in_graph"])
def test_examples_in_docstrings(name, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  result = doctest.testmod(importlib.import_module(f"bert_tf.tokenization.{name}"))
  assert result.attempted and not result.failed
