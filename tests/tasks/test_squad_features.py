"""Windows against those of the original (tests/golden/squad/features_*)."""

from __future__ import annotations

import logging as python_logging
import tracemalloc

import pytest
from squad_goldens import convert, golden_lines, read, tokenizer_of

from bert_tf.data import records
from bert_tf.data.report import TokenizationReport
from bert_tf.errors import UserError
from bert_tf.tasks.squad.examples import SquadExample
from bert_tf.tasks.squad.features import (
  SquadReport,
  check_lengths,
  convert_examples_to_features,
  warn_of_gaps,
)
from bert_tf.tokenization import FullTokenizer

SETS = [
  "v1_dev_64", "v1_dev_96", "v1_dev_cased_96", "v1_train_64", "v1_train_96", "v1_train_cased_96",
  "v2_dev_64", "v2_dev_96", "v2_train_64", "v2_train_96",
]  # fmt: skip


def compact(window):
  """A window in the form of the golden files."""
  first = window.first_doc_token
  return {
    "unique_id": window.unique_id,
    "example_index": window.example_index,
    "doc_span_index": window.doc_span_index,
    "first_doc_token": first,
    "n_tokens": window.num_tokens,
    "input_ids": window.input_ids,
    "orig_map": [window.word_index(first + k) for k in range(window.doc_length)],
    "max_context": "".join("01"[flag] for flag in window.max_context.tolist()),
    "start_position": window.start_position,
    "end_position": window.end_position,
    "is_impossible": window.is_impossible,
  }


@pytest.mark.parametrize("name", SETS)
def test_features_are_the_originals(golden, name, caplog):
  header, *expected = golden_lines(golden, name)
  with caplog.at_level(python_logging.WARNING, logger="absl"):
    windows = [compact(window) for window in convert(golden, header["args"])]
  assert windows == expected
  # The original's warnings, to which the question's id and a total are added.
  messages = [record.getMessage() for record in caplog.records]
  expected = header["warnings"]
  assert [message.split(" (question '")[0] for message in messages[: len(expected)]] == expected
  assert len(messages) == len(expected) + bool(expected)
  assert all(f": {len(expected)} of " in message for message in messages[len(expected) :])


@pytest.mark.parametrize("name", SETS)
def test_examples_are_the_originals(golden, name):
  header = golden_lines(golden, name)[0]
  doc_tokens, expected = None, []
  for example in header["examples"]:
    doc_tokens = example.get("doc_tokens", doc_tokens)
    expected.append(SquadExample(**{**example, "doc_tokens": doc_tokens}))
  assert read(golden, header["args"]) == expected


@pytest.mark.parametrize("is_training", [True, False])
def test_records_have_the_fields_of_the_spec(golden, is_training):
  args = golden_lines(golden, f"v2_{'train' if is_training else 'dev'}_64")[0]["args"]
  spec = records.squad(64, is_training=is_training)
  for window in convert(golden, args):
    record = window.to_record(64)
    assert {name: len(values) for name, values in record.items()} == {
      name: field.size for name, field in spec.items()
    }
    n = window.num_tokens
    assert record["input_mask"] == [1] * n + [0] * (64 - n)
    first = window.first_doc_token
    assert record["segment_ids"] == [0] * first + [1] * (n - first) + [0] * (64 - n)
    assert records.decode_example(records.encode_example(record)) == dict(sorted(record.items()))


def test_an_answer_that_occurs_twice_is_learnt_at_its_first_place(golden):
  """The original's way: of the words that hold the answer, the first place with its pieces."""
  words = ["The", "1822-1822", "bridge."]
  example = SquadExample("b", "When?", words, "1822", start_position=1, end_position=1)
  tokenizer = FullTokenizer(golden / "vocab.txt")
  [window] = convert_examples_to_features([example], tokenizer, 64, 32, 16, is_training=True)
  pieces = tokenizer.convert_ids_to_tokens(window.input_ids)
  dash = pieces.index("-")
  answer = pieces[window.start_position : window.end_position + 1]
  assert window.end_position < dash
  assert answer == tokenizer.tokenize("1822") == pieces[dash + 1 : dash + 1 + len(answer)]


