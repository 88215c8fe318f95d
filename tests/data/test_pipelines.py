from __future__ import annotations

import itertools

import numpy as np
import pytest
import tensorflow as tf

from bert_tf.data import pipelines, records
from bert_tf.data.pipelines import LengthBuckets, ReadOptions
from bert_tf.errors import UserError

LENGTH = 16
SPEC = records.pretraining(LENGTH, 4)


def pretraining_example(number: int) -> dict[str, list]:
  return {
    "input_ids": [number] * LENGTH,
    "input_mask": [1] * LENGTH,
    "segment_ids": [0] * LENGTH,
    "masked_lm_positions": [1, 2, 0, 0],
    "masked_lm_ids": [number, 5, 0, 0],
    "masked_lm_weights": [1.0, 1.0, 0.0, 0.0],
    "next_sentence_labels": [number % 2],
  }


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> list[str]:
  """53 records numbered from 0 in five files, one of them compressed."""
  directory = tmp_path_factory.mktemp("records")
  numbers = iter(range(53))
  paths = []
  for file_number, size in enumerate([10, 7, 20, 1, 15]):
    suffix = ".gz" if file_number == 2 else ""
    paths.append(str(directory / f"{file_number}.tfrecord{suffix}"))
    with records.RecordWriter(paths[-1]) as writer:
      for number in itertools.islice(numbers, size):
        writer.write(records.encode_example(pretraining_example(number)))
  return paths


def ids(dataset: tf.data.Dataset, count: int) -> list[int]:
  return [int(i) for batch in dataset.take(count) for i in batch["input_ids"][:, 0]]


def train(files, **options) -> tf.data.Dataset:
  options = ReadOptions(**{"batch_size": 4, "training": True, "seed": 1, **options})
  return pipelines.pretraining_dataset(files, SPEC, options)


def test_shapes_and_types(files):
  batch = next(iter(train(files)))
  assert {name: (value.shape.as_list(), value.dtype.name) for name, value in batch.items()} == {
    "input_ids": ([4, 16], "int32"),
    "input_mask": ([4, 16], "int32"),
    "segment_ids": ([4, 16], "int32"),
    "masked_lm_positions": ([4, 4], "int32"),
    "masked_lm_ids": ([4, 4], "int32"),
    "masked_lm_weights": ([4, 4], "float32"),
    "next_sentence_labels": ([4, 1], "int32"),
  }
  assert train(files).element_spec["input_ids"].shape.as_list() == [4, 16]


def test_every_epoch_holds_every_record_in_another_order(files):
  order = ids(train(files), 53)
  epochs = [order[i : i + 53] for i in range(0, 4 * 53, 53)]
  assert all(sorted(epoch) == list(range(53)) for epoch in epochs)
  assert len({tuple(epoch) for epoch in epochs}) == 4
  assert epochs[0] != list(range(53))


def test_order_depends_on_the_seed_alone(files):
  assert ids(train(files), 30) == ids(train(files), 30)
  assert ids(train(files), 30) != ids(train(files, seed=2), 30)


@pytest.mark.parametrize("skip", [1, 12, 13, 14, 40])
def test_resuming_gives_the_same_batches(files, skip):
  whole = list(train(files).take(50))[skip:]
  resumed = list(train(files, skip_batches=skip).take(50 - skip))
  for expected, found in zip(whole, resumed, strict=True):
    for name in SPEC:
      np.testing.assert_array_equal(expected[name], found[name])


def test_shards_share_whole_files_that_are_alike(tmp_path):
  files, seen = files_of(tmp_path, [10] * 6), []
  for shard in range(3):
    options = ReadOptions(4, training=True, num_shards=3, shard_index=shard)
    dataset = pipelines.example_dataset(files, records.classification(4), options)
    # Always the same examples, epoch after epoch.
    seen.append({int(label) for batch in dataset.take(15) for label in batch["label_ids"]})
  assert sorted(itertools.chain(*seen)) == list(range(60))


def test_shards_share_the_records_of_an_epoch_otherwise(files):
  options = {"num_shards": 2, "batch_size": 1}
  first, second = (ids(train(files, **options, shard_index=i), 54) for i in range(2))
  # Two epochs: 27 and 26 records in each.
  assert sorted(first[:27] + second[:26]) == list(range(53))
  assert sorted(first[27:] + second[26:52]) == list(range(53))


def test_a_shard_resumes(files):
  options = {"num_shards": 2, "shard_index": 1}
  assert ids(train(files, **options), 30)[80:] == ids(train(files, **options, skip_batches=20), 10)


