"""Labels of words: in sentences that are cut into words already, and in running text."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from bert_tf.data.records import NO_LABEL
from bert_tf.errors import UserError
from bert_tf.tasks.ner import metrics
from bert_tf.tasks.ner.features import SentenceEncoder
from bert_tf.tasks.ner.sentences import Sentence
from bert_tf.tasks.vectors.token_vectors import InputFeatures
from bert_tf.tokenization.basic import is_chinese_char, is_punctuation, is_whitespace
from bert_tf.trained_model import computation
from bert_tf.trained_model.computation import Computation
from bert_tf.trained_model.inputs import plain_list

Tags = tuple[list[str], list[float]]


@dataclasses.dataclass(frozen=True)
class Entity:
  """A name in a text.

  Attributes:
    kind: such as PER.
    text: as it stands there, `text[start:end]` of the whole.
    start: its first character.
    end: behind its last one.
    probability: the mean of its words' probabilities.
  """

  kind: str
  text: str
  start: int
  end: int
  probability: float


def split_words(text: str) -> list[tuple[int, int]]:
  """Where the words of a text begin and end, as an exported model cuts them.

  A word is what white space separates, without punctuation at its ends, which is a word of its
  own, as an ideograph is.
  """
  places: list[tuple[int, int]] = []
  start = 0
  for end in range(len(text) + 1):
    if end == len(text) or is_whitespace(text[end]) or is_chinese_char(ord(text[end])):
      places += _without_punctuation(text, start, end)
      if end < len(text) and not is_whitespace(text[end]):
        places.append((end, end + 1))
      start = end + 1
  return places


def _without_punctuation(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
  first, last = start, end
  while first < last and is_punctuation(text[first]):
    first += 1
  while last > first and is_punctuation(text[last - 1]):
    last -= 1
  yield from ((place, place + 1) for place in range(start, first))
  if first < last:
    yield first, last
  yield from ((place, place + 1) for place in range(last, end))


def sentences_of(sentences: Any) -> list[list[str]]:
  """Returns the words of every sentence.

  Raises:
    UserError: an entry is not a list of words.
  """
  found = []
  for number, words in enumerate(plain_list(sentences)):
    if isinstance(words, str | bytes):
      raise UserError(f"sentence {number}: expected a list of words, found the text {words!r:.40}")
    words = plain_list(words)
    if not words or not all(isinstance(word, str) for word in words):
      raise UserError(f"sentence {number}: expected words, found {words!r:.60}")
    found.append([str(word) for word in words])
  return found


def tag(
  sentences: Sequence[Sequence[str]],
  encoder: SentenceEncoder,
  compute: Computation,
  batch_size: int,
) -> list[Tags]:
  """Returns the tags of every sentence and their probabilities; long ones are read in windows."""
  known = [Sentence(list(words), None, f"sentence {i}", 0) for i, words in enumerate(sentences)]
  windows = [window for sentence in known for window in encoder.windows(sentence)]
  sequences = [
    InputFeatures(place, [], window.input_ids, [0] * len(window.input_ids))
    for place, window in enumerate(windows)
  ]
  results = compute.run(sequences, "tokens", computation.token_labels, batch_size)
  ids: list[int] = []
  probabilities: list[float] = []
  for window, (labels, best) in zip(windows, results, strict=True):
    places = [place for place, label in enumerate(window.label_ids) if label != NO_LABEL]
    ids += labels[places].tolist()
    probabilities += best[places].tolist()
  return list(encoder.tags_of(known, np.array(ids, np.int32), np.array(probabilities)))


def entities(text: str, places: Sequence[tuple[int, int]], tags: Tags) -> list[Entity]:
  """Joins the labelled words of a text to names."""
  found = []
  for kind, first, last in metrics.entities(tags[0]):
    start, end = places[first][0], places[last][1]
    probability = float(np.mean(tags[1][first : last + 1]))
    found.append(Entity(kind, text[start:end], start, end, probability))
  return found
