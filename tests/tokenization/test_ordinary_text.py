import numpy as np
import pytest
import tensorflow as tf

from bert_tf.tokenization import FullTokenizer, TokenizerSettings, ordinary_text
from bert_tf.tokenization import unicode_tables as tables
from bert_tf.tokenization.ordinary_text import OrdinaryTextTokenizer, agreed_code_points


@pytest.fixture(scope="module")
def reference(golden):
  return FullTokenizer(golden / "vocab.txt")


@pytest.fixture(scope="module")
def ordinary(reference):
  return OrdinaryTextTokenizer(list(reference.vocab), TokenizerSettings())


@pytest.mark.parametrize(
  ("line", "expected"),
  [
    (b"Plain text, tabs\tand line feeds\r\n.", True),
    (b"", True),
    ("“Curly” – naïve façade 中文、字".encode(), True),
    ("Привет мир".encode(), True),
    ("ไทย".encode(), True),
    (b"control \x01", False),
    (b"NUL \x00", False),
    ("…".encode(), False),  # three full stops by case folding, one character by lower()
    ("Straße".encode(), False),
    ("ΣΑΣ".encode(), False),
    ("한국어".encode(), False),  # becomes several, which counts against the length of the word
    ("\u302e".encode(), False),
    (b"not UTF-8 \xff", False),
    (b"surrogate \xed\xa0\x80", False),
    (b"overlong \xc0\x80 \xc1\xa1", False),
    (b"too high \xf4\x90\x80\x80", False),
    (b"cut \xe2\x82", False),
    (b"a" * 200 + b" " + b"b" * 200 + b"," + b"c" * 200, True),
    (b"x " + b"a" * 201, False),
    ("й".encode() * 200, True),
    ("й".encode() * 201, False),
  ],
)
def test_recognised_lines(ordinary, line, expected):
  assert ordinary.recognises(tf.constant([line])).numpy().tolist() == [expected]


def test_most_of_unicode_is_agreed_about():
  for do_lower_case, share in ((True, 0.9), (False, 0.99)):
    agreed = agreed_code_points(TokenizerSettings(do_lower_case))
    assert np.all(np.diff(agreed) > 0)
    assert len(agreed) > share * (0x30000 - 0x800 - 0x1900)
    assert not set(agreed.tolist()) & {0, 1, 0xFFFD, 0x7F, *range(0xD800, 0xE000)}


def test_each_agreed_code_point_in_company(reference, ordinary):
  """Here code points stand side by side: that they do not influence each other is the premise."""
  agreed = agreed_code_points(TokenizerSettings())
  mixed = np.random.RandomState(3).permutation(np.concatenate([agreed, agreed]))
  letters = "".join(map(chr, mixed))
  lines = [letters[start : start + 7] for start in range(0, len(letters), 7)][::3]
  assert ordinary.recognises(tf.constant(lines)).numpy().all()
  for line, ids in zip(lines, ordinary.tokenize(tf.constant(lines)).to_list(), strict=True):
    assert ids == reference.convert_tokens_to_ids(reference.tokenize(line)), ascii(line)


def test_word_breaks_end_words():
  """A character in the list that did not end words would let too long ones through."""
  chars = tf.strings.unicode_encode(tf.range(0x10000)[:, None], "UTF-8", errors="replace")
  listed = tf.strings.regex_full_match(chars, f"[{ordinary_text._WORD_BREAKS}]").numpy()
  for do_lower_case in (True, False):
    entries = tables.character_table(TokenizerSettings(do_lower_case)).entries[:0x10000]
    assert np.all(entries[listed] & (tables.SPACE | tables.ISOLATED))
  assert listed.sum() > 27000


def test_character_class():
  assert ordinary_text.character_class(np.array([9, 10, 65])) == r"\x{9}-\x{a}\x{41}-\x{41}"
