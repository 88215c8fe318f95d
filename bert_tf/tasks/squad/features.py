"""Windows over long contexts, as the model reads them.

A window is [CLS] question [SEP] piece of the context [SEP]. Contexts longer than the room are read
in overlapping windows (Devlin's fine-tuning code; BERT paper, section 4.2, does not mention them).
"""

from __future__ import annotations

import array
import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np
from absl import logging

from bert_tf.data.report import UNKNOWN, TokenizationReport
from bert_tf.errors import UserError
from bert_tf.tasks.squad.contexts import PiecePlaces
from bert_tf.tasks.squad.examples import SquadExample
from bert_tf.tasks.windows import cut
from bert_tf.tokenization import FullTokenizer
from bert_tf.tokenization.memo import Memo

FIRST_UNIQUE_ID = 1000000000
# [CLS] and the two [SEP].
_NUM_SPECIAL_TOKENS = 3


@dataclasses.dataclass(frozen=True, slots=True)
class TokenizedDocument:
  """A context in word pieces.

  Attributes:
    ids: vocabulary ids of the pieces.
    token_to_word: for each piece the index of its word in doc_tokens.
    word_to_token: for each word the index of its first piece.
  """

  ids: array.array
  token_to_word: array.array
  word_to_token: array.array


@dataclasses.dataclass(frozen=True, slots=True)
class SquadFeatures:
  """One window over one example's context; `InputFeatures` of the original's run_squad.py.

  Padding is left to whoever writes or batches the window. Windows share their question and
  document, so that a window takes some 200 bytes.

  Attributes:
    unique_id: counts windows from 1000000000.
    example_index: which example the window belongs to.
    doc_span_index: which of the example's windows it is.
    prefix_ids: [CLS] question [SEP].
    sep_id: id of [SEP].
    document: the whole context.
    doc_start: index of the window's first piece in the document.
    doc_length: number of the document's pieces in the window.
    max_context: for each of these pieces, whether no other window shows it with more context.
    start_position: index in input_ids of the answer's first piece; 0 ([CLS]) if the window does
      not hold the whole answer; None unless made for training.
    end_position: index of the answer's last piece, like start_position.
    is_impossible: the question has no answer.
  """

  unique_id: int
  example_index: int
  doc_span_index: int
  prefix_ids: list[int]
  sep_id: int
  document: TokenizedDocument
  doc_start: int
  doc_length: int
  max_context: np.ndarray
  start_position: int | None = None
  end_position: int | None = None
  is_impossible: bool = False

  @property
  def first_doc_token(self) -> int:
    """Index in input_ids of the first piece of the context."""
    return len(self.prefix_ids)

  @property
  def num_tokens(self) -> int:
    """Length without padding."""
    return len(self.prefix_ids) + self.doc_length + 1

  @property
  def input_ids(self) -> list[int]:
    """Ids of [CLS] question [SEP] context [SEP], not padded."""
    doc_ids = self.document.ids[self.doc_start : self.doc_start + self.doc_length]
    return [*self.prefix_ids, *doc_ids, self.sep_id]

  @property
  def segment_ids(self) -> list[int]:
    """0 for [CLS] question [SEP], 1 for context [SEP], not padded."""
    return [0] * len(self.prefix_ids) + [1] * (self.doc_length + 1)

  def word_index(self, token_index: int) -> int:
    """The word in doc_tokens that the piece of the context at `token_index` comes from."""
    return self.document.token_to_word[token_index - self.first_doc_token + self.doc_start]

  def context_ids(self, start_index: int, end_index: int) -> array.array:
    """Ids of the context's pieces at start_index .. end_index (inclusive) of input_ids."""
    shift = self.doc_start - self.first_doc_token
    return self.document.ids[start_index + shift : end_index + shift + 1]

  def to_record(self, max_seq_length: int) -> dict[str, list[int]]:
    """The fields of `bert_tf.data.records.squad`, padded with zeros to max_seq_length."""
    padding = [0] * (max_seq_length - self.num_tokens)
    record = {
      "unique_ids": [self.unique_id],
      "input_ids": self.input_ids + padding,
      "input_mask": [1] * self.num_tokens + padding,
      "segment_ids": self.segment_ids + padding,
    }
    if self.start_position is not None and self.end_position is not None:
      record["start_positions"] = [self.start_position]
      record["end_positions"] = [self.end_position]
      record["is_impossible"] = [int(self.is_impossible)]
    return record


