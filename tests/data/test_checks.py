from __future__ import annotations

import pytest

from bert_tf.data import checks, records
from bert_tf.data.quick_check import QuickCheck
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
    ({"input_ids": [1] * 16}, "expected 8 values in input_ids, found 16; pass `max_seq_length=16`"),
    (
      {"masked_lm_ids": [1]},
      "expected 2 values in masked_lm_ids, found 1; pass `max_predictions_per_seq=1`",
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


def test_files_of_both_kinds_are_refused(write):
  """Of masked records read as text, [MASK] would become a label."""
  whole = {"input_ids": [1] * 8, "input_mask": [1] * 8, "segment_ids": [0] * 8}
  whole["next_sentence_labels"] = [0]
  files = [write(whole, name="whole"), write(name="empty"), write(example(), name="masked")]
  for order in (files, files[::-1]):
    with pytest.raises(UserError, match=r"one kind, found masked ones in .*/masked and .*/whole;"):
      checks.pretraining_spec(order, 8, 2, dynamic_masking=True)
  both = write(*[whole] * 30, example(), name="both")
  spec = checks.pretraining_spec([both], 8, 2, dynamic_masking=True)
  with pytest.raises(UserError, match="both, record 31: expected a whole sequence, as in the rec"):
    checks.check_records([both], spec, limits=LIMITS)


@pytest.mark.parametrize(
  ("features", "script"),
  [
    ({"label_ids": [0], "is_real_example": [1]}, "run_classifier.py or run_ner.py"),
    ({"unique_ids": [1000000000]}, "run_squad.py"),
  ],
)
@pytest.mark.parametrize("dynamic_masking", [True, False])
def test_records_of_other_tasks_are_named(write, features, script, dynamic_masking):
  path = write({"input_ids": [1] * 8, **features})
  with pytest.raises(UserError, match=f"record 1: .* as in records of {script}; give records made"):
    checks.pretraining_spec([path], 8, 2, dynamic_masking=dynamic_masking)
  with pytest.raises(UserError, match=f"expected the feature .* as in records of {script}"):
    checks.check_records([path], SPEC)


@pytest.fixture(scope="module")
def thousands() -> list[bytes]:
  """Sound records for a vocabulary of 300."""
  return [
    records.encode_example(example(input_ids=[0, 127, 128, 299, 1, 2, 3, i % 300]))
    for i in range(2100)
  ]


@pytest.mark.parametrize("place", [20, 1043, 1044, 2099])
@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"input_ids": [1] * 7 + [300]}, "input_ids from 0 to 299 .*, found 300; use the vocabulary"),
    ({"input_ids": [-1] + [1] * 7}, "input_ids from 0 to 299 .*, found -1"),
    ({"input_ids": [1] * 7 + [2**40]}, "found 1099511627776"),
    ({"input_ids": [1] * 9}, "expected 8 values in input_ids, found 9"),
    ({"masked_lm_ids": [5, 70000]}, "masked_lm_ids from 0 to 299 .*, found 70000"),
    ({"masked_lm_positions": [8, 1]}, "masked_lm_positions from 0 to 7, found 8"),
    ({"segment_ids": [2] * 8}, "segment_ids from 0 to 1"),
    ({"segment_ids": [1] * 7}, "expected 8 values in segment_ids, found 7"),
    ({"next_sentence_labels": []}, "expected 1 values in next_sentence_labels, found 0"),
    ({"next_sentence_labels": [300]}, "next_sentence_labels from 0 to 1, found 300"),
  ],
)
def test_one_wrong_record_among_thousands_is_found(thousands, tmp_path, place, changes, message):
  wrong = records.encode_example(example(**changes))
  path = tmp_path / "data.tfrecord"
  path.write_bytes(
    b"".join(map(records.frame, [*thousands[:place], wrong, *thousands[place + 1 :]]))
  )
  limits = {**LIMITS, "vocab_size": 300}
  with pytest.raises(UserError, match=rf"data\.tfrecord, record {place + 1}: .*{message}"):
    checks.check_records([str(path)], SPEC, limits=limits)


def test_a_feature_that_is_missing_further_on_is_found(write):
  odd = example()
  del odd["masked_lm_positions"]
  with pytest.raises(UserError, match="record 41: expected the feature masked_lm_positions"):
    checks.check_records([write(*[example()] * 40, odd)], SPEC, limits=LIMITS)


def test_records_laid_out_in_other_ways_pass(tmp_path):
  """Features in any order, texts that look like features: all are tf.Examples."""
  tf = pytest.importorskip("tensorflow")
  features = {
    name: tf.train.Feature(float_list=tf.train.FloatList(value=values))
    if isinstance(values[0], float)
    else tf.train.Feature(int64_list=tf.train.Int64List(value=values))
    for name, values in reversed(example().items())
  }
  note = b"\n\tinput_ids\x12\x03\x1a\x01\n"
  features["note"] = tf.train.Feature(bytes_list=tf.train.BytesList(value=[note]))
  data = tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()
  with records.RecordWriter(tmp_path / "data") as writer:
    for _ in range(30):
      writer.write(data)
  assert checks.check_records([str(tmp_path / "data")], SPEC, limits=LIMITS) == 20
  quick = QuickCheck(SPEC, LIMITS)
  assert quick.suspects([records.encode_example(example())]) == []
  # What is not plainly sound is decoded.
  assert quick.suspects([data]) == [0]
