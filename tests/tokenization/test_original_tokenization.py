"""What the original's own tokenization_test.py asks, through the same calls in our own words."""

import bert_tf.tokenization as tokenization


def test_full_tokenizer(tmp_path):
  pieces = ["[UNK]", "[CLS]", "[SEP]", "want", "##want", "##ed", "wa", "un", "runn", "##ing", ","]
  path = tmp_path / "vocab.txt"
  path.write_text("".join(piece + "\n" for piece in pieces), encoding="utf-8")
  tokenizer = tokenization.FullTokenizer(str(path))
  tokens = tokenizer.tokenize("UNwant\u00e9d,running")
  assert tokens == ["un", "##want", "##ed", ",", "runn", "##ing"]
  assert tokenizer.convert_tokens_to_ids(tokens) == [7, 4, 5, 10, 8, 9]
  assert tokenizer.convert_ids_to_tokens([7, 4, 5, 10, 8, 9]) == tokens


def test_ideographs_are_words():
  tokenizer = tokenization.BasicTokenizer()
  assert tokenizer.tokenize("ah\u535a\u63a8zz") == ["ah", "\u535a", "\u63a8", "zz"]


def test_basic_tokenizer():
  lower = tokenization.BasicTokenizer(do_lower_case=True)
  assert lower.tokenize(" \tHeLLo!how  \n Are yoU?  ") == ["hello", "!", "how", "are", "you", "?"]
  assert lower.tokenize("H\u00e9llo") == ["hello"]
  cased = tokenization.BasicTokenizer(do_lower_case=False)
  assert cased.tokenize(" \tHeLLo!how  \n Are yoU?  ") == ["HeLLo", "!", "how", "Are", "yoU", "?"]


def test_wordpiece_tokenizer():
  pieces = ["[UNK]", "[CLS]", "[SEP]", "want", "##want", "##ed", "wa", "un", "runn", "##ing"]
  vocab = {piece: index for index, piece in enumerate(pieces)}
  tokenizer = tokenization.WordpieceTokenizer(vocab=vocab)
  assert tokenizer.tokenize("") == []
  assert tokenizer.tokenize("unwanted running") == ["un", "##want", "##ed", "runn", "##ing"]
  assert tokenizer.tokenize("unwantedX running") == ["[UNK]", "runn", "##ing"]
  short = tokenization.WordpieceTokenizer(vocab, unk_token="<?>", max_input_chars_per_word=5)
  assert short.tokenize("unwanted want") == ["<?>", "want"]


def test_conversions():
  pieces = ["[UNK]", "[CLS]", "[SEP]", "want", "##want", "##ed", "wa", "un", "runn", "##ing"]
  vocab = {piece: index for index, piece in enumerate(pieces)}
  tokens = ["un", "##want", "##ed", "runn", "##ing"]
  assert tokenization.convert_tokens_to_ids(vocab, tokens) == [7, 4, 5, 8, 9]
  assert tokenization.convert_by_vocab(vocab, tokens) == [7, 4, 5, 8, 9]
  inverse = {index: piece for piece, index in vocab.items()}
  assert tokenization.convert_ids_to_tokens(inverse, [7, 4, 5, 8, 9]) == tokens


def test_kinds_of_characters():
  for char in " \t\r\n\u00a0":
    assert tokenization._is_whitespace(char)
  for char in "A-":
    assert not tokenization._is_whitespace(char)
  assert tokenization._is_control("\u0005")
  for char in "A \t\r\U0001f4a9":
    assert not tokenization._is_control(char)
  for char in "-$`.":
    assert tokenization._is_punctuation(char)
  for char in "A ":
    assert not tokenization._is_punctuation(char)


def test_all_public_names_of_the_original():
  names = [
    "BasicTokenizer", "FullTokenizer", "WordpieceTokenizer", "convert_by_vocab",
    "convert_ids_to_tokens", "convert_to_unicode", "convert_tokens_to_ids", "load_vocab",
    "printable_text", "validate_case_matches_checkpoint", "whitespace_tokenize",
  ]  # fmt: skip
  assert set(names) <= set(tokenization.__all__)
  assert tokenization.whitespace_tokenize("  a b\n") == ["a", "b"]
  assert tokenization.printable_text(b"caf\xc3\xa9") == "café"