def test_questions_that_are_cut_and_unknown_pieces_are_counted(golden):
  tokenizer = FullTokenizer(golden / "vocab.txt")
  words, report = ["the", "\u9f98", "clock"], SquadReport()
  size = len(tokenizer.tokenize(" ".join(words)))
  examples = [
    SquadExample(str(i), question, words) for i, question in enumerate(["the " * 6, "the \u9f98"])
  ]
  list(convert_examples_to_features(examples, tokenizer, 16, 8, 4, False, report))
  assert report.questions == TokenizationReport(texts=2, pieces=8, unknown=1, cut=1, lost=2)
  # Both questions are about one context.
  assert report.contexts == TokenizationReport(texts=1, pieces=size, unknown=1)


def naive_max_context(windows, index, position):
  """The rule as a search: the window in which the piece has the most context on both sides."""
  scores = {
    i: min(position - start, start + length - 1 - position) + 0.01 * length
    for i, (start, length) in enumerate(windows)
    if start <= position < start + length
  }
  return index == max(scores, key=lambda i: (scores[i], -i))


@pytest.mark.parametrize(
  ("words", "room", "stride"), [(1, 1, 1), (50, 7, 2), (50, 7, 7), (50, 7, 9), (97, 32, 5)]
)
def test_max_context_and_stride(golden, words, room, stride):
  tokenizer = tokenizer_of(golden, "uncased")
  example = SquadExample("q", "the", ["the"] * words)
  features = list(convert_examples_to_features([example], tokenizer, room + 4, stride, 1, False))
  windows = [(window.doc_start, window.doc_length) for window in features]
  assert windows[-1][0] + windows[-1][1] == words
  assert all(start == i * min(room, stride) for i, (start, unused_length) in enumerate(windows))
  assert all(length == room for unused_start, length in windows[:-1])
  for i, (start, length) in enumerate(windows):
    expected = [naive_max_context(windows, i, start + k) for k in range(length)]
    assert features[i].max_context.tolist() == expected


def test_context_without_words_has_no_window(golden):
  tokenizer = tokenizer_of(golden, "uncased")
  examples = [SquadExample("q1", "the", []), SquadExample("q2", "the", ["the"])]
  windows = list(convert_examples_to_features(examples, tokenizer, 16, 8, 4, False))
  assert [(window.unique_id, window.example_index) for window in windows] == [(1000000000, 1)]


def test_each_context_is_tokenized_once(golden, monkeypatch):
  tokenizer = tokenizer_of(golden, "uncased")
  seen = []
  original = tokenizer.tokenize
  monkeypatch.setattr(tokenizer, "tokenize", lambda text: seen.append(text) or original(text))
  doc_tokens = [f"word{i}" for i in range(40)]
  examples = [SquadExample(f"q{i}", "the question", doc_tokens) for i in range(5)]
  assert len(list(convert_examples_to_features(examples, tokenizer, 64, 8, 4, False))) >= 5
  assert sorted(seen) == sorted(doc_tokens + ["the question"] * 5)


def test_memory_does_not_grow_with_the_number_of_windows(golden):
  """Streaming: ten times the contexts, read one after the other, hold no more memory."""
  tokenizer = tokenizer_of(golden, "uncased")

  def peak(contexts):
    examples = (SquadExample("q", "the", ["the"] * 300) for _ in range(contexts))
    tracemalloc.start()
    for window in convert_examples_to_features(examples, tokenizer, 64, 8, 16, False):
      window.to_record(64)
    return tracemalloc.get_traced_memory()[1], tracemalloc.stop()

  peak(1)
  assert peak(200)[0] < 1.5 * peak(20)[0]


@pytest.mark.parametrize(
  ("lengths", "message"),
  [
    ((64, 16, 61), r"max_seq_length \(64\) must be greater than max_query_length \(61\) \+ 3"),
    ((64, 0, 16), "doc_stride >= 1, found .* doc_stride 0"),
    ((64, -5, 16), "doc_stride >= 1"),
    ((64, 16, -1), "max_query_length >= 0"),
  ],
)
def test_bad_lengths(lengths, message):
  with pytest.raises(UserError, match=message):
    check_lengths(*lengths)


def test_windows_that_do_not_overlap_are_warned_about(caplog):
  with caplog.at_level(python_logging.WARNING, logger="absl"):
    warn_of_gaps(64, 46, 16)
    warn_of_gaps(64, 45, 16)
  assert [record.args for record in caplog.records] == [(46, 45)]
