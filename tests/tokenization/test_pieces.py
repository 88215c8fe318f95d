import pytest
import tensorflow as tf

from bert_tf.tokenization import WordpieceTokenizer
from bert_tf.tokenization.pieces import CompatiblePieces, FastPieces, matchable_tokens

# Entries that no word holds, some of which the libraries refuse or misread, and prefixes of each
# other.
TOKENS = [
  "[PAD]",
  "[UNK]",
  "[CLS]",
  "a",
  "##a",
  "b",
  "##b",
  "ab",
  "##ab",
  "abb",
  "##abb",
  "é",
  "##é",
]
TOKENS += ["###", "####", "#", "-", "##-", "e-mail", "##.com", ".", "don't", "中", "##中", "中文"]
TOKENS += ["", "##", "a b", "a\tb", "\x01x", "##" + "ab" * 60, "ba" * 90]
MATCHABLE = {"[UNK]", "a", "##a", "b", "##b", "ab", "##ab", "abb", "##abb", "é", "##é"}
MATCHABLE |= {"#", "-", ".", "中", "##" + "ab" * 60, "ba" * 90}


@pytest.mark.parametrize("pieces", [FastPieces, CompatiblePieces])
def test_equal_to_the_python_matcher(pieces):
  reference = WordpieceTokenizer({token: index for index, token in enumerate(TOKENS)})
  words = ["a", "ab", "abbab", "abc", "c", "é", "aéb", "中", "-", "#", ".", "[UNK]", "b" * 200]
  words += ["ba" * 90, "ba" * 90 + "ab" * 10, "ab" * 61, "é" * 200, "aé" * 100]
  matches = pieces(matchable_tokens(TOKENS)).match(tf.constant(words))
  ids = tf.RaggedTensor.from_row_splits(matches.ids, matches.splits).to_list()
  assert [[TOKENS[i] for i in row] for row in ids] == [reference.tokenize(word) for word in words]
  assert matches.ids.dtype == tf.int32


def test_what_no_word_can_hold_is_replaced():
  replaced = matchable_tokens(TOKENS)
  assert len(set(replaced)) == len(TOKENS)
  kept = {token for token, new in zip(TOKENS, replaced, strict=True) if token == new}
  assert kept == MATCHABLE