def check_lengths(max_seq_length: int, doc_stride: int, max_query_length: int) -> None:
  """Refuses lengths that leave no room for the context.

  Raises:
    UserError: a length is not positive, or max_seq_length <= max_query_length + 3.
  """
  if max_query_length < 0 or doc_stride < 1:
    raise UserError(
      "expected max_query_length >= 0 and doc_stride >= 1, found max_query_length"
      f" {max_query_length} and doc_stride {doc_stride}"
    )
  room = max_seq_length - max_query_length - _NUM_SPECIAL_TOKENS
  if room < 1:
    raise UserError(
      f"max_seq_length ({max_seq_length}) must be greater than max_query_length"
      f" ({max_query_length}) + 3 to leave room for the context; raise `max_seq_length` to at"
      f" least {max_query_length + _NUM_SPECIAL_TOKENS + 1} or lower `max_query_length`"
    )


def warn_of_gaps(max_seq_length: int, doc_stride: int, max_query_length: int) -> None:
  """Warns if windows beside the longest question would not overlap."""
  room = max_seq_length - max_query_length - _NUM_SPECIAL_TOKENS
  if doc_stride > room:
    logging.warning(
      "doc_stride (%d) is bigger than the room for the context beside the longest question"
      " (%d = max_seq_length - max_query_length - 3): windows will not overlap, and answers that"
      " cross their borders are lost",
      doc_stride,
      room,
    )


def _query_ids(
  tokenizer: FullTokenizer, question: str, max_query_length: int, report: SquadReport
) -> list[int]:
  """Ids of a question, cut; `report` counts what is unknown and what is lost."""
  ids = _token_ids(tokenizer, question)
  unknown = tokenizer.vocab.get(UNKNOWN, -1)
  report.questions.add(len(ids), ids.count(unknown), max(0, len(ids) - max_query_length))
  if unknown in ids:
    report.questions.name_unknown([question], tokenizer)
  return ids[:max_query_length]


def convert_examples_to_features(
  examples: Iterable[SquadExample],
  tokenizer: FullTokenizer,
  max_seq_length: int,
  doc_stride: int,
  max_query_length: int,
  is_training: bool,
  report: SquadReport | None = None,
) -> Iterator[SquadFeatures]:
  """Yields the windows of all examples in order; holds no more than the tokenized contexts.

  Equals `convert_examples_to_features` of the original's run_squad.py. Each distinct context is
  tokenized once (the original: once per question).

  Args:
    examples: questions; those about one context share their doc_tokens list.
    tokenizer: of the model's vocabulary.
    max_seq_length: longest window, special tokens included.
    doc_stride: how many pieces a window starts after the one before.
    max_query_length: longer questions are cut to so many pieces.
    is_training: also map answers to pieces.
    report: counts questions and contexts.

  Raises:
    UserError: as check_lengths.
  """
  check_lengths(max_seq_length, doc_stride, max_query_length)
  report = SquadReport() if report is None else report
  documents = _Documents(tokenizer, is_training, report.contexts)
  places = PiecePlaces(tokenizer)
  cls_id, sep_id = tokenizer.convert_tokens_to_ids(["[CLS]", "[SEP]"])
  unique_id = FIRST_UNIQUE_ID
  for example_index, example in enumerate(examples):
    query_ids = _query_ids(tokenizer, example.question_text, max_query_length, report)
    prefix_ids = [cls_id, *query_ids, sep_id]
    document = documents.tokenized(example.doc_tokens)
    answer = None
    if is_training and not example.is_impossible:
      answer = _answer_tokens(example, document, tokenizer, places)
    room = max_seq_length - len(query_ids) - _NUM_SPECIAL_TOKENS
    windows, max_context = cut(len(document.ids), room, doc_stride)
    for doc_span_index, (start, length) in enumerate(windows):
      position: tuple[int | None, int | None] = (None, None)
      if is_training:
        position = _window_answer(answer, start, length, len(prefix_ids))
      yield SquadFeatures(
        unique_id=unique_id,
        example_index=example_index,
        doc_span_index=doc_span_index,
        prefix_ids=prefix_ids,
        sep_id=sep_id,
        document=document,
        doc_start=start,
        doc_length=length,
        max_context=max_context[doc_span_index],
        start_position=position[0],
        end_position=position[1],
        is_impossible=example.is_impossible,
      )
      unique_id += 1


