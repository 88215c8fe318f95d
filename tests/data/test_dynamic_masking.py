from __future__ import annotations

import collections
import random

import numpy as np
import pytest
import tensorflow as tf

from bert_tf.data import masking, pipelines, records
from bert_tf.data.dynamic_masking import DynamicMasking, first_positions, unmask
from bert_tf.data.instance_encoding import PretrainingEncoder

LENGTH = 48
# Ids from 100 on are words, those from 300 on continue one.
VOCABULARY = masking.Vocabulary(400, cls=2, sep=3, mask=4, is_suffix=bytes(300) + b"\1" * 100)


def sequences(count: int, seed: int = 0) -> list[tuple[list[int], int]]:
  """Whole sequences and how many pieces their first segment has."""
  rng = random.Random(seed)
  result = []
  for _ in range(count):
    size = rng.randint(2, LENGTH - 3)
    num_a = rng.randint(1, size - 1)
    pieces = [
      rng.choice([rng.randint(100, 299)] * 2 + [rng.randint(300, 399)]) for _ in range(size)
    ]
    result.append(([2, *pieces[:num_a], 3, *pieces[num_a:], 3], num_a))
  return result


def batch_of(examples: list[tuple[list[int], int]]) -> dict[str, tf.Tensor]:
  rows = {"input_ids": [], "input_mask": [], "segment_ids": []}
  for ids, num_a in examples:
    pad = [0] * (LENGTH - len(ids))
    rows["input_ids"].append(ids + pad)
    rows["input_mask"].append([1] * len(ids) + pad)
    rows["segment_ids"].append([0] * (num_a + 2) + [1] * (len(ids) - num_a - 2) + pad)
  batch = {name: tf.constant(values, tf.int32) for name, values in rows.items()}
  return {**batch, "next_sentence_labels": tf.zeros([len(examples), 1], tf.int32)}


def apply(dynamic: DynamicMasking, batch, number: int = 0) -> dict[str, np.ndarray]:
  function = tf.function(dynamic)
  return {k: v.numpy() for k, v in function(tf.constant([7, number], tf.int64), batch).items()}


@pytest.mark.parametrize("whole_word", [False, True])
@pytest.mark.parametrize("max_ngram", [1, 3])
def test_a_batch_is_masked_as_the_paper_says(whole_word, max_ngram):
  examples = sequences(2000)
  batch = batch_of(examples)
  dynamic = DynamicMasking(VOCABULARY, 0.15, 6, whole_word, max_ngram)
  masked = apply(dynamic, batch)
  ids = batch["input_ids"].numpy()
  replaced = collections.Counter()
  for row, (sequence, _) in enumerate(examples):
    count = int(masked["masked_lm_weights"][row].sum())
    limit = min(6, max(1, round(len(sequence) * 0.15)))
    assert count <= limit if whole_word or max_ngram > 1 else count == limit
    assert masked["masked_lm_weights"][row].tolist() == [1.0] * count + [0.0] * (6 - count)
    positions = masked["masked_lm_positions"][row]
    assert sorted(set(positions[:count])) == positions[:count].tolist()
    assert not positions[count:].any() and not masked["masked_lm_ids"][row, count:].any()
    assert (ids[row, positions[:count]] >= 100).all(), "special pieces are never predicted"
    np.testing.assert_array_equal(masked["masked_lm_ids"][row, :count], ids[row, positions[:count]])
    others = np.delete(np.arange(LENGTH), positions[:count])
    np.testing.assert_array_equal(masked["input_ids"][row, others], ids[row, others])
    for position in positions[:count]:
      found = masked["input_ids"][row, position]
      replaced["mask" if found == 4 else "same" if found == ids[row, position] else "other"] += 1
  total = sum(replaced.values())
  assert total > 5000
  assert replaced["mask"] / total == pytest.approx(0.8, abs=0.025)  # 4 deviations
  assert replaced["same"] / total == pytest.approx(0.1, abs=0.018)
  np.testing.assert_array_equal(masked["next_sentence_labels"], batch["next_sentence_labels"])


def words_of(sequence: list[int]) -> list[list[int]]:
  words = []
  for position, piece in enumerate(sequence):
    if piece < 100:
      continue
    if piece >= 300 and words and words[-1][-1] == position - 1:
      words[-1].append(position)
    else:
      words.append([position])
  return words


@pytest.mark.parametrize("max_ngram", [1, 3])
def test_whole_words_only(max_ngram):
  examples = sequences(500, seed=1)
  masked = apply(DynamicMasking(VOCABULARY, 0.3, 20, True, max_ngram), batch_of(examples))
  for row, (sequence, _) in enumerate(examples):
    chosen = set(masked["masked_lm_positions"][row][masked["masked_lm_weights"][row] > 0])
    for word in words_of(sequence):
      assert set(word) <= chosen or not set(word) & chosen


