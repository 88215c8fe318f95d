"""From start and end logits to answers: predictions.json, nbest_predictions.json, null_odds.json.

The score of a span is its start logit plus its end logit; SQuAD 2.0 compares the best span with
the score of [CLS], "no answer" (BERT paper, sections 4.2 and 4.3). Results equal those of
`write_predictions` in the original's run_squad.py, order of ties included.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from absl import logging

from bert_tf.files import atomic_writer
from bert_tf.tasks.squad.contexts import PiecePlaces
from bert_tf.tasks.squad.examples import SquadExample
from bert_tf.tasks.squad.features import SquadFeatures
from bert_tf.tokenization import FullTokenizer
from bert_tf.tokenization.memo import Memo

# What nbest_predictions.json says of an answer, as the original has it.
_NBEST_FIELDS = ("text", "probability", "start_logit", "end_logit")
# null_odds of a question for which no window offers a span: it has no answer at any threshold
# that is in use. The number is what the original starts its search for the least null score from.
NO_SPAN_NULL_ODDS = 1000000.0


@dataclasses.dataclass(frozen=True)
class PredictionOptions:
  """How spans are chosen.

  Attributes:
    n_best_size: how many starts and ends are combined, and how many answers are kept.
    max_answer_length: longest answer in word pieces.
    version_2_with_negative: "no answer" competes with the spans.
    null_score_diff_threshold: no answer is predicted if the null score exceeds the best span's
      score by more than this.
    verbose_logging: log why a prediction could not be mapped to the original text.
    answer_offsets: whether answers are cut out of the text at the offsets of their pieces (see
      `contexts.Context`); None: in contexts that are written without spaces between words.
  """

  n_best_size: int = 20
  max_answer_length: int = 30
  version_2_with_negative: bool = False
  null_score_diff_threshold: float = 0.0
  verbose_logging: bool = False
  answer_offsets: bool | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class WindowLogits:
  """What the model says about one window.

  Attributes:
    features: the window.
    start_logits: [S] or longer; what lies beyond the window's tokens competes for the n best
      indices, as it does in the original, but cannot win.
    end_logits: like start_logits.
  """

  features: SquadFeatures
  start_logits: np.ndarray
  end_logits: np.ndarray


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
  """One entry of nbest_predictions.json, and where it stands.

  Attributes:
    text: "" for no answer.
    probability: among the n best.
    start_logit: of its first piece.
    end_logit: of its last piece.
    start: the character of the context where the model chose it, which need not be the first place
      where its text occurs; None for no answer, or where the context is not known.
    end: the character after its last one.
  """

  text: str
  probability: float
  start_logit: float
  end_logit: float
  start: int | None = None
  end: int | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Prediction:
  """All that is predicted for one question.

  Attributes:
    text: the answer; "" if there is none.
    nbest: answers from best to worst, with "" among them in SQuAD 2.0.
    null_odds: null score minus the best span's score; None in SQuAD 1.1.
    start: where the answer stands in the context, in characters; see `Answer`.
    end: the character after its last one.
  """

  text: str
  nbest: list[Answer]
  null_odds: float | None = None
  start: int | None = None
  end: int | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class _Span:
  """A candidate: pieces start_index..end_index of a window; (0, 0) is "no answer"."""

  features: SquadFeatures | None
  start_index: int
  end_index: int
  start_logit: float
  end_logit: float

  def pieces(self) -> tuple[int, int]:
    """Indices in the context's pieces of the first and the last one."""
    assert self.features is not None
    shift = self.features.doc_start - self.features.first_doc_token
    return self.start_index + shift, self.end_index + shift

  def words(self) -> tuple[int, int]:
    """Indices of the words that they come from."""
    assert self.features is not None
    return self.features.word_index(self.start_index), self.features.word_index(self.end_index)


