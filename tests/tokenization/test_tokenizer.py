import gzip
import hashlib
import json
import pickle
import sys
import unicodedata

import pytest

from bert_tf.errors import UserError
from bert_tf.tokenization import FullTokenizer, validate_case_matches_checkpoint

# Name in tests/golden/tokenization, vocabulary, do_lower_case.
SETS = [
  ("uncased", "vocab.txt", True),
  ("cased", "vocab_cased.txt", False),
  ("uncased_vocab_no_lower", "vocab.txt", False),
]
# Planes 0 to 2 and the tags of plane 14: all that have properties.
ASSIGNED_BLOCKS = [*range(48), 224]


@pytest.fixture(params=SETS, ids=[name for name, _, _ in SETS])
def golden_set(request, golden):
  name, vocab, do_lower_case = request.param
  return name, FullTokenizer(golden / vocab, do_lower_case)


def test_awkward_lines(golden_set, golden):
  name, tokenizer = golden_set
  lines = json.loads((golden / "tokenization_lines.json").read_text())
  with gzip.open(golden / "tokenization" / f"lines_{name}.jsonl.gz", "rt") as file:
    expected = [json.loads(row) for row in file]
  assert len(expected) == len(lines) == 185
  for row in expected:
    line = lines[row["line"]]
    assert tokenizer.basic_tokenizer.tokenize(line) == row["basic"]
    assert tokenizer.tokenize(line) == row["tokens"]
    assert tokenizer.convert_tokens_to_ids(row["tokens"]) == row["ids"]
    assert tokenizer.convert_ids_to_tokens(row["ids"]) == row["tokens"]


def digests(golden, name: str) -> dict[int, str]:
  """sha256 by block of 4096 code points, of those blocks that this Unicode version leaves alone."""
  with gzip.open(golden / "tokenization" / "codepoints_sha256.json.gz", "rt") as file:
    golden_set = json.load(file)["sets"][name]
  blocks = dict(enumerate(golden_set["blocks_3.11.7"]))
  if sys.version_info[:2] != (3, 11):
    # Only where Unicode 11 and 14 agree is it likely that other versions do.
    for block in golden_set["blocks_3.7.16_where_different"]:
      del blocks[int(block)]
  return blocks


def block_digest(tokenizer: FullTokenizer, block: int) -> str:
  rows = []
  for code_point in range(block * 4096, (block + 1) * 4096):
    if not 0xD800 <= code_point < 0xE000:
      char = chr(code_point)
      tokens = tokenizer.tokenize(f"a{char}b c{char} {char}")
      rows.append(json.dumps([code_point, tokens], separators=(",", ":")) + "\n")
  return hashlib.sha256("".join(rows).encode("ascii")).hexdigest()


def test_every_assigned_code_point(golden_set, golden):
  name, tokenizer = golden_set
  expected = digests(golden, name)
  wrong = [
    block
    for block in ASSIGNED_BLOCKS
    if block in expected and block_digest(tokenizer, block) != expected[block]
  ]
  assert wrong == [], f"Unicode {unicodedata.unidata_version}"


@pytest.mark.long
def test_every_code_point(golden_set, golden):
  name, tokenizer = golden_set
  expected = digests(golden, name)
  assert {block: block_digest(tokenizer, block) for block in expected} == expected


@pytest.fixture(scope="module")
def uncased(golden):
  return FullTokenizer(golden / "vocab.txt")


def test_remembered_words_change_nothing(uncased, golden):
  lines = (golden / "corpus.txt").read_text().split("\n")
  first = [uncased.tokenize(line) for line in lines]
  assert [uncased.tokenize(line) for line in lines] == first
  assert first == [
    [
      p
      for w in uncased.basic_tokenizer.tokenize(line)
      for p in uncased.wordpiece_tokenizer.tokenize(w)
    ]
    for line in lines
  ]


def test_results_do_not_share_memory(uncased):
  tokens = uncased.tokenize("the the")
  tokens.append("x")
  assert uncased.tokenize("the the") == ["the", "the"]


