import gzip
import hashlib
import json
import sys
import unicodedata

import hypothesis
import hypothesis.strategies as st
import pytest
import tensorflow as tf

from bert_tf.errors import UserError
from bert_tf.tokenization import (
  SPECIAL_TOKENS,
  BasicTokenizer,
  FullTokenizer,
  InGraphTokenizer,
  TokenizerSettings,
  write_vocabulary,
)
from bert_tf.tokenization.in_graph import TEXT_OPS

# What differs from the original; all of it is in the golden file.
SETTINGS = [
  TokenizerSettings(True, False),
  TokenizerSettings(True, False, False),
  TokenizerSettings(False, True),
  TokenizerSettings(True, None, False),
  TokenizerSettings(False, None, False),
]
DIFFICULT = (
  "Σσς\u0130\u0301\u0345\u0307\u0327Aäé\ud55c\u1112\u1161"
  " 的人\uf900.\u00ad\u200d\ufb01ẞ\u2028\u3099が"
)


@pytest.fixture(scope="module")
def theirs(golden):
  with gzip.open(golden / "tokenization" / "settings.json.gz", "rt") as file:
    return json.load(file)


def parts(theirs):
  for part in theirs["settings"]:
    names = ("do_lower_case", "strip_accents", "tokenize_chinese_chars")
    yield part, TokenizerSettings(*(part[name] for name in names))


def is_comparable(line):
  """As make_settings.py: transformers deletes private and unassigned code points, and composes."""
  kinds = [unicodedata.category(char) for char in line]
  kept = "".join(char for char, kind in zip(line, kinds, strict=True) if kind not in ("Cc", "Cf"))
  return unicodedata.is_normalized("NFC", kept) and not {"Co", "Cn"} & set(kinds)


def test_words_are_those_of_transformers(theirs):
  composed = 0
  for part, settings in parts(theirs):
    tokenizer = BasicTokenizer(settings=settings)
    words = zip(theirs["lines"], part["words"]["slow"], part["words"]["fast"], strict=True)
    for line, slow, fast in words:
      if is_comparable(line):
        assert tokenizer.tokenize(line) == slow, (settings, ascii(line))
      elif not any(unicodedata.category(char) in ("Co", "Cn") or char == "Σ" for char in line):
        # Composing text first (NFC) is the slow tokenizer's alone; see `basic`.
        composed += slow != fast
        assert tokenizer.tokenize(line) == fast, (settings, ascii(line))
  assert composed


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="made with the Unicode of Python 3.11")
def test_code_points_are_those_of_transformers(theirs):
  for part, settings in parts(theirs):
    tokenizer = BasicTokenizer(settings=settings)
    for block, digest in part["blocks"].items():
      assert block_digest(tokenizer, int(block)) == digest, (settings, block)


def block_digest(tokenizer, block):
  """As make_settings.py."""
  result = hashlib.sha256()
  for code_point in range(block * 4096, (block + 1) * 4096):
    if not 0xD800 <= code_point < 0xE000:
      line = f"a{chr(code_point)}b C{chr(code_point)} {chr(code_point)}的"
      if is_comparable(line):
        result.update(json.dumps([line, tokenizer.tokenize(line)]).encode())
  return result.hexdigest()


@pytest.mark.parametrize(
  ("settings", "expected"),
  [
    (TokenizerSettings(True, False), "käse schön über 的 人"),
    (TokenizerSettings(True), "kase schon uber 的 人"),
    (TokenizerSettings(False, True), "Kase schon Uber 的 人"),
    (TokenizerSettings(False, tokenize_chinese_chars=False), "Käse schön Über 的人"),
  ],
)
def test_examples(settings, expected):
  assert BasicTokenizer(settings=settings).tokenize("Käse schön Über 的人") == expected.split()


@pytest.fixture(scope="module")
def vocab_file(golden, tmp_path_factory):
  """With pieces that only some settings give."""
  tokens = (golden / "vocab.txt").read_text(encoding="utf-8").split("\n")[:-1]
  more = [
    "käse",
    "sch",
    "##ön",
    "über",
    "的人",
    "##的",
    "##人",
    "Ä",
    "##Ä",
    "K",
    "##Ö",
    "Σ",
    "\u0307",
  ]
  path = tmp_path_factory.mktemp("vocab") / "vocab.txt"
  write_vocabulary([*tokens, *(token for token in more if token not in tokens)], path)
  return path