class AnswerFinder:
  """Turns the logits of a question's windows into its answer."""

  def __init__(self, tokenizer: FullTokenizer, options: PredictionOptions):
    self._tokenizer = tokenizer
    self._options = options
    basic = Memo(lambda word: " ".join(tokenizer.basic_tokenizer.tokenize(word)))

    def aligned(text: str) -> Alignment:
      # White space always separates tokens, so words can be tokenized one by one.
      return align(text, " ".join(filter(None, map(basic.__getitem__, text.split(" ")))))

    # Few texts at once, but long ones: without spaces between words, each is a whole paragraph.
    self._alignments = Memo(aligned, limit=256, longest_key=1 << 20)
    self._places = PiecePlaces(tokenizer)

  def predict(self, example: SquadExample, windows: Sequence[WindowLogits]) -> Prediction:
    """The answer to one question.

    Args:
      example: the question.
      windows: the logits of all its windows, in order.
    """
    nbest = self._nbest(example, windows)
    null = None
    if self._options.version_2_with_negative:
      null = _null_span(windows)
      if all(text for text, unused_span in nbest):
        nbest.append(("", null))
    if not nbest:
      nbest.append(("empty", _Span(None, 0, 0, 0.0, 0.0)))
    probabilities = _softmax([span.start_logit + span.end_logit for _, span in nbest])
    answers = [
      Answer(text, probability, span.start_logit, span.end_logit, *self._place(example, span, text))
      for (text, span), probability in zip(nbest, probabilities, strict=True)
    ]
    if null is None:
      return Prediction(answers[0].text, answers, None, answers[0].start, answers[0].end)
    best = next((answer for answer in answers if answer.text), None)
    if best is None:
      return Prediction("", answers, NO_SPAN_NULL_ODDS)
    null_odds = null.start_logit + null.end_logit - best.start_logit - best.end_logit
    if null_odds > self._options.null_score_diff_threshold:
      return Prediction("", answers, null_odds)
    return Prediction(best.text, answers, null_odds, best.start, best.end)

  def _nbest(
    self, example: SquadExample, windows: Sequence[WindowLogits]
  ) -> list[tuple[str, _Span]]:
    """The n best spans with different texts, from best to worst."""
    spans = [span for window in windows for span in _window_spans(window, self._options)]
    if self._options.version_2_with_negative:
      spans.append(_null_span(windows))
    spans.sort(key=lambda span: span.start_logit + span.end_logit, reverse=True)
    nbest: dict[str, _Span] = {}
    for span in spans:
      if len(nbest) >= self._options.n_best_size:
        break
      nbest.setdefault(self._text(example, span), span)
    return list(nbest.items())

  def _text(self, example: SquadExample, span: _Span) -> str:
    """The span as it is written in the context."""
    if span.features is None or span.start_index == 0:
      return ""
    if example.context is not None and example.by_offsets:
      start, end = self._places.span(example.context, *span.pieces())
      return example.context.text[start:end]
    ids = span.features.context_ids(span.start_index, span.end_index)
    tokens = self._tokenizer.convert_ids_to_tokens(list(ids))
    tok_text = " ".join(" ".join(tokens).replace(" ##", "").replace("##", "").split())
    orig_text = _words_text(example, span)
    return get_final_text(
      tok_text, orig_text, self._alignments[orig_text], self._options.verbose_logging
    )

  def _place(
    self, example: SquadExample, span: _Span, text: str
  ) -> tuple[int, int] | tuple[None, None]:
    """The characters [start, end) of the context that the model chose.

    Where the original's way answers with whole words, it is those.
    """
    context = example.context
    if context is None or span.features is None or span.start_index == 0:
      return None, None
    if not example.by_offsets and text == _words_text(example, span):
      first, last = span.words()
      return context.starts[first], context.starts[last] + len(context.words[last])
    return self._places.span(context, *span.pieces())


def _words_text(example: SquadExample, span: _Span) -> str:
  """The words of the context that a span touches."""
  first, last = span.words()
  return " ".join(example.doc_tokens[first : last + 1])


def _window_spans(window: WindowLogits, options: PredictionOptions) -> Iterator[_Span]:
  """The spans of a window made of one of the n best starts and one of the n best ends.

  They lie in the context, start where this window gives the most context, and are not too long.
  """
  features = window.features
  starts = _best_indexes(window.start_logits, options.n_best_size)
  ends = _best_indexes(window.end_logits, options.n_best_size)
  first, last = features.first_doc_token, features.num_tokens - 2
  starts = starts[(starts >= first) & (starts <= last)]
  starts = starts[features.max_context[starts - first]]
  ends = ends[(ends >= first) & (ends <= last)]
  length = ends - starts[:, None] + 1
  for i, j in zip(*np.nonzero((length >= 1) & (length <= options.max_answer_length)), strict=True):
    start, end = int(starts[i]), int(ends[j])
    yield _Span(
      features, start, end, float(window.start_logits[start]), float(window.end_logits[end])
    )


def _best_indexes(logits: np.ndarray, n_best_size: int) -> np.ndarray:
  """Indices of the n highest logits, from high to low; of equal ones the first comes first."""
  return np.argsort(-np.asarray(logits, np.float64), kind="stable")[:n_best_size]


def _null_span(windows: Sequence[WindowLogits]) -> _Span:
  """ "No answer" with the least score that any window gives it; logits 0 without windows."""
  spans = [
    _Span(window.features, 0, 0, float(window.start_logits[0]), float(window.end_logits[0]))
    for window in windows
  ]
  return min(
    spans,
    key=lambda span: span.start_logit + span.end_logit,
    default=_Span(None, 0, 0, 0.0, 0.0),
  )


