import pytest

from bert_tf.tokenization import WordpieceTokenizer

VOCAB = ["[UNK]", "[CLS]", "[SEP]", "want", "##want", "##ed", "wa", "un", "runn", "##ing", "##a"]


@pytest.fixture
def tokenizer():
  return WordpieceTokenizer({token: index for index, token in enumerate(VOCAB)})


@pytest.mark.parametrize(
  ("text", "pieces"),
  [
    ("", ""),
    ("unwanted running", "un ##want ##ed runn ##ing"),
    ("unwantedX running", "[UNK] runn ##ing"),
    ("wan", "[UNK]"),  # the greedy choice is never taken back
    ("##want", "##want"),  # a word that is spelled like a suffix piece
    ("[CLS]", "[CLS]"),
  ],
)
def test_longest_match_first(tokenizer, text, pieces):
  assert tokenizer.tokenize(text) == pieces.split()


def test_words_of_more_than_200_characters_are_unknown(tokenizer):
  assert tokenizer.tokenize("wa" + "a" * 198) == ["wa"] + ["##a"] * 198
  assert tokenizer.tokenize("wa" + "a" * 199) == ["[UNK]"]
  assert WordpieceTokenizer(tokenizer.vocab, max_input_chars_per_word=3).tokenize("want") == [
    "[UNK]"
  ]


def test_an_empty_vocabulary_knows_no_word():
  assert WordpieceTokenizer({}, unk_token="?").tokenize("a b") == ["?", "?"]
