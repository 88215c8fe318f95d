from __future__ import annotations

import gzip
import random

import pytest

from bert_tf.data import documents, shards
from bert_tf.errors import UserError


def encode(line: str) -> list[int]:
  return [int(word) for word in line.split()]


def corpus(seed: int, num_documents: int, max_sentences: int = 12) -> tuple[bytes, list]:
  """Numbered sentences, so that what is lost, repeated or cut apart shows."""
  rng = random.Random(seed)
  number = 0
  result = []
  for _ in range(num_documents):
    document = []
    for _ in range(rng.randint(1, max_sentences)):
      document.append([number] * rng.randint(1, 30))
      number += 1
    result.append(document)
  text = "\n".join(
    "".join(" ".join(map(str, sentence)) + "\n" for sentence in document)
    + "\n" * rng.choice([0, 0, 1, 3])
    for document in result
  )
  return text.encode(), result


def read(plan: list[shards.Shard], block_bytes: int) -> list[list]:
  return [
    document.sentences()
    for shard in plan
    for block in shards.read_blocks(shard, encode, block_bytes)
    for document in block.documents
  ]


@pytest.mark.parametrize("shard_bytes", [4000, 8000, 33333, 10**7])
@pytest.mark.parametrize("seed", range(4))
def test_shards_hold_every_document_once(tmp_path, seed, shard_bytes):
  text, expected = corpus(seed, 400)
  path = tmp_path / "text"
  path.write_bytes(text)
  plan = shards.plan_shards([str(path)], shard_bytes)
  assert len(plan) == pytest.approx(len(text) / shard_bytes, abs=1)
  assert sum(map(shards.text_bytes, plan)) == len(text)
  assert read(plan, 10**9) == expected


def test_blocks_are_bounded_and_whole(tmp_path):
  text, expected = corpus(5, 400)
  path = tmp_path / "text"
  path.write_bytes(text)
  blocks = list(shards.read_blocks([shards.Piece(str(path), 0, len(text))], encode, 3000))
  assert [document.sentences() for block in blocks for document in block.documents] == expected
  assert sum(block.num_bytes for block in blocks) == len(text)
  assert all(block.num_bytes < 6000 for block in blocks) and len(blocks) > 10


@pytest.mark.parametrize("seed", range(4))
def test_text_without_blank_lines_is_cut_between_sentences(tmp_path, seed):
  text, expected = corpus(seed, 300)
  path = tmp_path / "text"
  path.write_bytes(text.replace(b"\n\n", b"\n").replace(b"\n\n", b"\n"))
  plan = shards.plan_shards([str(path)], 4000)
  assert len(plan) > 10
  blocks = [block for shard in plan for block in shards.read_blocks(shard, encode, 1000)]
  assert max(block.num_bytes for block in blocks) < 4000
  found = [
    sentence
    for block in blocks
    for document in block.documents
    for sentence in document.sentences()
  ]
  assert found == [sentence for document in expected for sentence in document]


def test_very_long_lines(tmp_path):
  path = tmp_path / "text"
  lines = [b"1 " * 5000, b"2 " * 10, b"", b"3 " * 7000, b"", b"4 " * 3]
  path.write_bytes(b"\n".join(lines))
  found = read(shards.plan_shards([str(path)], 2000), 2000)
  assert [sentence[0] for document in found for sentence in document] == [1, 2, 3, 4]


def test_small_files_share_a_shard(tmp_path):
  expected, paths = [], []
  for i in range(50):
    text, found = corpus(i, 3)
    paths.append(str(tmp_path / f"{i:02d}.txt"))
    (tmp_path / f"{i:02d}.txt").write_bytes(text)
    expected += found
  plan = shards.plan_shards(paths, 10000)
  assert 2 < len(plan) < 10
  assert all(shards.text_bytes(shard) > 2500 for shard in plan)
  assert read(plan, 10**9) == expected


def test_compressed_files_are_read_whole(tmp_path):
  text, expected = corpus(1, 200)
  path = tmp_path / "text.gz"
  path.write_bytes(gzip.compress(text))
  plan = shards.plan_shards([str(path)], 1000)
  assert len(plan) == 1
  assert read(plan, 2000) == expected


def test_same_documents_as_the_plain_reader(golden):
  path = str(golden / "corpus.txt")

  def spell(line):
    return list(line.encode())

  plan = shards.plan_shards([path], 4000)
  blocks = [block for shard in plan for block in shards.read_blocks(shard, spell, 10**9)]
  assert [document.sentences() for block in blocks for document in block.documents] == [
    document.sentences() for document in documents.read_documents([path], spell)
  ]


def test_empty_files_give_no_shard(tmp_path):
  for name in ("a", "b.gz"):
    (tmp_path / name).touch()
  assert shards.plan_shards([str(tmp_path / "a"), str(tmp_path / "b.gz")], 1000) == []


def test_bad_bytes_are_named_by_line(tmp_path):
  path = tmp_path / "text"
  path.write_bytes(b"1 2 3\n\n" * 1000 + b"4 \xe9\n")
  plan = shards.plan_shards([str(path)], 2000)
  with pytest.raises(UserError, match=r"text, line 2001: expected UTF-8 text, found byte 0xe9"):
    read(plan, 1000)


def test_bad_gzip_is_named(tmp_path):
  path = tmp_path / "text.gz"
  path.write_bytes(b"1 2 3\n" * 100)
  with pytest.raises(UserError, match=r"text\.gz: expected gzip data"):
    read(shards.plan_shards([str(path)], 2000), 1000)
  with pytest.raises(UserError, match=r"cannot read .*none"):
    read([[shards.Piece("none", 0, 5)]], 1000)
