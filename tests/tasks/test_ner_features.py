"""Words to pieces and sentences to windows."""

from __future__ import annotations

import random

import pytest

from bert_tf import UserError
from bert_tf.data.records import NO_LABEL
from bert_tf.tasks.ner.features import SentenceEncoder
from bert_tf.tasks.ner.sentences import Sentence
from bert_tf.tasks.windows import cut
from bert_tf.tokenization import FullTokenizer

LABELS = ["O", "B-LOC", "I-LOC"]


@pytest.fixture(scope="module")
def tokenizer(golden):
  return FullTokenizer(golden / "vocab.txt")


def sentence(words: list[str], tags: list[str] | None = None) -> Sentence:
  return Sentence(words, tags or ["O"] * len(words), "train.txt", 7)


def test_the_label_is_that_of_the_first_piece(tokenizer):
  words, tags = ["Riverbanks", "of", "the\u200b", "\u200d", "Oder."], ["B-LOC", *"OOO", "I-LOC"]
  encoder = SentenceEncoder(tokenizer, LABELS, 32)
  [window] = encoder.windows(sentence(words, tags))
  expected_ids, expected_labels = ["[CLS]"], [NO_LABEL]
  for word, tag in zip(words, tags, strict=True):
    pieces = tokenizer.tokenize(word)
    expected_ids += pieces
    expected_labels += ([LABELS.index(tag)] + [NO_LABEL] * len(pieces))[: len(pieces)]
  assert tokenizer.convert_ids_to_tokens(window.input_ids) == [*expected_ids, "[SEP]"]
  assert window.label_ids == [*expected_labels, NO_LABEL]
  assert sum(label != NO_LABEL for label in window.label_ids) == 4 < len(window.label_ids) - 4
  assert [encoder.is_scored(word) for word in words] == [True, True, True, False, True]
  record = window.to_record(32)
  assert {len(record[name]) for name in record} == {1, 32}
  assert record["label_ids"][len(window.label_ids) :] == [NO_LABEL] * (32 - len(window.label_ids))


@pytest.mark.parametrize("stride", [1, 3, 7, 10, None])
def test_every_word_counts_once_where_it_has_the_most_context(tokenizer, stride):
  generator = random.Random(3)
  vocabulary = ["river", "windowsill", "a", "the", "quarters", "\u200d", "unbelievable"]
  encoder = SentenceEncoder(tokenizer, LABELS, 12, stride)
  for length in range(1, 40):
    words = generator.choices(vocabulary, k=length)
    # Labels in which a place shows: all words of a kind would look alike.
    tags = generator.choices(LABELS, k=length)
    pieces = [tokenizer.tokenize(word) for word in words]
    firsts = [0]
    for word in pieces:
      firsts.append(firsts[-1] + len(word))
    total = firsts.pop()
    flat = tokenizer.convert_tokens_to_ids([piece for word in pieces for piece in word])
    found, context, start = [], [], -1
    step = stride or 5
    for window in encoder.windows(sentence(words, tags)):
      ids = window.input_ids[1:-1]
      start = next(s for s in range(start + 1, total + 1) if flat[s : s + len(ids)] == ids)
      # Equal runs may occur twice; windows start at multiples of the stride.
      while start % step:
        start = next(s for s in range(start + 1, total + 1) if flat[s : s + len(ids)] == ids)
      assert len(window.input_ids) <= 12
      for place, label in enumerate(window.label_ids[1:-1]):
        if label != NO_LABEL:
          found.append((start + place, label))
          context.append(min(place, len(ids) - 1 - place))
    expected = [
      (first, LABELS.index(tag))
      for first, tag, word in zip(firsts, tags, pieces, strict=True)
      if word
    ]
    assert found == expected
    # With windows at every place nothing but the ends of the sentence is near an end.
    if stride == 1 and total > 10:
      for (place, _), shown in zip(found, context, strict=True):
        assert shown >= min(place, total - 1 - place, 4)


def test_a_word_longer_than_a_window(tokenizer):
  encoder = SentenceEncoder(tokenizer, LABELS, 8)
  words, tags = ["x" * 50, "river", "y" * 60], ["B-LOC", "I-LOC", "O"]
  windows = list(encoder.windows(sentence(words, tags)))
  labels = [label for w in windows for label in w.label_ids if label != NO_LABEL]
  assert labels == [1, 2, 0] and all(len(w.input_ids) <= 8 for w in windows)


def test_windows_without_a_word_are_left_out(tokenizer):
  """A batch of them would have a loss of 0 / 0."""
  encoder = SentenceEncoder(tokenizer, LABELS, 8)
  pieces = tokenizer.tokenize("river" + "s" * 100)
  all_windows, _ = cut(len(pieces), 6, 3)
  assert len(list(encoder.windows(sentence(["river" + "s" * 100])))) == 1 < len(all_windows)
  assert not list(encoder.windows(sentence(["\u200d"])))


def test_records(tokenizer):
  encoder = SentenceEncoder(tokenizer, LABELS, 8)
  sentences = sentence(["river"] * 12), sentence(["\u200d"])
  found = [window.to_record(8) for each in sentences for window in encoder.windows(each)]
  assert len(found) == 3
  assert all(len(r["label_ids"]) == len(r["input_ids"]) == 8 for r in found)


def test_what_is_refused(tokenizer):
  with pytest.raises(UserError, match="`max_seq_length`: expected at least 3"):
    SentenceEncoder(tokenizer, LABELS, 2)
  for stride in (0, 7):
    with pytest.raises(UserError, match=f"`doc_stride`: expected 1 to 6 .* found {stride}"):
      SentenceEncoder(tokenizer, LABELS, 8, stride)
  encoder = SentenceEncoder(tokenizer, LABELS, 8)
  with pytest.raises(UserError, match=r"train.txt: line 8: expected a tag of O, .*found 'B-PER'"):
    encoder.check(sentence(["a", "b"], ["O", "B-PER"]))