def test_evaluation_reads_in_order_and_repeats(files):
  dataset = train(files, training=False)
  assert ids(dataset, 27) == [i % 53 for i in range(27 * 4)]
  skipped = train(files, training=False, skip_batches=20)
  assert ids(skipped, 7) == [i % 53 for i in range(80, 108)]


def test_count_records(files):
  assert [pipelines.count_records(path) for path in files] == [10, 7, 20, 1, 15]


CLASS_SPEC = records.classification(LENGTH)


def classification_arrays(count: int) -> dict[str, np.ndarray]:
  lengths = np.random.default_rng(0).integers(2, LENGTH + 1, count)
  mask = (np.arange(LENGTH) < lengths[:, None]).astype(np.int32)
  return {
    "input_ids": np.arange(count)[:, None] * mask,
    "input_mask": mask,
    "segment_ids": np.zeros([count, LENGTH], np.int32),
    "label_ids": np.arange(count),
    "is_real_example": np.ones([count], np.int32),
  }


@pytest.fixture(scope="module")
def class_file(tmp_path_factory) -> str:
  path = str(tmp_path_factory.mktemp("records") / "train.tf_record")
  arrays = classification_arrays(70)
  with records.RecordWriter(path) as writer:
    for i in range(70):
      example = {name: np.atleast_1d(array[i]).tolist() for name, array in arrays.items()}
      writer.write(records.encode_example(example))
  return path


@pytest.fixture(params=["file", "arrays"])
def source(request, class_file):
  return class_file if request.param == "file" else classification_arrays(70)


def labels(dataset: tf.data.Dataset) -> list[int]:
  return [int(label) for batch in dataset for label in batch["label_ids"]]


def test_evaluation_comes_once_in_order(source):
  options = ReadOptions(batch_size=8, training=False)
  dataset = pipelines.example_dataset(source, CLASS_SPEC, options)
  assert labels(dataset) == list(range(70))
  assert dataset.element_spec["label_ids"].dtype == tf.int32
  options = ReadOptions(batch_size=8, training=False, drop_remainder=True)
  assert labels(pipelines.example_dataset(source, CLASS_SPEC, options)) == list(range(64))
  shards = [
    labels(
      pipelines.example_dataset(
        source, CLASS_SPEC, ReadOptions(8, False, num_shards=3, shard_index=i)
      )
    )
    for i in range(3)
  ]
  assert shards == [list(range(i, 70, 3)) for i in range(3)]


@pytest.mark.parametrize("buckets", [None, LengthBuckets(window_batches=3)])
def test_training_resumes(source, buckets):
  def dataset(skip):
    options = ReadOptions(batch_size=8, training=True, seed=3, skip_batches=skip)
    return pipelines.example_dataset(source, CLASS_SPEC, options, buckets)

  whole = labels(dataset(0).take(40))
  assert whole == labels(dataset(0).take(40))
  for skip in (1, 3, 17, 35):
    assert labels(dataset(skip).take(40 - skip)) == whole[8 * skip :]
  if buckets is None:
    assert sorted(whole[:70]) == list(range(70))


def test_buckets_cut_the_padding_and_lose_nothing(source):
  options = ReadOptions(batch_size=8, training=False)
  buckets = LengthBuckets(window_batches=5)
  arrays = classification_arrays(70)
  seen, sizes = [], []
  for batch in pipelines.example_dataset(source, CLASS_SPEC, options, buckets):
    index = batch["example_index"].numpy()
    seen.extend(index)
    size = batch["input_ids"].shape[1]
    sizes.append(size)
    longest = arrays["input_mask"][index].sum(1).max()
    assert size == longest
    for name in ("input_ids", "input_mask", "segment_ids"):
      assert batch[name].shape[1] == size
      np.testing.assert_array_equal(batch[name], arrays[name][index][:, :size])
    np.testing.assert_array_equal(batch["label_ids"], arrays["label_ids"][index])
  assert sorted(seen) == list(range(70))
  assert sum(sizes) / len(sizes) < 0.8 * LENGTH


def test_bucketed_training_visits_every_example_once_an_epoch(source):
  options = ReadOptions(batch_size=7, training=True, seed=5)
  buckets = LengthBuckets(window_batches=5)
  dataset = pipelines.example_dataset(source, CLASS_SPEC, options, buckets)
  seen = labels(dataset.take(20))
  assert sorted(seen[:70]) == sorted(seen[70:]) == list(range(70))
  assert seen[:70] != seen[70:]
  lengths = [batch["input_ids"].shape[1] for batch in dataset.take(5)]
  assert lengths != sorted(lengths), "batches must not come sorted by length"