def test_as_many_whole_words_as_the_reference_takes():
  """The number of predictions is distributed as with the draws of the original."""
  examples = sequences(3000, seed=2)
  masked = apply(DynamicMasking(VOCABULARY, 0.15, 20, whole_word=True), batch_of(examples))
  ours = masked["masked_lm_weights"].sum(axis=1).mean()
  masker = masking.Masker(VOCABULARY, 0.15, 20, whole_word=True)
  rng = random.Random(0)
  theirs = np.mean([len(masker.mask(ids, num_a, rng).positions) for ids, num_a in examples])
  assert ours == pytest.approx(theirs, rel=0.01)


def test_every_place_is_as_likely():
  example = sequences(1, seed=3)[0]
  masked = apply(DynamicMasking(VOCABULARY, 0.15, 20), batch_of([example] * 20000))
  chosen = np.bincount(
    masked["masked_lm_positions"][masked["masked_lm_weights"] > 0], minlength=LENGTH
  )
  places = [i for i, piece in enumerate(example[0]) if piece >= 100]
  mean = chosen[places].mean()
  assert chosen.sum() == chosen[places].sum()
  np.testing.assert_allclose(chosen[places], mean, atol=5 * mean**0.5)


def test_runs_of_words_have_the_lengths_of_albert():
  ids = [2, *[100 + i for i in range(40)], 3, 100, 3]
  batch = batch_of([(ids, 40)] * 4000)
  dynamic = DynamicMasking(VOCABULARY, 0.01, 20, max_ngram=3)
  units = dynamic._units(
    batch["input_ids"],
    batch["input_ids"] >= 100,
    batch["segment_ids"],
    tf.constant([1, 2], tf.int64),
  ).numpy()
  # The runs that begin at the tenth word have no reason to be cut short.
  lengths = collections.Counter()
  for row in units[:, 1:41]:
    if row[9] != row[8]:
      lengths[int((row == row[9]).sum())] += 1
  total = sum(lengths.values())
  for length, share in {1: 6 / 11, 2: 3 / 11, 3: 2 / 11}.items():
    assert lengths[length] / total == pytest.approx(share, abs=0.04)
  assert (units[:, 40] != units[:, 42]).all(), "a run must not span both segments"


def test_masks_depend_on_seed_and_batch_alone():
  batch = batch_of(sequences(8))
  dynamic = DynamicMasking(VOCABULARY, 0.15, 20, whole_word=True)
  first, again, other = (apply(dynamic, batch, number) for number in (0, 0, 1))
  np.testing.assert_array_equal(first["input_ids"], again["input_ids"])
  assert (first["masked_lm_positions"] != other["masked_lm_positions"]).any()


def test_masked_records_are_masked_anew():
  examples = sequences(100)
  batch = batch_of(examples)
  masked = DynamicMasking(VOCABULARY, 0.15, 20)(tf.constant([1, 1], tf.int64), batch)
  np.testing.assert_array_equal(unmask(masked), batch["input_ids"])
  np.testing.assert_array_equal(unmask(batch), batch["input_ids"])


def test_first_positions():
  chosen = tf.constant([[False, True, False, True], [False] * 4, [True] * 4])
  positions, weights = first_positions(chosen, 3)
  assert positions.numpy().tolist() == [[1, 3, 0], [0, 0, 0], [0, 1, 2]]
  assert weights.numpy().tolist() == [[1, 1, 0], [0, 0, 0], [1, 1, 1]]
  positions, weights = first_positions(chosen, 6)
  assert positions.numpy().tolist()[0] == [1, 3, 0, 0, 0, 0]
  assert weights.shape == [3, 6]


@pytest.mark.parametrize("masked", [False, True])
def test_pipeline_resumes_with_the_same_masks(tmp_path, masked):
  path = str(tmp_path / "data")
  encoder = PretrainingEncoder(LENGTH, 8, VOCABULARY.size)
  masker = masking.Masker(VOCABULARY, 0.15, 8)
  rng = random.Random(0)
  with records.RecordWriter(path) as writer:
    for ids, num_a in sequences(50):
      if masked:
        drawn = masker.mask(ids, num_a, rng)
        record = encoder.encode(drawn.ids, num_a, drawn.positions, drawn.labels, False)
      else:
        record = encoder.encode_unmasked(ids, num_a, False)
      writer.write(record)
  spec = records.pretraining(LENGTH, 8) if masked else records.unmasked_pretraining(LENGTH)
  dynamic = DynamicMasking(VOCABULARY, 0.15, 8, whole_word=True)

  def dataset(skip: int) -> tf.data.Dataset:
    options = pipelines.ReadOptions(batch_size=4, training=True, seed=1, skip_batches=skip)
    return pipelines.pretraining_dataset([path], spec, options, dynamic)

  assert set(dataset(0).element_spec) == set(records.pretraining(LENGTH, 8))
  whole = list(dataset(0).take(30))
  for skip in (1, 20):
    for expected, found in zip(whole[skip:], dataset(skip).take(30 - skip), strict=True):
      for name in expected:
        np.testing.assert_array_equal(expected[name], found[name])