@pytest.fixture(scope="module", params=SETTINGS, ids=str)
def tokenizers(request, vocab_file):
  reference = FullTokenizer(vocab_file, settings=request.param)
  # Both ways share words and differ in pieces, so one setting goes both ways.
  ops = TEXT_OPS if request.param is SETTINGS[1] else TEXT_OPS[:1]
  return reference, [InGraphTokenizer(vocab_file, True, o, settings=request.param) for o in ops]


def check(tokenizers, lines):
  """Ids and offsets in the graph are those of Python; offsets frame what became the pieces."""
  reference, graphs = tokenizers
  expected = [reference.tokenize_with_offsets(line) for line in lines]
  for line, (tokens, _, _) in zip(lines, expected, strict=True):
    assert tokens == reference.tokenize(line), ascii(line)
    words = reference.basic_tokenizer.tokenize(line)
    tokenize_word = reference.wordpiece_tokenizer.tokenize_word
    assert tokens == [piece for word in words for piece in tokenize_word(word)], ascii(line)
  for graph in graphs:
    ids = graph(tf.constant(lines, tf.string)).to_list()
    result = [part.to_list() for part in graph.tokenize_with_offsets(tf.constant(lines, tf.string))]
    for line, row, want, *got in zip(lines, ids, expected, *result, strict=True):
      assert row == got[0], ascii(line)
      assert (reference.convert_ids_to_tokens(row), got[1], got[2]) == want, ascii(line)


def test_graph_equals_python_on_awkward_lines(tokenizers, theirs):
  check(tokenizers, theirs["lines"])


@hypothesis.settings(max_examples=20, deadline=None, derandomize=True)
@hypothesis.given(st.lists(st.text(DIFFICULT, max_size=10), min_size=20, max_size=60))
def test_graph_equals_python_on_difficult_characters(tokenizers, lines):
  check(tokenizers, lines)


@pytest.mark.parametrize("first", [0, 0x1000, 0x3000, 0xA000, 0xF000, 0x1D000])
def test_graph_equals_python_on_code_points(tokenizers, first):
  reference, graphs = tokenizers
  chars = [chr(c) for c in range(first, first + 0x1000) if not 0xD800 <= c < 0xE000]
  lines = [f"a{char}b C{char} {char}的" for char in chars]
  expected = [reference.convert_tokens_to_ids(reference.tokenize(line)) for line in lines]
  for graph in graphs:
    assert graph(tf.constant(lines)).to_list() == expected


def test_settings_that_contradict_are_refused(vocab_file):
  with pytest.raises(UserError, match="settings that lower-case"):
    FullTokenizer(vocab_file, False, settings=TokenizerSettings())
  tokenizer = FullTokenizer(vocab_file, settings=TokenizerSettings(False))
  assert tokenizer.do_lower_case is False


LONG = {
  "x" * 256, "##" + "x" * 199, "й" * 128, "и" * 129, "и" * 200, "и" * 201, "##" + "и" * 150,
  "\U00010428" * 65, "y" * 300, "##" + "y" * 300, "中" * 100,
}  # fmt: skip


@pytest.mark.parametrize("without", [set(), {token for token in LONG if len(token.encode()) > 256}])
@pytest.mark.parametrize("do_lower_case", [True, False])
@pytest.mark.parametrize("text_ops", TEXT_OPS)
def test_long_entries_of_a_vocabulary(tmp_path, text_ops, do_lower_case, without):
  tokens = [
    *SPECIAL_TOKENS,
    "a",
    "##a",
    "x",
    "##x",
    "и",
    "##и",
    "й",
    "##й",
    *sorted(LONG - without),
  ]
  write_vocabulary(tokens, tmp_path / "vocab.txt")
  reference = FullTokenizer(tmp_path / "vocab.txt", do_lower_case)
  graph = InGraphTokenizer(tmp_path / "vocab.txt", do_lower_case, text_ops)
  lines = [
    token.removeprefix("##")[:length] for token in sorted(LONG) for length in (127, 200, 201)
  ]
  lines += [f"a{line}" for line in lines] + [f"{line}a, a" for line in lines]
  ids = [reference.convert_tokens_to_ids(reference.tokenize(line)) for line in lines]
  assert graph(tf.constant(lines)).to_list() == ids
  known = graph.tokenize_with_offsets(tf.constant(lines))[0].to_list()
  assert known == ids
  assert without or do_lower_case or [tokens.index("и" * 200)] in ids