@dataclasses.dataclass
class SquadReport:
  """What tokenization did to questions, which are cut, and contexts, which are read in windows."""

  questions: TokenizationReport = dataclasses.field(default_factory=TokenizationReport)
  contexts: TokenizationReport = dataclasses.field(default_factory=TokenizationReport)

  def log(self, what: str, max_query_length: int) -> None:
    """Logs both; `what` names the set."""
    self.questions.log(what, "questions", f"`max_query_length={max_query_length}`")
    self.contexts.log(what, "contexts")


class _Documents:
  """Tokenizes a context when it is first met.

  In file order the questions of a context follow each other, so only the last one is kept; before
  training the questions are shuffled, and all are kept (12 bytes a piece).
  """

  def __init__(self, tokenizer: FullTokenizer, keep_all: bool, report: TokenizationReport):
    self._tokenizer = tokenizer
    self._keep_all = keep_all
    self._report = report
    self._unknown = tokenizer.vocab.get(UNKNOWN, -1)
    # The words are kept beside the pieces so that their id() stays theirs.
    self._known: dict[int, tuple[list[str], TokenizedDocument]] = {}
    self._word_ids = Memo(lambda word: tuple(_token_ids(tokenizer, word)))

  def tokenized(self, doc_tokens: list[str]) -> TokenizedDocument:
    """The context in word pieces."""
    known = self._known.get(id(doc_tokens))
    if known is None:
      if not self._keep_all:
        self._known.clear()
      known = self._known[id(doc_tokens)] = (doc_tokens, self._tokenize(doc_tokens))
    return known[1]

  def _tokenize(self, doc_tokens: list[str]) -> TokenizedDocument:
    ids = array.array("i")
    token_to_word = array.array("i")
    word_to_token = array.array("i")
    for index, word in enumerate(doc_tokens):
      word_to_token.append(len(ids))
      word_ids = self._word_ids[word]
      ids.extend(word_ids)
      token_to_word.extend([index] * len(word_ids))
    self._report.add(len(ids), ids.count(self._unknown))
    if self._unknown in ids:
      self._report.name_unknown(doc_tokens, self._tokenizer)
    return TokenizedDocument(ids, token_to_word, word_to_token)


def _token_ids(tokenizer: FullTokenizer, text: str) -> list[int]:
  return tokenizer.convert_tokens_to_ids(tokenizer.tokenize(text))


def _answer_tokens(
  example: SquadExample, document: TokenizedDocument, tokenizer: FullTokenizer, places: PiecePlaces
) -> tuple[int, int]:
  """First and last piece of the answer in the document.

  By offsets these are the pieces that have a part in its characters. The original's way is this:
  Words may hold more than the answer ("(1895-1943)." for "1895"), so the words' pieces are
  searched for exactly the answer's; the whole words stand where that fails (the original's
  `_improve_answer_span`).
  """
  if example.answer_span is not None and example.context is not None:
    covering = places.covering(example.context, *example.answer_span)
    if covering is not None:
      return covering
  # Only examples that were read for training come here.
  assert example.start_position is not None and example.end_position is not None
  start = document.word_to_token[example.start_position]
  if example.end_position < len(example.doc_tokens) - 1:
    end = document.word_to_token[example.end_position + 1] - 1
  else:
    end = len(document.ids) - 1
  answer_ids = array.array("i", _token_ids(tokenizer, example.orig_answer_text or ""))
  if answer_ids:
    for new_start in range(start, end - len(answer_ids) + 2):
      if document.ids[new_start : new_start + len(answer_ids)] == answer_ids:
        return new_start, new_start + len(answer_ids) - 1
  return start, end


def _window_answer(
  answer: tuple[int, int] | None, start: int, length: int, offset: int
) -> tuple[int, int]:
  """The answer's pieces as indices in a window's input_ids; (0, 0) unless all are inside.

  Args:
    answer: first and last piece in the document; None: there is no answer.
    start: the window's first piece.
    length: its number of pieces.
    offset: index in input_ids of the window's first piece.
  """
  if answer is None or answer[0] < start or answer[1] >= start + length:
    return 0, 0
  return answer[0] - start + offset, answer[1] - start + offset