@pytest.mark.parametrize(("longest", "padded"), [(3, 3), (32, 32), (33, 34), (44, 44), (45, 45)])
def test_padding_is_rounded_up_but_not_past_the_full_length(longest, padded):
  ids = tf.ones([2, 45], tf.int32)
  mask = tf.sequence_mask([longest, 1], 45, tf.int32)
  trim = pipelines.trim_padding(records.classification(45))
  batch = trim({"input_ids": ids, "input_mask": mask, "segment_ids": ids, "label_ids": ids[:, 0]})
  assert [batch[name].shape[1] for name in ("input_ids", "input_mask")] == [padded, padded]
  assert batch["label_ids"].shape == [2]


def test_bucketed_shards_index_the_input(source):
  buckets = LengthBuckets(window_batches=2)
  for shard in range(3):
    options = ReadOptions(8, training=False, num_shards=3, shard_index=shard)
    for batch in pipelines.example_dataset(source, CLASS_SPEC, options, buckets):
      np.testing.assert_array_equal(batch["example_index"], batch["label_ids"])


def test_a_batch_holds_no_copies_of_an_example(source):
  options = ReadOptions(batch_size=16, training=True, seed=1)
  dataset = pipelines.example_dataset(source, CLASS_SPEC, options, LengthBuckets())
  first_epoch = labels(dataset.take(4))
  assert len(set(first_epoch)) == 64
  for batch in dataset.take(12):
    # A window may reach over the end of an epoch, so two copies can meet, but not more.
    _, counts = np.unique(batch["label_ids"], return_counts=True)
    assert counts.max() <= 2


def test_labels_as_many_as_pieces_are_not_trimmed():
  """A list of several labels may be as long as the sequence; it is no padding."""
  spec = {**records.classification(16), "label_ids": records.Field("float", 16)}
  mask = tf.sequence_mask([3, 1], 16, tf.int32)
  labels = tf.ones([2, 16])
  batch = pipelines.trim_padding(spec)(
    {"input_ids": mask, "input_mask": mask, "segment_ids": mask, "label_ids": labels}
  )
  assert batch["input_ids"].shape == [2, 3]
  assert batch["label_ids"].shape == [2, 16]
  words = pipelines.trim_padding(records.token_labelling(16))(
    {"input_ids": mask, "input_mask": mask, "segment_ids": mask, "label_ids": mask}
  )
  assert words["label_ids"].shape == [2, 3]


def files_of(directory, sizes: list[int]) -> list[str]:
  """TFRecord files of so many records, each with its number as label."""
  numbers = iter(range(sum(sizes)))
  paths = []
  for index, size in enumerate(sizes):
    paths.append(str(directory / f"{index}.tfrecord"))
    with records.RecordWriter(paths[-1]) as writer:
      for _ in range(size):
        one = {"input_ids": [1] * 4, "input_mask": [1] * 4, "segment_ids": [0] * 4}
        label = {"label_ids": [next(numbers)], "is_real_example": [1]}
        writer.write(records.encode_example({**one, **label}))
  return paths


@pytest.mark.parametrize("sizes", [[40, 4], [40, 40, 2, 2], [44, 0], [22, 22]])
def test_workers_share_examples_evenly_whatever_the_files(tmp_path, sizes, caplog):
  files, seen = files_of(tmp_path, sizes), []
  for shard in range(2):
    options = ReadOptions(4, training=True, num_shards=2, shard_index=shard)
    dataset = pipelines.example_dataset(files, records.classification(4), options)
    batches = list(dataset.take(sum(sizes) // 8))
    seen += [int(label) for batch in batches for label in batch["label_ids"]]
  # An epoch of every worker: together they have seen nearly every example once.
  assert len(set(seen)) == len(seen)
  assert len(seen) >= sum(sizes) - 8
  assert "AutoGraph" not in caplog.text


def test_fewer_examples_than_workers_are_refused(tmp_path):
  files = files_of(tmp_path, [2, 0])
  for shard in range(3):
    options = ReadOptions(4, training=True, num_shards=3, shard_index=shard)
    with pytest.raises(UserError, match="for each of 3 worker"):
      pipelines.example_dataset(files, records.classification(4), options)
  with pytest.raises(UserError, match="for each of 1 worker"):
    pipelines.example_dataset(files[1:], records.classification(4), ReadOptions(4, training=True))
