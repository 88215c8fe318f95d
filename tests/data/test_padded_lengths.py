"""The shapes that batches are padded to: few, and not much larger than needed."""

import tensorflow as tf

from bert_tf.data.padded_lengths import round_up


def test_rounded_up_to_one_of_sixteen_shapes_an_octave():
  counts = list(range(1, 5000))
  rounded = tf.function(tf.map_fn)(round_up, tf.constant(counts)).numpy().tolist()
  assert all(n <= r <= 1.0625 * n for n, r in zip(counts, rounded, strict=True))
  for power in range(5, 12):
    assert len({r for r in rounded if 1 << power < r <= 2 << power}) == 16
  assert [int(round_up(tf.constant(n))) for n in (1, 31, 33, 65, 1000, 16384, 16385)] == [
    1, 31, 34, 68, 1024, 16384, 17408,
  ]  # fmt: skip
