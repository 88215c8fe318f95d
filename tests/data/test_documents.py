from __future__ import annotations

import gzip
import itertools
import json
import os

import pytest

from bert_tf.data import documents
from bert_tf.errors import UserError
from bert_tf.tokenization import FullTokenizer


def spell(line: str) -> list[int]:
  return [ord(char) for char in line if char.isalpha()]


def read(paths: list[str]) -> list[list[list[int]]]:
  return [document.sentences() for document in documents.read_documents(paths, spell)]


@pytest.fixture
def write(tmp_path):
  def write(name: str, content: bytes) -> str:
    (tmp_path / name).write_bytes(content)
    return str(tmp_path / name)

  return write


def test_documents_are_apart_by_blank_lines(write):
  path = write("text", b"\n\nab\n c \n\n \t \nd\n1\n\ne")
  assert read([path]) == [[[97, 98], [99]], [[100]], [[101]]]


def test_a_document_runs_on_in_the_next_file(write):
  paths = [write("1", b"a\n\nb\n"), write("2", b"c\n\nd")]
  assert read(paths) == [[[97]], [[98], [99]], [[100]]]


def test_lines_end_at_line_feeds_alone(write):
  path = write("text", "a\u2028b\x0bc\r\n\x1cd\x85\n".encode())
  assert list(documents.read_lines(path)) == ["a\u2028b\x0bc", "d"]


def test_progress_counts_all_bytes(write):
  path = write("text", b"word\n" * 5000)
  packed = write("text.gz", gzip.compress(b"word\n" * 5000))
  for paths in ([path], [packed], [path, packed]):
    seen = []
    documents.read_documents(paths, spell, seen.append)
    assert sum(seen) == sum(map(os.path.getsize, paths))


@pytest.mark.parametrize(
  "name, content, message",
  [
    ("a.txt", b"good\n\xff\xfeb\x00a\x00d\x00\n", "a.txt, line 2: expected UTF-8 text, found byte"),
    ("a.txt.gz", b"not compressed\n", r"a\.txt\.gz, after line 0: expected gzip"),
    ("b.txt.gz", gzip.compress(b"x\n" * 10**6)[:-20], r"b\.txt\.gz, after line \d+: expected gzip"),
    ("a.txt", b"\n\n", "found no text"),
  ],
)
def test_bad_text_is_named(write, name, content, message):
  with pytest.raises(UserError, match=message):
    documents.read_documents([write(name, content)], spell)


def test_missing_file(tmp_path):
  with pytest.raises(UserError, match=r"cannot read .*none"):
    documents.read_documents([str(tmp_path / "none")], spell)


@pytest.mark.parametrize("cased", [False, True])
def test_encoder_gives_the_ids_of_the_tokenizer(golden, cased):
  tokenizer = FullTokenizer(
    golden / ("vocab_cased.txt" if cased else "vocab.txt"), do_lower_case=not cased
  )
  encode = documents.sentence_encoder(tokenizer)
  lines = json.loads((golden / "tokenization_lines.json").read_text())
  lines += (golden / "corpus.txt").read_text(encoding="utf-8").split("\n")
  lines += [chr(code) for code in range(0x2100)]
  lines += [f"Ab{chr(code)}C,d" for code in range(0x2100)]
  for line in lines * 2:
    assert encode(line) == tokenizer.convert_tokens_to_ids(tokenizer.tokenize(line))


@pytest.mark.parametrize("cased", [False, True])
def test_encoder_on_real_text(real_data, cased):
  name = "bert-base-multilingual-cased" if cased else "bert-base-uncased"
  vocab_file = real_data / "vocabs" / f"{name}-vocab.txt"
  tokenizer = FullTokenizer(vocab_file, do_lower_case=not cased)
  encode = documents.sentence_encoder(tokenizer)
  lines = json.loads((real_data / "parity" / "lines.json").read_text(encoding="utf-8"))
  with open(real_data / "gutenberg" / "gutenberg_en_sentences.txt", encoding="utf-8") as file:
    lines += itertools.islice(file, 5000)
  for line in lines:
    assert encode(line) == tokenizer.convert_tokens_to_ids(tokenizer.tokenize(line))
