"""From sentences to what the encoder reads (BERT paper, section 5.3).

The label of a word is predicted from its first piece; the other pieces and the special tokens have
none. Sentences that are too long are read in overlapping windows, and each word counts in the
window that shows it with the most context.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from bert_tf.data.records import NO_LABEL
from bert_tf.data.report import UNKNOWN, TokenizationReport
from bert_tf.errors import UserError
from bert_tf.tasks.ner.sentences import OUTSIDE, Sentence
from bert_tf.tasks.windows import cut
from bert_tf.tokenization import FullTokenizer
from bert_tf.tokenization.memo import Memo

# [CLS] and [SEP].
_NUM_SPECIAL_TOKENS = 2


@dataclasses.dataclass(frozen=True, slots=True)
class Window:
  """[CLS] pieces of a sentence [SEP], not padded; `label_ids` has as many entries."""

  input_ids: list[int]
  label_ids: list[int]

  def to_record(self, max_seq_length: int) -> dict[str, list[int]]:
    """The fields of `records.token_labelling`."""
    count = len(self.input_ids)
    padding = [0] * (max_seq_length - count)
    return {
      "input_ids": self.input_ids + padding,
      "input_mask": [1] * count + padding,
      "segment_ids": [0] * max_seq_length,
      "label_ids": self.label_ids + [NO_LABEL] * len(padding),
      "is_real_example": [1],
    }


class SentenceEncoder:
  """Turns words into pieces, and sentences into windows."""

  def __init__(
    self,
    tokenizer: FullTokenizer,
    labels: Sequence[str],
    max_seq_length: int,
    doc_stride: int | None = None,
  ):
    """Args.

    tokenizer: of the model's vocabulary.
    labels: in the order of their ids.
    max_seq_length: longest window, special tokens included.
    doc_stride: how many pieces a window starts after the one before; default: half a window.

    Raises:
      UserError: windows would have no room, or leave gaps.
    """
    self.labels = list(labels)
    self.max_seq_length = max_seq_length
    self._room = max_seq_length - _NUM_SPECIAL_TOKENS
    if self._room < 1:
      raise UserError(
        f"`max_seq_length`: expected at least 3 ([CLS], [SEP] and text), found {max_seq_length}"
      )
    self._stride = max(1, self._room // 2) if doc_stride is None else doc_stride
    if not 1 <= self._stride <= self._room:
      raise UserError(
        f"`doc_stride`: expected 1 to {self._room} (`max_seq_length` without [CLS] and [SEP]),"
        f" found {self._stride}"
      )
    self._ids = {label: index for index, label in enumerate(self.labels)}
    self._tokenizer = tokenizer
    self._unknown = tokenizer.vocab.get(UNKNOWN, -1)
    self._cls, self._sep = tokenizer.convert_tokens_to_ids(["[CLS]", "[SEP]"])
    self._pieces = Memo(
      lambda word: tuple(tokenizer.convert_tokens_to_ids(tokenizer.tokenize(word)))
    )

  @property
  def windowing(self) -> tuple[int, int]:
    """How many pieces a window holds, and how many the next one starts after it."""
    return self._room, self._stride

  def is_scored(self, word: str) -> bool:
    """Whether a word has any piece; one of control characters alone has none."""
    return bool(self._pieces[word])

  def count(self, sentence: Sentence, report: TokenizationReport) -> None:
    """Counts a sentence. None is cut, as long ones are read in windows."""
    pieces = [self._pieces[word] for word in sentence.words]
    unknown = sum(ids.count(self._unknown) for ids in pieces)
    report.add(sum(map(len, pieces)), unknown)
    if unknown:
      report.name_unknown(sentence.words, self._tokenizer)

  def check(self, sentence: Sentence) -> None:
    """Raises UserError for a tag that the model does not have."""
    for index, tag in enumerate(sentence.tags or ()):
      if tag not in self._ids:
        raise UserError(
          f"{sentence.where(index)}: expected a tag of {', '.join(self.labels)}, found {tag!r};"
          " correct it, or name all tags in a `labels_file` before you train"
        )

  def windows(self, sentence: Sentence) -> Iterator[Window]:
    """Yields windows that together score every word that has pieces once, from left to right.

    A word whose tag is not known, or not one of the model's, is scored against the first label.
    """
    ids: list[int] = []
    label_ids: list[int] = []
    tags = sentence.tags or [""] * len(sentence.words)
    for word, tag in zip(sentence.words, tags, strict=True):
      pieces = self._pieces[word]
      if pieces:
        ids += pieces
        label_ids.append(self._ids.get(tag, 0))
        label_ids += [NO_LABEL] * (len(pieces) - 1)
    windows, most_context = cut(len(ids), self._room, self._stride)
    for (start, length), mask in zip(windows, most_context, strict=True):
      shown = [
        label if counts else NO_LABEL
        for label, counts in zip(label_ids[start : start + length], mask, strict=True)
      ]
      if any(label != NO_LABEL for label in shown):
        yield Window(
          [self._cls, *ids[start : start + length], self._sep], [NO_LABEL, *shown, NO_LABEL]
        )

  def tags_of(
    self, sentences: Iterable[Sentence], ids: np.ndarray, probabilities: np.ndarray
  ) -> Iterator[tuple[list[str], list[float]]]:
    """Yields (tags, their probabilities) of every sentence; a word without pieces is outside.

    Args:
      sentences: in the order of what follows.
      ids: of the likeliest labels of all words that have pieces, int [words].
      probabilities: theirs, float32 [words].
    """
    place = 0
    for sentence in sentences:
      tags, found = [], []
      for word in sentence.words:
        scored = self.is_scored(word)
        tags.append(self.labels[ids[place]] if scored else OUTSIDE)
        found.append(float(probabilities[place]) if scored else 1.0)
        place += scored
      yield tags, found
