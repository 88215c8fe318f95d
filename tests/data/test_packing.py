"""Several sequences in one row: nothing is lost, and a resumed run sees the same rows."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from bert_tf.data import masking, pipelines, records
from bert_tf.data.dynamic_masking import DynamicMasking
from bert_tf.data.packing import pack_sequences

LENGTH, PREDICTIONS = 32, 6


def batch_of(lengths: list[int], seed: int = 0) -> dict[str, np.ndarray]:
  """Sequences whose every piece is another number, masked at a seventh of their places."""
  random = np.random.default_rng(seed)
  batch = {
    name: np.zeros([len(lengths), LENGTH], np.int32)
    for name in ("input_ids", "input_mask", "segment_ids")
  }
  masked = {
    name: np.zeros([len(lengths), PREDICTIONS], np.int32)
    for name in ("masked_lm_positions", "masked_lm_ids", "masked_lm_weights")
  }
  for row, length in enumerate(lengths):
    batch["input_ids"][row, :length] = 1 + random.permutation(400)[:length]
    batch["input_mask"][row, :length] = 1
    batch["segment_ids"][row, length // 2 : length] = 1
    count = max(1, length // 7)
    positions = np.sort(1 + random.permutation(length - 1)[:count])
    masked["masked_lm_positions"][row, :count] = positions
    masked["masked_lm_ids"][row, :count] = random.integers(1, 400, count)
    masked["masked_lm_weights"][row, :count] = 1
  masked["masked_lm_weights"] = masked["masked_lm_weights"].astype(np.float32)
  labels = random.integers(0, 2, [len(lengths), 1]).astype(np.int32)
  return {**batch, **masked, "next_sentence_labels": labels}


def tensors(batch: dict[str, np.ndarray]) -> dict[str, tf.Tensor]:
  return {name: tf.constant(value) for name, value in batch.items()}


def sequences(batch: dict) -> list[tuple]:
  """What a batch holds, sequence by sequence, in an order of its own."""
  batch = {name: np.asarray(value) for name, value in batch.items()}
  found = []
  for row, mask in enumerate(batch["input_mask"]):
    numbers = batch.get("sequence_ids", batch["input_mask"])[row]
    assert np.array_equal(numbers > 0, mask > 0)
    for number in range(1, numbers.max() + 1):
      [places] = np.nonzero(numbers == number)
      start, end = places[0], places[-1] + 1
      assert len(places) == end - start
      if "position_ids" in batch:
        assert batch["position_ids"][row, start:end].tolist() == list(range(end - start))
        assert batch["cls_positions"][row, number - 1] == start
        assert batch["next_sentence_weights"][row, number - 1] == 1
      positions = batch["masked_lm_positions"][row]
      here = (positions >= start) & (positions < end) & (batch["masked_lm_weights"][row] > 0)
      found.append((
        batch["input_ids"][row, start:end].tolist(),
        batch["segment_ids"][row, start:end].tolist(),
        (positions[here] - start).tolist(),
        batch["masked_lm_ids"][row][here].tolist(),
        int(batch["next_sentence_labels"][row, number - 1]),
      ))  # fmt: skip
  return sorted(found)


@pytest.mark.parametrize("size", [1, 5, 40])
def test_every_sequence_is_there_with_its_masks_and_label(size):
  lengths = np.random.default_rng(size).integers(5, LENGTH + 1, size).tolist()
  batch = batch_of(lengths)
  packed = pack_sequences(tensors(batch))
  assert sequences(packed) == sequences(batch)
  assert len(packed["input_ids"]) <= size
  assert float(tf.reduce_sum(packed["next_sentence_weights"])) == size
  for name in ("masked_lm_weights", "input_mask"):
    assert float(tf.reduce_sum(packed[name])) == batch[name].sum()


def test_the_longest_come_first_into_the_first_row_with_room():
  packed = pack_sequences(tensors(batch_of([8, 20, 12, 24, 10])))
  lengths = [
    [int((row == number).sum()) for number in range(1, row.max() + 1)]
    for row in packed["sequence_ids"].numpy()
  ]
  assert lengths == [[24, 8], [20, 12], [10]]


def test_a_row_takes_no_more_predictions_than_it_has_places_for():
  batch = batch_of([10, 10, 10])
  for row in range(3):
    batch["masked_lm_positions"][row, :4] = [1, 2, 3, 4]
    batch["masked_lm_ids"][row, :4] = 7
    batch["masked_lm_weights"][row, :4] = 1
  packed = pack_sequences(tensors(batch))
  assert len(packed["input_ids"]) == 3
  assert sequences(packed) == sequences(batch)


def test_short_sequences_fill_the_places_of_a_row():
  """A row of 32 pieces has places for four sequences."""
  packed = pack_sequences(tensors(batch_of([5] * 9)))
  assert packed["cls_positions"].shape == [3, 4]
  assert sequences(packed) == sequences(batch_of([5] * 9))


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> list[str]:
  path = str(tmp_path_factory.mktemp("records") / "train.tfrecord")
  batch = batch_of(np.random.default_rng(1).integers(5, LENGTH + 1, 61).tolist())
  with records.RecordWriter(path) as writer:
    for row in range(61):
      writer.write(
        records.encode_example({name: value[row].tolist() for name, value in batch.items()})
      )
  return [path]


def dataset(files, **options) -> tf.data.Dataset:
  masks = options.pop("masks", None)
  pack = options.pop("pack", True)
  options = pipelines.ReadOptions(**{"batch_size": 8, "training": True, "seed": 3, **options})
  spec = records.pretraining(LENGTH, PREDICTIONS)
  return pipelines.pretraining_dataset(files, spec, options, masks, pack)


def vocabulary() -> masking.Vocabulary:
  special = {"[PAD]": 0, "[CLS]": 401, "[SEP]": 402, "[MASK]": 403}
  return masking.Vocabulary.of({**{f"w{i}": i for i in range(1, 401)}, **special})


@pytest.mark.parametrize("dynamic", [False, True])
def test_packed_batches_hold_what_the_others_hold_and_resume(files, dynamic):
  masks = DynamicMasking(vocabulary(), 0.15, PREDICTIONS) if dynamic else None
  plain = list(dataset(files, pack=False, masks=masks).take(20))
  packed = list(dataset(files, masks=masks).take(20))
  rows = [len(batch["input_ids"]) for batch in packed]
  assert sum(rows) < 0.8 * 20 * 8
  for a, b in zip(packed, plain, strict=True):
    assert sequences(a) == sequences(b)
  resumed = list(dataset(files, masks=masks, skip_batches=13).take(7))
  for a, b in zip(resumed, packed[13:], strict=True):
    assert {name: value.numpy().tolist() for name, value in a.items()} == {
      name: value.numpy().tolist() for name, value in b.items()
    }


def test_shapes_but_the_number_of_rows_are_known(files):
  found: dict[int, set[str]] = {}
  for name, spec in dataset(files).element_spec.items():
    found.setdefault(spec.shape[1], set()).add(name)
  assert found == {
    LENGTH: {"input_ids", "input_mask", "segment_ids", "position_ids", "sequence_ids"},
    PREDICTIONS: {"masked_lm_positions", "masked_lm_ids", "masked_lm_weights"},
    4: {"cls_positions", "next_sentence_labels", "next_sentence_weights"},
  }
