"""The graph of an exported question-answering model.

B questions in a batch, N windows over all contexts, S tokens of the longest window, K answers
for each question. What is answered equals predictions.json of run_squad.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import keras
import tensorflow as tf

from bert_tf.export.graphs import question_context
from bert_tf.export.graphs.text import Signatures, TextModule, concrete, once, strings
from bert_tf.export.graphs.text_inputs import head
from bert_tf.export.graphs.windows import Windows, cut_windows, in_chunks, window_counts
from bert_tf.export.options import TextOptions
from bert_tf.tasks.squad.predictions import NO_SPAN_NULL_ODDS, PredictionOptions


class _Nbest(NamedTuple):
  """The answers of one question so far, best first: texts, score and characters of each."""

  count: tf.Tensor
  texts: tf.Tensor
  scores: tf.Tensor
  starts: tf.Tensor
  ends: tf.Tensor


class QuestionModule(TextModule):
  """Answers a question with a part of its context."""

  takes_pairs = False

  def __init__(
    self,
    model: keras.Model,
    text: TextOptions,
    doc_stride: int,
    max_query_length: int,
    prediction: PredictionOptions,
  ):
    """Args as TextModule, and those of run_squad.py's flags of the same names."""
    super().__init__(model, text)
    self._doc_stride = doc_stride
    self._max_query_length = max_query_length
    self._prediction = prediction
    spec = tf.TensorSpec([None], tf.string)
    self._answer_questions = once(self.answer_questions, spec, spec)

  def answers(self, features: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """`start_logits` and `end_logits`, float32 [B, S]."""
    outputs = self.frozen(dict(features))
    return {name: outputs[name] for name in ("start_logits", "end_logits")}

  def answer_questions(self, question: tf.Tensor, context: tf.Tensor) -> dict[str, tf.Tensor]:
    """Answers strings [B] from strings [B].

    Returns:
      `answer`, string [B], "" for no answer; its `start` and `end` (exclusive) in the context, in
      characters, or -1: where the model chose it, which need not be the first place where its text
      occurs; its `probability`; `no_answer_score`, the score of "no answer" minus
      that of the best answer. And the n best: `answers`, `probabilities`, `starts`, `ends`,
      [B, K], of which `num_answers`, int32 [B], count. `truncated`, bool [B], tells whether the
      question was cut off; a context never is.
    """
    pieces = self.tokenize(question)
    ids = head(pieces, tf.minimum(pieces.row_lengths(), self._max_query_length))
    document = question_context.read_context(
      context, self.tokenizer.tokenize_with_offsets, self.tokenizer.basic_tokens
    )
    # In every window [CLS], the question and its [SEP] stand before a part of the context.
    windows = cut_windows(
      document.piece_splits, ids.row_lengths() + 2, self.text.max_seq_length, self._doc_stride
    )
    start_logits, end_logits = self._window_logits(ids, document, windows)
    signature = {
      name: tf.TensorSpec(shape, dtype)
      for name, shape, dtype in (
        ("answer", [], tf.string), ("start", [], tf.int32), ("end", [], tf.int32),
        ("probability", [], tf.float32), ("no_answer_score", [], tf.float32),
        ("answers", [None], tf.string), ("probabilities", [None], tf.float32),
        ("starts", [None], tf.int32), ("ends", [None], tf.int32), ("num_answers", [], tf.int32),
      )
    }  # fmt: skip

    def answer_one(index: tf.Tensor) -> dict[str, tf.Tensor]:
      first, last = windows.splits[index], windows.splits[index + 1]
      mine = _Candidates(start_logits[first:last], end_logits[first:last], windows, first, last)
      return self._choose(mine, document, index)

    indices = tf.range(tf.size(question, tf.int64))
    answers = tf.map_fn(answer_one, indices, fn_output_signature=signature)
    return {**answers, "truncated": ids.row_lengths() < pieces.row_lengths()}

  def _window_logits(self, ids, document, windows) -> tuple[tf.Tensor, tf.Tensor]:
    """Start and end logits, float32 [N, S]; positions of padding cannot win."""
    pieces = tf.ragged.range(windows.start, windows.start + windows.length)
    pieces = pieces.with_flat_values(tf.gather(document.ids, pieces.flat_values))
    features = self.packer(tf.gather(ids, windows.text), pieces)
    logits = in_chunks(self.answer_text, features, {"start_logits": (), "end_logits": ()})
    starts, ends = logits["start_logits"], logits["end_logits"]
    if self.text.static_length:
      # As in the original, where padding takes places among the n best starts and ends.
      return starts, ends
    beyond = (1.0 - tf.cast(features["input_mask"], tf.float32)) * -1e9
    return starts + beyond, ends + beyond

  def _choose(self, candidates: _Candidates, document, index) -> dict[str, tf.Tensor]:
    """The answers of one question."""
    options = self._prediction
    null_score = candidates.null_score()
    spans = candidates.spans(options)
    if options.version_2_with_negative:
      spans = spans.with_null(null_score)
    nbest = self._distinct(spans, document, index)
    if options.version_2_with_negative:
      nbest = _with_null(nbest, null_score)
    else:
      nbest = _with_placeholder(nbest)
    places = tf.range(options.n_best_size + 1) < nbest.count
    scores = tf.where(places, nbest.scores, tf.constant(float("-inf"), tf.float64))
    probabilities = tf.cast(tf.nn.softmax(scores), tf.float32)
    spoken = places & (nbest.texts != "")
    any_answer = tf.reduce_any(spoken)
    best = tf.argmax(tf.cast(spoken, tf.int32), output_type=tf.int32)
    odds = tf.where(any_answer, null_score - nbest.scores[best], NO_SPAN_NULL_ODDS)
    if options.version_2_with_negative:
      null = tf.argmax(tf.cast(nbest.texts == "", tf.int32), output_type=tf.int32)
      threshold = tf.constant(options.null_score_diff_threshold, tf.float64)
      best = tf.where(any_answer & (odds <= threshold), best, null)
    else:
      best = tf.constant(0)
    return {
      "answer": nbest.texts[best],
      "start": nbest.starts[best],
      "end": nbest.ends[best],
      "probability": probabilities[best],
      "no_answer_score": tf.cast(odds, tf.float32),
      "answers": nbest.texts,
      "probabilities": probabilities,
      "starts": nbest.starts,
      "ends": nbest.ends,
      "num_answers": nbest.count,
    }

  def _distinct(self, spans: _Spans, document, index) -> _Nbest:
    """The first `n_best_size` spans whose texts differ."""
    size = self._prediction.n_best_size
    none = _Nbest(
      tf.constant(0),
      tf.fill([size + 1], ""),
      tf.zeros([size + 1], tf.float64),
      tf.fill([size + 1], -1),
      tf.fill([size + 1], -1),
    )

    def look(number, nbest):
      text, start, end = self._text(spans.first[number], spans.last[number], document, index)
      known = tf.reduce_any((nbest.texts == text) & (tf.range(size + 1) < nbest.count))
      added = _added(nbest, text, spans.score[number], start, end)
      return number + 1, _Nbest(*(tf.where(known, a, b) for a, b in zip(nbest, added, strict=True)))

    _, nbest = tf.while_loop(
      lambda number, nbest: (nbest.count < size) & (number < tf.size(spans.score)),
      look,
      (tf.constant(0), none),
      parallel_iterations=1,
    )
    return nbest

  def _text(self, first, last, document, index) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """A span as it is written in the context, and its characters; "" for no answer.

    Args:
      first: first piece among all pieces, or -1 for no answer.
      last: last piece.
      document: the contexts.
      index: which of them.
    """

    def chosen() -> tuple[tf.Tensor, tf.Tensor]:
      # Not those of the outer pieces alone: accents that change places may take letters along.
      start = tf.reduce_min(document.piece_starts[first : last + 1])
      return start, tf.reduce_max(document.piece_ends[first : last + 1])

    def by_offsets() -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
      start, end = chosen()
      return _slice(document.text[index], start, end), start, end

    def by_words() -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
      found, from_word, to_word = self._among_words(first, last, document)
      start, end = tf.cond(found, chosen, lambda: (from_word, to_word))
      text = question_context.single_spaced(_slice(document.text[index], from_word, to_word))
      return text, start, end

    def written() -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
      wanted = self._prediction.answer_offsets
      if wanted is None:
        text, start, end = tf.cond(document.unspaced[index], by_offsets, by_words)
      else:
        text, start, end = by_offsets() if wanted else by_words()
      return text, tf.cast(start, tf.int32), tf.cast(end, tf.int32)

    return tf.cond(first >= 0, written, lambda: (tf.constant(""), tf.constant(-1), tf.constant(-1)))

  def _among_words(self, first, last, document) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Where the text of a span is, the original's way: whether it was found, and its characters.

    The original's `get_final_text`: the pieces are searched for in what BasicTokenizer makes of
    the words, both without spaces, and what corresponds to them in the words is the answer; it is
    all of the words where they are not found, or are all of them.
    """
    predicted = _joined(tf.gather(self._tokens, document.ids[first : last + 1]))
    word, end_word = document.piece_words[first], document.piece_words[last] + 1
    begin, end = document.char_splits[word], document.char_splits[end_word]
    basic = tf.strings.reduce_join(
      document.basic[document.basic_splits[word] : document.basic_splits[end_word]],
      separator=" ",
    )
    # An empty separator would split at white space; such a prediction is never found.
    parts = tf.strings.split(basic, sep=tf.where(predicted == "", "\x00", predicted))
    before = _length(parts[0])
    found = (tf.size(parts) > 1) & (_length(basic) == end - begin)
    found_end = begin + before + _length(predicted)
    found &= (before > 0) | (found_end < end)
    begin, end = tf.where(found, begin + before, begin), tf.where(found, found_end, end)
    return found, document.char_places[begin], document.char_places[end - 1] + 1

  def window_counts(self, first: tf.RaggedTensor, second: tf.RaggedTensor) -> tf.Tensor:
    """As TextModule, of a question and its context."""
    question = tf.minimum(first.row_lengths(), self._max_query_length)
    longest, stride = self.text.max_seq_length, self._doc_stride
    return window_counts(second.row_lengths(), question + 2, longest, stride)

  def signatures(self, pairs: bool = False) -> Signatures:
    """`serving_default` on `question` and `context`; `tensors`, `examples`, `tokenize`."""

    def of_questions(question, context):
      return self._answer_questions(question, context)

    return {
      "serving_default": concrete(of_questions, strings("question", "context")),
      **self.id_signatures(),
    }


class _Spans(NamedTuple):
  """Spans of one question, best first: pieces among all pieces (-1: no answer) and scores."""

  first: tf.Tensor
  last: tf.Tensor
  score: tf.Tensor

  def with_null(self, null_score: tf.Tensor) -> _Spans:
    """The same with "no answer" among them, after spans of the same score."""
    place = tf.reduce_sum(tf.cast(self.score >= null_score, tf.int32))

    def put(values, value):
      return tf.concat([values[:place], [value], values[place:]], axis=0)

    minus = tf.constant(-1, tf.int64)
    return _Spans(put(self.first, minus), put(self.last, minus), put(self.score, null_score))


class _Candidates:
  """The logits of one question's windows, float32 [windows, S]."""

  def __init__(self, start_logits, end_logits, windows: Windows, first, last):
    # Sums of logits are compared in double precision, as Python adds them.
    self._starts = tf.cast(start_logits, tf.float64)
    self._ends = tf.cast(end_logits, tf.float64)
    self._windows = windows
    self._range = slice(first, last)

  def null_score(self) -> tf.Tensor:
    """The least score that a window gives to [CLS]; 0 without windows."""
    scores = (self._starts + self._ends)[:, 0]
    return tf.cond(
      tf.size(scores) > 0,
      lambda: tf.reduce_min(scores),
      lambda: tf.constant(0.0, tf.float64),
    )

  def spans(self, options: PredictionOptions) -> _Spans:
    """Spans of one of the n best starts and one of the n best ends, best first.

    They lie in the context, start where their window gives the most context, and are not too
    long; of equal ones the first comes first, in the order of windows, starts and ends.
    """
    windows, mine = self._windows, self._range
    size = tf.minimum(options.n_best_size, tf.shape(self._starts)[1])
    start_scores, starts = tf.math.top_k(self._starts, size)  # [windows, n]
    end_scores, ends = tf.math.top_k(self._ends, size)
    first, length = windows.first[mine, tf.newaxis], windows.length[mine, tf.newaxis]
    starts, ends = (tf.cast(x, tf.int64) - first for x in (starts, ends))
    shown = windows.max_context[mine].to_tensor(False)
    # A column more, so that there is one to look at.
    shown = tf.pad(shown, [[0, 0], [0, 1]])
    columns = tf.shape(shown, tf.int64)[1] - 1
    inside = (starts >= 0) & (starts < length)
    inside &= tf.gather(shown, tf.clip_by_value(starts, 0, columns), batch_dims=1)
    fits = inside[:, :, tf.newaxis] & (ends < length)[:, tf.newaxis, :]
    span = ends[:, tf.newaxis, :] - starts[:, :, tf.newaxis] + 1
    fits &= (span >= 1) & (span <= options.max_answer_length)
    score = start_scores[:, :, tf.newaxis] + end_scores[:, tf.newaxis, :]
    begin = windows.start[mine, tf.newaxis, tf.newaxis]
    firsts = begin + tf.broadcast_to(starts[:, :, tf.newaxis], tf.shape(span, tf.int64))
    lasts = begin + tf.broadcast_to(ends[:, tf.newaxis, :], tf.shape(span, tf.int64))
    firsts, lasts, score = (tf.boolean_mask(x, fits) for x in (firsts, lasts, score))
    score, order = tf.math.top_k(score, tf.size(score))
    return _Spans(tf.gather(firsts, order), tf.gather(lasts, order), score)


def _slice(text: tf.Tensor, start: tf.Tensor, end: tf.Tensor) -> tf.Tensor:
  """The characters [start, end) of a text."""
  return tf.strings.substr(text, start, end - start, unit="UTF8_CHAR")


def _joined(tokens: tf.Tensor) -> tf.Tensor:
  """Pieces as text: continuations attached to what they continue."""
  text = tf.strings.reduce_join(tokens, separator=" ")
  text = tf.strings.regex_replace(tf.strings.regex_replace(text, " ##", ""), "##", "")
  return tf.strings.strip(tf.strings.regex_replace(text, r"\s+", " "))


def _length(text: tf.Tensor) -> tf.Tensor:
  """Characters other than spaces, int64."""
  bare = tf.strings.regex_replace(text, " ", "")
  return tf.cast(tf.strings.length(bare, unit="UTF8_CHAR"), tf.int64)


def _added(nbest: _Nbest, text, score, start, end) -> _Nbest:
  place = tf.reshape(nbest.count, [1, 1])

  def put(values, value):
    return tf.tensor_scatter_nd_update(values, place, tf.reshape(value, [1]))

  return _Nbest(
    nbest.count + 1,
    put(nbest.texts, text),
    put(nbest.scores, score),
    put(nbest.starts, start),
    put(nbest.ends, end),
  )


def _with_null(nbest: _Nbest, null_score: tf.Tensor) -> _Nbest:
  """Appends "no answer" unless it is there."""
  has = tf.reduce_any((nbest.texts == "") & (tf.range(tf.size(nbest.texts)) < nbest.count))
  added = _added(nbest, tf.constant(""), null_score, tf.constant(-1), tf.constant(-1))
  return _Nbest(*(tf.where(has, a, b) for a, b in zip(nbest, added, strict=True)))


def _with_placeholder(nbest: _Nbest) -> _Nbest:
  """Where nothing can be answered, the original of SQuAD 1.1 says "empty"."""
  zero = tf.constant(0.0, tf.float64)
  added = _added(nbest, tf.constant("empty"), zero, tf.constant(-1), tf.constant(-1))
  return _Nbest(*(tf.where(nbest.count > 0, a, b) for a, b in zip(nbest, added, strict=True)))
