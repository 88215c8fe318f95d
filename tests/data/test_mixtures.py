"""Corpora with weights: exact shares, an order that is a function of seed and place."""

from __future__ import annotations

import collections

import pytest
from test_pipelines import SPEC, ids, pretraining_example

from bert_tf import UserError
from bert_tf.data import pipelines, records
from bert_tf.data.corpora import Corpus, block_counts, corpora_of
from bert_tf.data.pipelines import ReadOptions

WEIGHTS = (3, 1, 0.5)


@pytest.fixture(scope="module")
def corpora(tmp_path_factory) -> list[Corpus]:
  """Of 5, 40 and 20 records; the first numbers of their ids are 100, 200 and 300 on."""
  directory = tmp_path_factory.mktemp("mixture")
  found = []
  for number, (count, weight) in enumerate(zip((5, 40, 20), WEIGHTS, strict=True), 1):
    paths = [str(directory / f"{number}-{part}.tfrecord") for part in range(2)]
    for part, path in enumerate(paths):
      with records.RecordWriter(path) as writer:
        for i in range(part, count, 2):
          writer.write(records.encode_example(pretraining_example(100 * number + i)))
    found.append(Corpus(paths, weight))
  return found


def read(corpora, count, **options) -> list[int]:
  files = [path for corpus in corpora for path in corpus.files]
  options = ReadOptions(**{"batch_size": 10, "training": True, "seed": 1, **options})
  return ids(pipelines.pretraining_dataset(files, SPEC, options, corpora=corpora), count)


def test_shares_are_those_of_the_weights(corpora):
  found = read(corpora, 200)
  counts = collections.Counter(number // 100 for number in found)
  expected = dict(enumerate(block_counts(WEIGHTS), 1))
  assert counts == {corpus: 2 * count for corpus, count in expected.items()}
  # Every corpus is read evenly: of each epoch of it, every record once.
  first = [number for number in found if number < 200]
  assert all(sorted(first[i : i + 5]) == [100, 101, 102, 103, 104] for i in range(0, 1000, 5))
  # Not one after the other.
  assert len({number // 100 for number in found[:100]}) == 3


def test_the_order_is_of_the_seed_and_a_run_goes_on_where_it_was(corpora):
  whole = read(corpora, 130)
  assert read(corpora, 130) == whole
  assert read(corpora, 130, seed=2) != whole
  for skip in (1, 99, 100, 117):
    assert read(corpora, 130 - skip, skip_batches=skip) == whole[10 * skip :]


def test_workers_read_different_records_in_the_same_shares(corpora):
  parts = [read(corpora, 100, num_shards=2, shard_index=i) for i in range(2)]
  for part in parts:
    counts = collections.Counter(number // 100 for number in part)
    assert [counts[i] for i in (1, 2, 3)] == block_counts(WEIGHTS)
  # An epoch of a corpus is shared out: 20 of its 40 records to each.
  epochs = [[number for number in part if number // 100 == 2][:20] for part in parts]
  assert sorted(epochs[0] + epochs[1]) == list(range(200, 240))


def test_evaluation_reads_the_files_in_order(corpora):
  assert read(corpora, 2, training=False)[:5] == [100, 102, 104, 101, 103]


@pytest.mark.parametrize(
  ("weights", "message"),
  [
    (["1"], "a weight for each of the 2 part"),
    (["1", "x"], "positive numbers, found 'x'"),
    (["1", "-1"], "positive numbers, found '-1'"),
    (["1", "nan"], "positive numbers, found 'nan'"),
    (["1", "5000"], "within 1000 times of each other"),
  ],
)
def test_weights_that_cannot_be(corpora, weights, message):
  patterns = ",".join(corpus.files[0] for corpus in corpora[:2])
  with pytest.raises(UserError, match=message):
    corpora_of(patterns, weights)


def test_globs_are_corpora(corpora):
  pattern = corpora[0].files[0].replace("-0.", "-*.")
  [first, second] = corpora_of(f"{pattern}, {corpora[1].files[0]}", ["1", "2.5"])
  assert first == Corpus(corpora[0].files, 1) and second == Corpus([corpora[1].files[0]], 2.5)
