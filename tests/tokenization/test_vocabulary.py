import pytest

from bert_tf.errors import UserError
from bert_tf.tokenization import SPECIAL_TOKENS, load_vocab, write_vocabulary

SPECIAL = "\n".join(SPECIAL_TOKENS) + "\n"


@pytest.fixture
def vocab_file(tmp_path):
  def write(content: str | bytes):
    path = tmp_path / "vocab.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path

  return write


def test_ids_are_line_numbers_and_tokens_are_stripped(vocab_file):
  vocab = load_vocab(vocab_file(SPECIAL.replace("\n", "\r\n") + " a \t\r\nb"))
  assert list(vocab.items()) == [
    *((t, i) for i, t in enumerate(SPECIAL_TOKENS)),
    ("a", 5),
    ("b", 6),
  ]


def test_lines_end_at_line_feeds_alone(vocab_file):
  vocab = load_vocab(vocab_file(SPECIAL + "\u2028\n##\u2028\nx\x85y\nz\n"))
  assert list(vocab)[5:] == ["", "##", "x\x85y", "z"]
  assert vocab["z"] == 8


@pytest.mark.parametrize(
  ("name", "size", "known"),
  [
    ("uncased", 30522, {"[PAD]": 0, "[UNK]": 100, "the": 1996}),
    ("cased", 28996, {"[PAD]": 0, "[UNK]": 100, "the": 1103}),
    ("multilingual-cased", 119547, {"[PAD]": 0, "[UNK]": 100, "the": 10105}),
    ("chinese", 21128, {"[PAD]": 0, "[UNK]": 100, "": 343, "##": 13502}),
  ],
)
def test_released_vocabularies(real_data, name, size, known):
  vocab = load_vocab(real_data / "vocabs" / f"bert-base-{name}-vocab.txt")
  assert len(vocab) == size
  assert list(vocab.values()) == list(range(size))
  assert {token: vocab[token] for token in known} == known


@pytest.mark.parametrize(
  ("content", "message"),
  [
    (b"", "empty"),
    (SPECIAL + "a\nb\na\n", r"'a' on line 6 and again on line 8"),
    (SPECIAL + "a\n\n\n", r"'' on line 7 and again on line 8"),
    (SPECIAL.encode() + b"a\n\xff\xfeb\n", "not UTF-8 on line 7"),
    (SPECIAL.encode("utf-16"), "UTF-16"),
    (b"\xef\xbb\xbf" + SPECIAL.encode(), "byte order mark"),
  ],
)
def test_bad_vocabularies_are_refused(vocab_file, content, message):
  with pytest.raises(UserError, match=message):
    load_vocab(vocab_file(content))


def test_missing_file_and_directory_are_refused(tmp_path):
  with pytest.raises(UserError, match="found nothing at"):
    load_vocab(tmp_path / "vocab.txt")
  with pytest.raises(UserError, match="found the directory"):
    load_vocab(tmp_path)


def test_written_vocabularies_are_read_back(tmp_path):
  tokens = [*SPECIAL_TOKENS, "a", "##b", "字", "x\u2028y"]
  write_vocabulary(tokens, tmp_path / "new" / "vocab.txt")
  assert list(load_vocab(tmp_path / "new" / "vocab.txt")) == tokens


@pytest.mark.parametrize("token", [" a", "a\nb", "a\r"])
def test_tokens_that_would_not_be_read_back_are_not_written(tmp_path, token):
  with pytest.raises(UserError, match="white space"):
    write_vocabulary(["a", token], tmp_path / "vocab.txt")
  assert list(tmp_path.iterdir()) == []
