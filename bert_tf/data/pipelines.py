"""From TFRecord files (or arrays) to batches: shuffled, repeatable, resumable.

The order of training examples is a pure function of the seed: epoch e reads the files in an order
drawn from (seed, e), interleaves them, and shuffles the records through a buffer seeded with
(seed, e).  Nothing else holds state, so a run that starts at batch n sees the same batches as one
that never stopped, and pays for reading less than one epoch, before anything is parsed.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from bert_tf.data.corpora import Corpus
from bert_tf.data.mixtures import mixed
from bert_tf.data.packing import pack_sequences
from bert_tf.data.padded_lengths import round_up
from bert_tf.data.records import GZIP_SUFFIX, FeatureSpec, Field
from bert_tf.errors import UserError

Batch = dict[str, tf.Tensor]

_FILES_AT_ONCE = 4
# The largest share of whole files, in sizes of the smallest, that is taken for a fair one.
_LIKE_SHARES = 1.05


@dataclasses.dataclass(frozen=True)
class ReadOptions:
  """How to go through the examples.

  Attributes:
    batch_size: examples in a batch, of this shard.
    training: shuffle and repeat for ever.
    seed: of the order, when training.
    skip_batches: start at this batch, as if the ones before had been read.
    num_shards: how many readers share the examples.
    shard_index: which of them this one is.
    shuffle_buffer: records held for shuffling (about 1 kB each at length 128).
    drop_remainder: leave out a last batch that is not full; when training there is none.
  """

  batch_size: int
  training: bool
  seed: int = 0
  skip_batches: int = 0
  num_shards: int = 1
  shard_index: int = 0
  shuffle_buffer: int = 10000
  drop_remainder: bool = False


@dataclasses.dataclass(frozen=True)
class LengthBuckets:
  """Batches of examples of similar length, padded to the longest among them and `round_up`.

  Attributes:
    window_batches: how many batches' examples are sorted by length together; in training no more
      than there are in an epoch.
  """

  window_batches: int = 50


def pretraining_dataset(
  files: Sequence[str],
  spec: FeatureSpec,
  options: ReadOptions,
  masking: Callable[[tf.Tensor, Batch], Batch] | None = None,
  pack: bool = False,
  corpora: Sequence[Corpus] = (),
) -> tf.data.Dataset:
  """Batches of pretraining records.

  Evaluation reads the files in order, again and again, and drops no example before a batch is
  full: like the original, it is meant to be asked for a fixed number of steps.

  Args:
    files: TFRecord files; gzip where the name ends in `.gz`.
    spec: `records.pretraining(...)` or `records.unmasked_pretraining(...)`.
    options: see there.
    masking: draws new masks for every batch; a `dynamic_masking.DynamicMasking`.
    pack: lay the sequences of a batch into as few rows as they fit in (`packing`).
    corpora: what `files` is made of, where each is to have a share of its own in training.

  Returns:
    an infinite tf.data.Dataset of {name: int32 or float32 [batch_size, length]}; packed, of as
    many rows as it takes.
  """
  source: _Mixture | _RecordFiles = _RecordFiles(files, spec)
  if corpora and options.training:
    source = _Mixture(corpora, spec)
  options = dataclasses.replace(options, drop_remainder=True)
  dataset = _batches(source, options, repeat=True)
  if masking is not None:
    numbers = tf.data.Dataset.range(options.skip_batches, np.iinfo(np.int64).max)

    def mask(number: tf.Tensor, batch: Batch) -> Batch:
      number = number * options.num_shards + options.shard_index
      return masking(_seed(options.seed + 2, number), batch)

    dataset = tf.data.Dataset.zip(numbers, dataset)
    dataset = dataset.map(mask, num_parallel_calls=tf.data.AUTOTUNE).prefetch(2)
  if pack:
    dataset = dataset.map(pack_sequences, num_parallel_calls=tf.data.AUTOTUNE).prefetch(2)
  return dataset.with_options(_deterministic())


def example_dataset(
  source: str | Sequence[str] | Mapping[str, np.ndarray],
  spec: FeatureSpec,
  options: ReadOptions,
  buckets: LengthBuckets | None = None,
) -> tf.data.Dataset:
  """Batches for fine-tuning, evaluation and prediction.

  Training repeats for ever; otherwise every example comes once, in order (without `buckets`).

  Args:
    source: TFRecord file(s), or arrays [num_examples, ...] by feature name.
    spec: what an example holds; its fields are what the batches hold.
    options: see there.
    buckets: group by length and cut the padding; evaluation batches then also hold
      `example_index` [batch], the place of each example in the input.

  Returns:
    a tf.data.Dataset of {name: int32 or float32 [batch] or [batch, length]}.
  """
  if isinstance(source, Mapping):
    examples: _Arrays | _RecordFiles = _Arrays(source, spec)
  else:
    examples = _RecordFiles([source] if isinstance(source, str) else source, spec)
  if buckets is None:
    dataset = _batches(examples, options, repeat=options.training)
  else:
    dataset = _bucketed(examples, options, buckets)
  return dataset.with_options(_deterministic())


class _RecordFiles:
  """Elements are serialized records."""

  def __init__(self, files: Sequence[str], spec: FeatureSpec):
    self.files = [os.fspath(path) for path in files]
    self.spec = spec

  # Plain Python, called from what AutoGraph converts; it would warn of functions without source.
  @tf.autograph.experimental.do_not_convert
  def shard(self, options: ReadOptions) -> tuple[list[str], bool]:
    """The files of this shard, and whether their records still have to be shared out.

    Whole files are dealt out where the shards come out alike, so that each is read by one only.
    """
    if options.training and self._files_can_be_dealt(options.num_shards):
      return self.files[options.shard_index :: options.num_shards], False
    return self.files, options.num_shards > 1

  def _files_can_be_dealt(self, num_shards: int) -> bool:
    if len(self.files) % num_shards:
      return False
    sizes = [os.path.getsize(path) for path in self.files]
    shares = [sum(sizes[index::num_shards]) for index in range(num_shards)]
    return max(shares) <= _LIKE_SHARES * min(shares)

  def holds(self, count: int) -> bool:
    """Whether there are at least so many records; reads no more than it takes to tell."""
    found = 0
    for path in self.files:
      found += count_records(path, count - found)
      if found >= count:
        return True
    return False

  def epoch(self, epoch: tf.Tensor, options: ReadOptions) -> tf.data.Dataset:
    files, share_records = self.shard(options)
    names = tf.constant(files)
    if options.training:
      names = tf.random.experimental.stateless_shuffle(names, seed=_seed(options.seed, epoch))
    dataset = tf.data.Dataset.from_tensor_slices(names).interleave(
      _open, cycle_length=min(_FILES_AT_ONCE, len(files)) if options.training else 1
    )
    if share_records:
      dataset = dataset.shard(options.num_shards, options.shard_index)
    if options.training:
      dataset = dataset.shuffle(
        options.shuffle_buffer,
        seed=_seed(options.seed, epoch)[1],
        reshuffle_each_iteration=False,
      )
    return dataset

  def size(self, options: ReadOptions) -> int:
    files, share_records = self.shard(options)
    count = sum(count_records(path) for path in files)
    if share_records:
      return len(range(options.shard_index, count, options.num_shards))
    return count

  def parse(self, elements: tf.Tensor) -> Batch:
    features = {name: _feature(field) for name, field in self.spec.items()}
    return _to_int32(tf.io.parse_example(elements, features))


class _Mixture:
  """Several sources of serialized records, each with its share of the examples."""

  def __init__(self, corpora: Sequence[Corpus], spec: FeatureSpec):
    self.sources = [_RecordFiles(corpus.files, spec) for corpus in corpora]
    self.weights = [corpus.weight for corpus in corpora]
    self.parse = self.sources[0].parse

  def stream(self, options: ReadOptions, skip: int) -> tf.data.Dataset:
    """Elements from number `skip` on, without end."""

    def part(source: _RecordFiles) -> Callable[[int], tf.data.Dataset]:
      return lambda count: _stream(source, options, count, repeat=True)

    return mixed(
      [part(source) for source in self.sources],
      self.weights,
      lambda number: _seed(options.seed + 3, number),
      skip,
    )


def _feature(field: Field) -> tf.io.FixedLenFeature | tf.io.FixedLenSequenceFeature:
  """How a field is parsed."""
  kind = tf.int64 if field.kind == "int64" else tf.float32
  if field.varies:
    return tf.io.FixedLenSequenceFeature([], kind, allow_missing=True)
  return tf.io.FixedLenFeature([] if field.length is None else [field.length], kind)


class _Arrays:
  """Elements are row numbers."""

  def __init__(self, arrays: Mapping[str, np.ndarray], spec: FeatureSpec):
    self.arrays = {
      name: tf.constant(arrays[name], tf.int32 if field.kind == "int64" else tf.float32)
      for name, field in spec.items()
    }
    self.spec = spec
    self.num_rows = len(next(iter(self.arrays.values())))

  def holds(self, count: int) -> bool:
    return self.num_rows >= count

  def epoch(self, epoch: tf.Tensor, options: ReadOptions) -> tf.data.Dataset:
    rows = tf.range(options.shard_index, self.num_rows, options.num_shards, dtype=tf.int64)
    if options.training:
      rows = tf.random.experimental.stateless_shuffle(rows, seed=_seed(options.seed, epoch))
    return tf.data.Dataset.from_tensor_slices(rows)

  def size(self, options: ReadOptions) -> int:
    return len(range(options.shard_index, self.num_rows, options.num_shards))

  def parse(self, elements: tf.Tensor) -> Batch:
    return {name: tf.gather(array, elements) for name, array in self.arrays.items()}


def _stream(
  source: _RecordFiles | _Arrays | _Mixture, options: ReadOptions, skip: int, repeat: bool
) -> tf.data.Dataset:
  """Raw elements from number `skip` on, epoch after epoch."""
  if isinstance(source, _Mixture):
    return source.stream(options, skip)
  if not repeat:
    return source.epoch(tf.constant(0, tf.int64), options).skip(skip)
  if not source.holds(options.num_shards):
    raise UserError(
      f"expected an example to train on for each of {options.num_shards} worker(s) at least, found"
      " fewer; start fewer workers, or give more data"
    )
  first_epoch, rest = 0, skip
  if skip:
    size = source.size(options)
    first_epoch, rest = (skip // size, skip % size) if size else (0, 0)
  epochs = tf.data.Dataset.range(first_epoch, np.iinfo(np.int64).max)
  return epochs.flat_map(lambda epoch: source.epoch(epoch, options)).skip(rest)


def _batches(
  source: _RecordFiles | _Arrays | _Mixture, options: ReadOptions, repeat: bool
) -> tf.data.Dataset:
  """Batches in the order of the stream."""
  elements = _stream(source, options, options.skip_batches * options.batch_size, repeat)
  batches = elements.batch(options.batch_size, drop_remainder=repeat or options.drop_remainder)
  return batches.map(source.parse, num_parallel_calls=tf.data.AUTOTUNE).prefetch(2)


def _bucketed(
  source: _RecordFiles | _Arrays, options: ReadOptions, buckets: LengthBuckets
) -> tf.data.Dataset:
  """Windows of the stream, sorted by length, cut into batches; in training in random order."""
  window_batches = buckets.window_batches
  if options.training:
    # More than an epoch in a window would bring copies of an example together in a batch.
    window_batches = min(window_batches, max(1, source.size(options) // options.batch_size))
  window = window_batches * options.batch_size
  first_window, skip = divmod(options.skip_batches, window_batches)
  elements = _stream(source, options, first_window * window, repeat=options.training)
  windows = elements.batch(window, drop_remainder=options.training)
  windows = windows.map(source.parse, num_parallel_calls=tf.data.AUTOTUNE)
  numbers = tf.data.Dataset.range(first_window, np.iinfo(np.int64).max)
  keep = options.drop_remainder and not options.training

  def cut(number: tf.Tensor, window_examples: Batch) -> tf.data.Dataset:
    lengths = tf.reduce_sum(window_examples["input_mask"], axis=1)
    if not options.training:
      count = tf.size(lengths, out_type=tf.int64)
      window_examples["example_index"] = options.shard_index + options.num_shards * (
        number * window + tf.range(count)
      )
    # A stable sort: equal lengths stay in the (already shuffled) order of the stream.
    order = tf.argsort(lengths, stable=True)
    if options.training:
      order = tf.reshape(order, [window_batches, options.batch_size])
      seed = _seed(options.seed + 1, number)
      order = tf.reshape(tf.random.experimental.stateless_shuffle(order, seed), [-1])
    batches = tf.data.Dataset.from_tensor_slices(order).batch(options.batch_size, keep)
    return batches.map(lambda rows: {k: tf.gather(v, rows) for k, v in window_examples.items()})

  dataset = tf.data.Dataset.zip(numbers, windows).flat_map(cut).skip(skip)
  trim = trim_padding(source.spec)
  return dataset.map(trim, num_parallel_calls=tf.data.AUTOTUNE).prefetch(2)


def trim_padding(spec: FeatureSpec) -> Callable[[Batch], Batch]:
  """Returns a function that cuts a batch to its longest example, and `round_up`."""
  full = spec["input_ids"].length
  names = [name for name, field in spec.items() if field.per_piece]

  def trim(batch: Batch) -> Batch:
    longest = tf.reduce_max(tf.reduce_sum(batch["input_mask"], axis=1))
    length = tf.minimum(round_up(longest), full)
    return {**batch, **{name: batch[name][:, :length] for name in names}}

  return trim


def count_records(path: str, most: int | None = None) -> int:
  """How many records a TFRecord file holds, by its lengths alone (nothing is checked).

  Args: `most`, where to stop counting; None: at the end.
  """
  if path.endswith(GZIP_SUFFIX):
    records = _open(tf.constant(path)).take(-1 if most is None else most)
    return int(records.reduce(np.int64(0), lambda count, _: count + 1))
  count = position = 0
  size = os.path.getsize(path)
  with open(path, "rb") as file:
    while position < size and count != most:
      position += int.from_bytes(file.read(8), "little") + 16
      file.seek(position)
      count += 1
  return count


def _open(path: tf.Tensor) -> tf.data.Dataset:
  compressed = tf.strings.regex_full_match(path, r".*\.gz")
  return tf.data.TFRecordDataset(path, compression_type=tf.where(compressed, "GZIP", ""))


def _seed(seed: int, number: tf.Tensor) -> tf.Tensor:
  """A pair of int64 for stateless operations; also spreads neighbouring numbers."""
  pair = tf.stack([tf.constant(seed, tf.int64), tf.cast(number, tf.int64)])
  return tf.random.stateless_uniform([2], pair, minval=None, maxval=None, dtype=tf.int64)


def _to_int32(batch: Batch) -> Batch:
  """int64 is only the storage; int32 is what accelerators index with."""
  return {
    name: tf.cast(value, tf.int32) if value.dtype == tf.int64 else value
    for name, value in batch.items()
  }


def _deterministic() -> tf.data.Options:
  options = tf.data.Options()
  options.deterministic = True
  # Sharing among workers is done above, by ReadOptions.
  options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
  return options