def test_inverse_vocabulary(uncased):
  assert [uncased.inv_vocab[index] for index in range(5)] == list(uncased.vocab)[:5]


def test_a_pickled_tokenizer_works(uncased):
  uncased.tokenize("the quick fox")
  copy = pickle.loads(pickle.dumps(uncased))
  assert copy.tokenize("The Quick fox!") == uncased.tokenize("The Quick fox!")


def test_unknown_tokens_and_ids_are_refused(uncased):
  with pytest.raises(UserError, match=r"found 'no such'"):
    uncased.convert_tokens_to_ids(["the", "no such"])
  with pytest.raises(UserError, match=r"from 0 to 1199, found 1200"):
    uncased.convert_ids_to_tokens([1, 1200])


@pytest.mark.parametrize(
  ("text", "expected"),
  [
    ("The (the)", [("the", 0, 3), ("(", 4, 5), ("the", 5, 8), (")", 8, 9)]),
    ("\x00 the\u200d!", [("the", 2, 5), ("!", 6, 7)]),
    ("THE\u0301\u0302!", [("the", 0, 5), ("!", 5, 6)]),  # accents go with the letter
    ("\u0301 the", [("the", 2, 5)]),
    ("a" * 201 + " the", [("[UNK]", 0, 201), ("the", 202, 205)]),
    ("", []),
  ],
)
def test_offsets(uncased, text, expected):
  assert list(zip(*uncased.tokenize_with_offsets(text), strict=True)) == expected


def test_offsets_of_awkward_lines(golden_set, golden):
  _, tokenizer = golden_set
  for line in json.loads((golden / "tokenization_lines.json").read_text()):
    tokens, starts, ends = tokenizer.tokenize_with_offsets(line)
    assert tokens == tokenizer.tokenize(line)
    for token, start, end in zip(tokens, starts, ends, strict=True):
      assert 0 <= start < end <= len(line)
      if token != "[UNK]" and line.isascii():
        text = line[start:end]
        text = text.lower() if tokenizer.do_lower_case else text
        assert "".join(c for c in text if c.isprintable()) == token.removeprefix("##")


GOOGLE = "/models/{}/bert_model.ckpt"


@pytest.mark.parametrize(
  ("name", "lower"),
  [
    ("uncased_L-12_H-768_A-12", True),
    ("uncased_L-2_H-128_A-2", True),
    ("wwm_uncased_L-24_H-1024_A-16", True),
    ("multilingual_L-12_H-768_A-12", True),
    ("chinese_L-12_H-768_A-12", True),
    ("cased_L-24_H-1024_A-16", False),
    ("multi_cased_L-12_H-768_A-12", False),
  ],
)
def test_case_is_known_from_google_names(name, lower):
  validate_case_matches_checkpoint(lower, GOOGLE.format(name))
  with pytest.raises(UserError, match=f"pass `do_lower_case={lower}`"):
    validate_case_matches_checkpoint(not lower, GOOGLE.format(name))


@pytest.mark.parametrize("checkpoint", [None, "", "/mine/model.ckpt-3", GOOGLE.format("mine")])
def test_other_names_say_nothing_about_case(checkpoint):
  validate_case_matches_checkpoint(True, checkpoint)
  validate_case_matches_checkpoint(False, checkpoint)


def test_case_is_known_from_the_vocabulary(golden):
  uncased = FullTokenizer(golden / "vocab.txt").vocab
  cased = FullTokenizer(golden / "vocab_cased.txt").vocab
  validate_case_matches_checkpoint(True, None, uncased)
  validate_case_matches_checkpoint(False, None, cased)
  with pytest.raises(UserError, match="capitals throughout, which keeps case"):
    validate_case_matches_checkpoint(True, None, cased)
  with pytest.warns(UserWarning, match="no capitals"):
    validate_case_matches_checkpoint(False, None, uncased)
