from __future__ import annotations

import random

import pytest

from bert_tf.data import instance_encoding, records

VOCAB_SIZE = 120000


@pytest.mark.parametrize("length", [8, 128, 512])
@pytest.mark.parametrize("predictions", [1, 20, 200])
def test_bytes_are_those_of_the_general_encoder(length, predictions):
  rng = random.Random(length)
  encoder = instance_encoding.PretrainingEncoder(length, predictions, VOCAB_SIZE)
  for _ in range(20):
    size = rng.randint(5, length)
    num_a = rng.randint(1, size - 4)
    ids = [rng.choice([rng.randrange(128), rng.randrange(VOCAB_SIZE)]) for _ in range(size)]
    count = rng.randint(0, min(predictions, size))
    positions = sorted(rng.sample(range(size), count))
    labels = [rng.randrange(VOCAB_SIZE) for _ in positions]
    is_random = rng.random() < 0.5
    pad, lacking = [0] * (length - size), [0] * (predictions - count)
    assert encoder.encode(ids, num_a, positions, labels, is_random) == records.encode_example(
      {
        "input_ids": ids + pad,
        "input_mask": [1] * size + pad,
        "segment_ids": [0] * (num_a + 2) + [1] * (size - num_a - 2) + pad,
        "masked_lm_positions": positions + lacking,
        "masked_lm_ids": labels + lacking,
        "masked_lm_weights": [1.0] * count + [0.0] * (predictions - count),
        "next_sentence_labels": [int(is_random)],
      }
    )


@pytest.mark.parametrize("value", [0, 1, 127, 128, 300, 16383, 16384, 2**21, 2**40])
def test_varint(value):
  data = records.encode_example({"x": [value]})
  assert data.endswith(instance_encoding.varint(value))
