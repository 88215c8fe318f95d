from __future__ import annotations

import pytest

from bert_tf.data import checks, records
from bert_tf.errors import UserError

SPEC = records.pretraining(8, 2)
LIMITS = {"vocab_size": 100, "type_vocab_size": 2}


def example(**changes) -> dict[str, list]:
  return {
    "input_ids": [1, 2, 3, 4, 5, 6, 7, 99],
    "input_mask": [1] * 8,
    "segment_ids": [0] * 4 + [1] * 4,
    "masked_lm_positions": [1, 0],
    "masked_lm_ids": [7, 0],
    "masked_lm_weights": [1.0, 0.0],
    "next_sentence_labels": [1],
    **changes,
  }


@pytest.fixture
def write(tmp_path):
  def write(*examples: dict, name: str = "data.tfrecord") -> str:
    path = str(tmp_path / name)
    with records.RecordWriter(path) as writer:
      for features in examples:
        writer.write(records.encode_example(features))
    return path

  return write


def test_sound_records_pass(write):
  path = write(*[example()] * 30, name="data.gz")
  assert checks.check_records([path], SPEC, limits=LIMITS) == 20
  assert checks.check_records([path], SPEC, limits=LIMITS, records_per_file=None) == 30
  assert checks.check_records([path, write(example())], SPEC) == 21


@pytest.mark.parametrize(
  "changes, message",
  [
    ({"input_ids": [1] * 16}, "expected 8 values in input_ids, found 16; pass --max_seq_length=16"),
    (
      {"masked_lm_ids": [1]},
      "expected 2 values in masked_lm_ids, found 1; pass --max_predictions_per_seq=1",
    ),
    ({"next_sentence_labels": []}, "expected 1 values in next_sentence_labels, found 0; create"),
    (
      {"input_ids": [1] * 7 + [100]},
      r"input_ids from 0 to 99 \(vocab_size\), found 100; use the v",
    ),
    ({"masked_lm_ids": [-1, 0]}, "masked_lm_ids from 0 to 99"),
    ({"segment_ids": [2] * 8}, r"segment_ids from 0 to 1 \(type_vocab_size\), found 2"),
    ({"masked_lm_positions": [8, 0]}, "masked_lm_positions from 0 to 7, found 8"),
    ({"masked_lm_weights": [1, 0]}, "expected float values in masked_lm_weights, found int64"),
    ({"input_ids": [1.0] * 8}, "expected int64 values in input_ids, found float"),
  ],
)
def test_bad_record_is_named(write, changes, message):
  path = write(example(), example(**changes))
  with pytest.raises(UserError, match=rf"data\.tfrecord, record 2: expected .*{message[9:]}"):
    checks.check_records([path], SPEC, limits=LIMITS)


def test_missing_feature_lists_what_is_there(write):
  features = example()
  del features["masked_lm_ids"]
  with pytest.raises(UserError, match="expected the feature masked_lm_ids, found input_ids, input"):
    checks.check_records([write(features)], SPEC)


def test_without_limits_ids_are_free(write):
  assert checks.check_records([write(example(input_ids=[10**6] * 8))], SPEC) == 1


def test_no_records(write, tmp_path):
  with pytest.raises(UserError, match=r"found no record in .*data\.tfrecord"):
    checks.check_records([write()], SPEC)
  with pytest.raises(UserError, match="found nothing at '/none'"):
    checks.check_records(["/none"], SPEC)


def test_no_example(tmp_path):
  path = str(tmp_path / "data")
  with records.RecordWriter(path) as writer:
    writer.write(b"\xff\xff")
  with pytest.raises(UserError, match="data, record 1: expected a serialized tf"):
    checks.check_records([path], SPEC)


@pytest.mark.parametrize("damage", ["cut", "flip", "length", "feature"])
def test_errors_of_tensorflow_are_explained(write, damage):
  import tensorflow as tf

  from bert_tf.data import pipelines

  bad = {"length": example(input_ids=[1] * 9), "feature": {"input_ids": [1] * 8}}
  path = write(*[example()] * 40, bad.get(damage, example()))
  with open(path, "rb+") as file:
    size = len(file.read())
    if damage == "cut":
      file.truncate(size - 3)
    elif damage == "flip":
      file.seek(size - 20)
      file.write(b"\xff\xff")
  dataset = pipelines.pretraining_dataset(
    [path], SPEC, pipelines.ReadOptions(batch_size=1, training=False)
  )
  with pytest.raises(tf.errors.OpError):
    for _ in dataset.take(41):
      pass
  error = checks.find_record_error([path], SPEC, LIMITS)
  assert isinstance(error, UserError)
  assert "data.tfrecord, record 41: " in str(error)


def test_sound_records_explain_no_error(write):
  assert checks.find_record_error([write(example())], SPEC) is None


def test_kind_of_pretraining_records(write):
  masked, whole = write(example(), name="masked"), write({"input_ids": [1] * 8}, name="whole")
  empty = write(name="empty")
  unmasked_spec = records.unmasked_pretraining(8)
  assert checks.pretraining_spec([empty, masked], 8, 2, dynamic_masking=False) == SPEC
  assert checks.pretraining_spec([masked], 8, 2, dynamic_masking=True) == SPEC
  assert checks.pretraining_spec([whole], 8, 2, dynamic_masking=True) == unmasked_spec
  with pytest.raises(UserError, match="whole, record 1: expected masked records, found whole seq"):
    checks.pretraining_spec([whole], 8, 2, dynamic_masking=False)
  with pytest.raises(UserError, match="found no record"):
    checks.pretraining_spec([empty], 8, 2, dynamic_masking=True)
