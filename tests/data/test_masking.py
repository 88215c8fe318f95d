from __future__ import annotations

import collections
import random

import pytest

from bert_tf.data import masking
from bert_tf.errors import UserError

TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "un", "##aff", "##able", "a", "b", "c"]
VOCABULARY = masking.Vocabulary.of({token: i for i, token in enumerate(TOKENS)})


def ids(text: str) -> list[int]:
  return [TOKENS.index(token) for token in text.split()]


@pytest.mark.parametrize("count", [*range(1, 70), 127, 128, 129, 255, 256, 1000])
def test_draws_are_those_of_random(count):
  """`random` itself gives the reference; the goldens fix it for the versions to come."""
  ours, theirs = random.Random(count), random.Random(count)
  items, expected = list(range(count)), list(range(count))
  masking.shuffle(ours, items)
  theirs.shuffle(expected)
  assert items == expected
  assert [masking.below(ours, count) for _ in range(20)] == [
    theirs.randint(0, count - 1) for _ in range(20)
  ]
  assert ours.getstate() == theirs.getstate()


def test_shuffle_of_nothing_draws_nothing():
  rng = random.Random(0)
  state = rng.getstate()
  masking.shuffle(rng, [])
  masking.shuffle(rng, [1])
  assert rng.getstate() == state


def test_draws_are_those_of_python_3_7():
  # random.Random(12345) under CPython 3.7.16.
  rng = random.Random(12345)
  items = list(range(10))
  masking.shuffle(rng, items)
  assert sorted(items) == list(range(10))
  reference = random.Random(12345)
  reference_items = list(range(10))
  for i in reversed(range(1, 10)):  # Lib/random.py of 3.7
    bits = (i + 1).bit_length()
    j = reference.getrandbits(bits)
    while j >= i + 1:
      j = reference.getrandbits(bits)
    reference_items[i], reference_items[j] = reference_items[j], reference_items[i]
  assert items == reference_items


def test_whole_words_are_masked_together():
  masker = masking.Masker(VOCABULARY, 0.5, 20, whole_word=True)
  sequence = ids("[CLS] un ##aff ##able a [SEP] b c un ##able [SEP]")
  words = [{1, 2, 3}, {4}, {6}, {7}, {8, 9}]
  for seed in range(200):
    masked = masker.mask(sequence, 4, random.Random(seed))
    chosen = set(masked.positions)
    assert 0 < len(chosen) <= masker.num_to_predict(len(sequence)) == 6
    assert all(word <= chosen or not word & chosen for word in words)
    assert masked.labels == [sequence[position] for position in masked.positions]


def test_a_word_over_the_limit_is_skipped():
  masker = masking.Masker(VOCABULARY, 0.15, 20, whole_word=True)
  sequence = ids("[CLS] un ##aff ##able [SEP] a [SEP]")
  for seed in range(20):
    assert masker.mask(sequence, 3, random.Random(seed)).positions == [5]


def test_no_word_fits():
  masker = masking.Masker(VOCABULARY, 0.15, 1, whole_word=True)
  sequence = ids("[CLS] un ##aff [SEP] un ##able [SEP]")
  assert masker.mask(sequence, 2, random.Random(0)) == (sequence, [], [])


def test_at_least_one_prediction():
  assert masking.Masker(VOCABULARY, 0.0, 20).num_to_predict(5) == 1
  assert masking.Masker(VOCABULARY, 0.15, 20).num_to_predict(128) == 19
  assert masking.Masker(VOCABULARY, 0.15, 20).num_to_predict(512) == 20
  # Python 3 rounds halves to even, and so does the original under it.
  assert masking.Masker(VOCABULARY, 0.15, 20).num_to_predict(30) == 4


@pytest.mark.parametrize("sizes", [(10, 10), (3, 40), (40, 3), (21, 20), (1, 1)])
def test_truncation_takes_from_the_longer(sizes):
  for seed in range(20):
    cuts = masking.truncate_pair(*sizes, 12, random.Random(seed))
    left = [size - sum(cut) for size, cut in zip(sizes, cuts, strict=True)]
    assert sum(left) == min(12, sum(sizes)) and min(left) >= 1
    assert all(part >= 0 for cut in cuts for part in cut)
    if sum(sizes) > 12:
      assert left == [min(sizes[0], 12 - min(sizes[1], 6)), min(sizes[1], 12 - min(sizes[0], 6))]


def test_quick_masks_have_the_same_distribution():
  rng = random.Random(1)
  vocabulary = masking.Vocabulary(1000, 1, 2, 3, bytes(1000))
  sequence = [1, *range(100, 120), 2, *range(200, 215), 2]
  counts = {}
  for kind in (masking.Masker, masking.QuickMasker):
    masker = kind(vocabulary, 0.15, 20)
    places, outcomes = collections.Counter(), collections.Counter()
    for _ in range(6000):
      masked = masker.mask(sequence, 20, rng)
      assert len(masked.positions) == 6 and masked.positions == sorted(set(masked.positions))
      assert masked.labels == [sequence[position] for position in masked.positions]
      places.update(masked.positions)
      for position, (found, before) in enumerate(zip(masked.ids, sequence, strict=True)):
        if position in masked.positions:
          outcomes["mask" if found == 3 else "same" if found == before else "other"] += 1
        else:
          assert found == before
    counts[kind] = places, outcomes
  for theirs, ours in zip(*counts.values(), strict=True):
    assert theirs.keys() == ours.keys()
    for key, count in theirs.items():
      assert ours[key] == pytest.approx(count, abs=4.5 * (2 * count) ** 0.5)


def test_quick_masks_of_the_shortest_sequence():
  masker = masking.QuickMasker(VOCABULARY, 1.0, 20)
  assert masker.mask(ids("[CLS] a [SEP] b [SEP]"), 1, random.Random(0)).positions == [1, 3]


def test_vocabulary_without_mask():
  with pytest.raises(UserError, match=r"none of \[MASK\]"):
    masking.Vocabulary.of({"[CLS]": 0, "[SEP]": 1})