def _softmax(scores: Sequence[float]) -> list[float]:
  """Probabilities in double precision, summed from left to right as the original does."""
  highest = max(scores)
  exponentials = [math.exp(score - highest) for score in scores]
  # Not by sum(), which since Python 3.12 makes up for rounding and ends in another last digit.
  total = functools.reduce(operator.add, exponentials)
  return [value / total for value in exponentials]


@dataclasses.dataclass(frozen=True, slots=True)
class Alignment:
  """A text beside its basic tokens.

  Attributes:
    tok_text: the tokens, joined by spaces.
    to_orig: index in tok_text -> index in the text, of all but spaces; None where these are not
      equally many.
  """

  tok_text: str
  to_orig: dict[int, int] | None


def align(orig_text: str, tok_text: str) -> Alignment:
  """Pairs the characters of both texts, spaces left out, one by one."""
  orig_positions = [i for i, char in enumerate(orig_text) if char != " "]
  tok_positions = [i for i, char in enumerate(tok_text) if char != " "]
  if len(orig_positions) != len(tok_positions):
    return Alignment(tok_text, None)
  return Alignment(tok_text, dict(zip(tok_positions, orig_positions, strict=True)))


def get_final_text(
  pred_text: str, orig_text: str, alignment: Alignment, verbose_logging: bool = False
) -> str:
  """Projects a tokenized prediction onto the text that it was tokenized from.

  `pred_text` is lower-cased, stripped of accents, and cut between words and punctuation;
  "steve smith" shall become "Steve Smith" of the original "Steve Smith's". Where that is
  impossible, `orig_text` is the answer (the original's `get_final_text`).

  Args:
    pred_text: word pieces of the prediction, joined.
    orig_text: the words of the context that the prediction touches.
    alignment: of `orig_text` and its basic tokens.
    verbose_logging: log why `orig_text` is returned.

  Returns:
    A part of `orig_text`.
  """
  start = alignment.tok_text.find(pred_text)
  to_orig = alignment.to_orig or {}
  orig_start, orig_end = to_orig.get(start), to_orig.get(start + len(pred_text) - 1)
  if start >= 0 and orig_start is not None and orig_end is not None:
    return orig_text[orig_start : orig_end + 1]
  if verbose_logging:
    texts = (orig_text, alignment.tok_text)
    if start < 0:
      logging.info("Unable to find text: '%s' in '%s'", pred_text, orig_text)
    elif alignment.to_orig is None:
      logging.info("Length not equal after stripping spaces: '%s' vs '%s'", *texts)
    else:
      logging.info("Couldn't map the ends of '%s': '%s' vs '%s'", pred_text, *texts)
  return orig_text


def predictions_by_question(
  examples: Sequence[SquadExample],
  windows: Iterable[WindowLogits],
  finder: AnswerFinder,
) -> Iterator[tuple[SquadExample, Prediction]]:
  """Yields an answer as soon as the logits of all windows of its question are there.

  Args:
    examples: all questions.
    windows: logits in the order of the windows' unique ids.
    finder: chooses the answers.
  """
  pending: list[WindowLogits] = []
  done = 0
  for window in windows:
    # Questions about an empty context have no window.
    while done < window.features.example_index:
      yield examples[done], finder.predict(examples[done], pending)
      pending = []
      done += 1
    pending.append(window)
  for example in examples[done:]:
    yield example, finder.predict(example, pending)
    pending = []


def write_predictions(
  predictions: Mapping[str, Prediction],
  output_prediction_file: str,
  output_nbest_file: str,
  output_null_log_odds_file: str | None = None,
) -> None:
  """Writes the original's files: JSON with an indent of 4 and a line feed at the end.

  Args:
    predictions: by qas_id, in the order to be written.
    output_prediction_file: {qas_id: text}.
    output_nbest_file: {qas_id: [{text, probability, start_logit, end_logit}, ...]}.
    output_null_log_odds_file: {qas_id: null_odds}; SQuAD 2.0 only.
  """
  _write_json(output_prediction_file, {key: value.text for key, value in predictions.items()})
  _write_json(
    output_nbest_file,
    {
      key: [{name: getattr(answer, name) for name in _NBEST_FIELDS} for answer in value.nbest]
      for key, value in predictions.items()
    },
  )
  if output_null_log_odds_file:
    odds = {key: value.null_odds for key, value in predictions.items()}
    _write_json(output_null_log_odds_file, odds)


def _write_json(path: str, value: Any) -> None:
  with atomic_writer(path) as file:
    file.write(json.dumps(value, indent=4) + "\n")
