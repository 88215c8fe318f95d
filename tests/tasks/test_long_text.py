"""What is read of long texts: in Python, and the same in a graph."""

from __future__ import annotations

import numpy as np
import pytest

from bert_tf import UserError
from bert_tf.tasks.long_text import LongText, ends


def cut(long_text: LongText, a: int, b: int, length: int) -> tuple[list[int], list[int]]:
  """What is left of two texts of so many pieces."""
  first, second = list(range(a)), list(range(b))
  long_text.cut(first, second, length)
  return first, second


def test_head_and_tail_of_the_paper():
  """Sun et al., section 5.3.1: the first 128 and the last 382 of 510."""
  first, _ = cut(LongText("head_tail"), 1000, 0, 512)
  assert first == [*range(128), *range(1000 - 382, 1000)]
  assert cut(LongText("head_tail"), 510, 0, 512)[0] == list(range(510))


def test_pairs_keep_what_they_always_kept():
  assert cut(LongText(), 10, 4, 11) == (list(range(4)), list(range(4)))
  assert cut(LongText("head_tail"), 10, 4, 11) == ([0, 7, 8, 9], [0, 1, 2, 3])
  assert cut(LongText("head_tail"), 10, 9, 11) == ([0, 7, 8, 9], [0, 6, 7, 8])


def test_windows_read_on_to_their_number():
  long_text = LongText("windows", doc_stride=5, max_windows=3)
  assert long_text.most_ids(12) == 22
  assert cut(long_text, 100, 0, 12)[0] == list(range(20))
  assert LongText("windows").stride(12) == 5
  assert LongText("windows").stride(3) == 1


def test_the_same_in_a_graph():
  import tensorflow as tf

  from bert_tf.export.graphs import text_inputs

  lengths, keep = [0, 3, 9, 9, 12], [0, 3, 1, 4, 7]
  rows = tf.ragged.range(lengths)
  found = text_inputs.ends(rows, tf.constant(keep, tf.int64)).to_list()
  assert found == [ends(list(range(n)), k) for n, k in zip(lengths, keep, strict=True)]


def test_a_packer_says_what_it_cut():
  import tensorflow as tf

  from bert_tf.export.graphs.text_inputs import SequencePacker

  first, second = tf.ragged.range([5, 6, 3, 9]), tf.ragged.range([0, 0, 2, 3])
  packer = SequencePacker(100, 101, 8)
  assert packer.truncated(first, second).numpy().tolist() == [False, False, False, True]
  documents = SequencePacker(100, 101, 8, long_text=LongText("windows", doc_stride=3))
  assert not documents.truncated(first, second).numpy().any()
  assert documents(first, second)["input_ids"].shape[1] == 15


def test_settings_travel():
  for long_text in (LongText(), LongText("head_tail"), LongText("windows", "max", 7, 5)):
    settings = long_text.settings()
    assert LongText.of(settings) == long_text
    assert LongText.settled({}, settings) == long_text
  assert LongText.settled({"pooling": "attention"}, {"long_text": "windows"}).pooling == "attention"
  assert LongText().settings() == {}


@pytest.mark.parametrize(
  ("given", "message"),
  [
    (
      {"pooling": "max"},
      "`pooling`: expected `long_text=windows`, of which it speaks, found first",
    ),
    ({"long_text": "head_tail", "doc_stride": 3}, "`doc_stride`: expected `long_text=windows`"),
    ({"long_text": "all"}, "`long_text`: expected one of first, head_tail, windows, found 'all'"),
    ({"long_text": "windows", "pooling": "min"}, "`pooling`: expected one of mean, max, attention"),
    ({"long_text": "windows", "max_windows": 0}, "`max_windows`: expected a number of at least 1"),
  ],
)
def test_what_cannot_be_is_refused(given, message):
  with pytest.raises(UserError) as error:
    LongText.settled(given, {})
  assert message in str(error.value)


def test_windows_leave_no_gaps():
  with pytest.raises(UserError, match=r"`doc_stride`: expected 1 to 10 .* found 11"):
    LongText("windows", doc_stride=11).most_ids(12)


@pytest.mark.parametrize("long_text", [LongText("windows"), LongText("windows", doc_stride=3)])
@pytest.mark.parametrize("length", range(3, 41))
def test_windows_in_a_graph_are_those_of_python(long_text, length):
  """Pieces of every window, against the definition that named entities and answers use."""
  import tensorflow as tf

  from bert_tf.document_classifier import cut_windows, num_windows
  from bert_tf.tasks import windows

  room, stride = 8, long_text.stride(10)
  row = np.array([[100, *range(1, length - 1), 101] + [0] * 3], np.int32)
  features = {"input_ids": row, "input_mask": (row > 0) * 1, "segment_ids": row * 0}
  found = cut_windows({k: tf.constant(v, tf.int32) for k, v in features.items()}, 10, stride)
  expected = [
    [100, *range(start + 1, start + size + 1), 101]
    for start, size in windows.cut(length - 2, room, stride)[0]
  ]
  ids, mask = (found.features[name].numpy() for name in ("input_ids", "input_mask"))
  assert [line[kept > 0].tolist() for line, kept in zip(ids, mask, strict=True)] == expected
  assert num_windows(length - 2, room, stride) == len(expected)
