"""What a trained model can be asked, whatever its head."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from absl import logging

from bert_tf.config import BertConfig
from bert_tf.data.report import TokenizationReport
from bert_tf.errors import UserError
from bert_tf.model_dir import Description, head_kinds
from bert_tf.tasks.long_text import LongText
from bert_tf.tasks.vectors.token_vectors import (
  InputExample,
  InputFeatures,
  convert_examples_to_features,
)
from bert_tf.tokenization import FullTokenizer
from bert_tf.trained_model import inputs, masks
from bert_tf.trained_model.masks import MaskTokenizer

if TYPE_CHECKING:
  import keras

  from bert_tf.tasks.squad.predictions import Prediction
  from bert_tf.trained_model.computation import Computation, Outputs

BATCH_SIZE = 32
# What to call on a model of each head.
_METHODS = {
  head_kinds.CLASSIFICATION: "predict", head_kinds.MULTILABEL: "predict",
  head_kinds.REGRESSION: "predict", head_kinds.TOKENS: "tag",
  head_kinds.QUESTION_ANSWERING: "answer", head_kinds.PRETRAINING: "fill_mask",
  head_kinds.ENCODER: "encode",
}  # fmt: skip


class TrainedModel:
  """A model with its head, tokenizer, configuration and labels; made by `load`.

  Every method takes one text and gives one answer, or takes a list, an array or a column of texts
  and gives an answer for each. Texts are computed in batches of similar length; what is cut off
  because it is longer than `max_seq_length` is said in one line.

  >>> import bert_tf
  >>> bert = bert_tf.load("tiny_bert")
  >>> bert
  <bert_tf.TrainedModel: pretraining, 2 layers of 32; call .fill_mask()>
  >>> bert.fill_mask("The [MASK] is blue.", top_k=1)["filled"] != "The [MASK] is blue."
  True
  >>> copy = bert_tf.load(bert.save("copy"))
  >>> bool((copy.encode("What a film!") == bert.encode("What a film!")).all())
  True

  Attributes:
    model: of Keras, one of `bert_tf.heads`, or a `BertModel`.
    about: what belongs to the weights.
  """

  def __init__(self, model: keras.Model, about: Description):
    """Args: see the attributes; `about` names the head and, where it has some, its labels."""
    self.model = model
    self.about = about

  def __repr__(self) -> str:
    config = self.config
    size = f"{config.num_hidden_layers} layers of {config.hidden_size}"
    labels = f", labels {', '.join(self.labels[:6])}" if self.labels else ""
    return f"<bert_tf.TrainedModel: {self.head}, {size}{labels}; call .{_METHODS[self.head]}()>"

  @property
  def config(self) -> BertConfig:
    """The architecture."""
    return self.about.config

  @property
  def labels(self) -> tuple[str, ...]:
    """Names of the outputs in their order; empty where they have none."""
    return self.about.labels

  @property
  def head(self) -> str:
    """One of `model_dir.HEADS`."""
    return str(self.about.head)

  @property
  def max_seq_length(self) -> int:
    """The longest sequence, in pieces, special tokens included."""
    return self.about.max_seq_length or self.config.max_position_embeddings

  @functools.cached_property
  def tokenizer(self) -> FullTokenizer:
    """How text becomes pieces; raises UserError where there is no vocabulary."""
    return self.about.full_tokenizer() if self.about.tokens else _no_vocabulary()

  @functools.cached_property
  def _compute(self) -> Computation:
    from bert_tf.trained_model.computation import Computation

    return Computation(self.model, self.max_seq_length)

  def encode(
    self,
    texts: Any,
    pooling: str = "mean",
    normalize: bool = False,
    batch_size: int = BATCH_SIZE,
  ) -> np.ndarray:
    """One vector for every text.

    Args:
      texts: see `inputs.texts_of`; of a single text the vector is [H].
      pooling: "mean" of the tokens' vectors, "cls", "max", or "pooler", as `POOLINGS` has them; the
        first three are those of sentence-transformers.
      normalize: make all vectors one unit long, so that a dot product is the cosine.
      batch_size: texts at once.

    Returns:
      float32 [n, H].

    Raises:
      UserError: an unknown pooling, or a pooler that the model has not.
    """
    from bert_tf.trained_model import computation

    if pooling not in computation.POOLINGS:
      raise UserError(
        f"`pooling`: expected one of {', '.join(computation.POOLINGS)}, found {pooling!r}"
      )
    if pooling == "pooler" and getattr(self.model, "bert", self.model).pooler is None:
      raise UserError("`pooling`: expected a model with a pooler, found none; take mean or cls")
    if inputs.is_single(texts):
      return self.encode([texts], pooling, normalize, batch_size)[0]
    outputs = computation.text_vectors(pooling)
    rows = self._run(texts, ("vectors", pooling), outputs, batch_size)
    vectors = _stack(rows, self.config.hidden_size)
    if normalize:
      vectors /= np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
    return vectors

  def fill_mask(self, texts: Any, top_k: int = 5, batch_size: int = BATCH_SIZE) -> Any:
    """The likeliest words for every [MASK].

    Args:
      texts: each with at least one [MASK].
      top_k: how many words for every mask.
      batch_size: texts at once.

    Returns:
      For every text a dictionary, see `masks.answer`.

    Raises:
      UserError: the model has no masked-LM head, or a text no mask, or one that was cut off.
    """
    from bert_tf.trained_model import computation

    self._check_head("fill_mask", head_kinds.PRETRAINING)
    if top_k < 1:
      raise UserError(f"`top_k`: expected at least 1, found {top_k}")
    if inputs.is_single(texts):
      return self.fill_mask([texts], top_k, batch_size)[0]
    lines = [text for text, _ in inputs.texts_of(texts)]
    masks.check_has_masks(lines)
    about = self.about
    self.tokenizer  # noqa: B018  Says so where there is no vocabulary.
    tokenizer = MaskTokenizer(about.vocab_file or about.tokens, settings=about.tokenizer)
    mask_id = tokenizer.convert_tokens_to_ids([masks.MASK])[0]
    top_k = min(top_k, self.config.vocab_size)
    outputs = computation.masked_words(mask_id, top_k)
    rows = self._run(lines, ("masks", top_k), outputs, batch_size, tokenizer)
    return [
      masks.answer(text, _words(tokenizer, ids[:count], best[:count]))
      for text, (ids, best, count) in zip(lines, rows, strict=True)
    ]

  def predict(self, texts: Any, batch_size: int = BATCH_SIZE) -> Any:
    """The answer to every text or pair of texts.

    Returns:
      Of a classifier the likeliest labels, strings [n]; of one with several labels, for every text
      the list of those over a half; both by thresholds where some were chosen; of a regression
      float32 [n].

    Raises:
      UserError: the model has another head.
    """
    from bert_tf.tasks.classification import metrics, thresholds

    if inputs.is_single(texts):
      return self.predict([texts], batch_size)[0]
    logits = self._logits("predict", texts, batch_size)
    if self.head == head_kinds.REGRESSION:
      return logits[:, 0]
    limits = thresholds.of(self.about.settings, self.head, self.labels)
    found = thresholds.decide(logits, metrics.probabilities(logits, self.head), self.head, limits)
    if self.head == head_kinds.MULTILABEL:
      return [[self.labels[place] for place in np.flatnonzero(row)] for row in found]
    return np.array(self.labels)[found]

  def predict_proba(self, texts: Any, batch_size: int = BATCH_SIZE) -> np.ndarray:
    """The probability of every label: float32 [n, L], in the order of `labels`.

    Raises:
      UserError: the model has no labels of texts.
    """
    from bert_tf.tasks.classification import metrics

    self._check_head("predict_proba", head_kinds.CLASSIFICATION, head_kinds.MULTILABEL)
    if inputs.is_single(texts):
      return self.predict_proba([texts], batch_size)[0]
    return metrics.probabilities(self._logits("predict_proba", texts, batch_size), self.head)

  def tag(self, sentences: Any, batch_size: int = BATCH_SIZE) -> list[Any]:
    """The tags of words.

    Args:
      sentences: lists of words, as in training; or texts, which are cut into words.
      batch_size: windows at once.

    Returns:
      Of every list of words as many tags; of every text twos (word, tag).

    Raises:
      UserError: the model does not label words.
    """
    from bert_tf.trained_model import words

    self._check_head("tag", head_kinds.TOKENS)
    if inputs.is_single(sentences):
      return self.tag([sentences], batch_size)[0]
    rows = inputs.plain_list(sentences)
    if not all(isinstance(row, str) for row in rows):
      return [tags for tags, _ in self._tag(words.sentences_of(rows), batch_size)]
    cut = [[text[start:end] for start, end in words.split_words(text)] for text in rows]
    return [
      list(zip(found, tags, strict=True))
      for found, (tags, _) in zip(cut, self._tag(cut, batch_size), strict=True)
    ]

  def entities(self, texts: Any, batch_size: int = BATCH_SIZE) -> list[Any]:
    """The names in every text, from left to right: a list of `words.Entity` for each.

    Raises:
      UserError: the model does not label words.
    """
    from bert_tf.trained_model import words

    self._check_head("entities", head_kinds.TOKENS)
    if inputs.is_single(texts):
      return self.entities([texts], batch_size)[0]
    lines = [text for text, _ in inputs.texts_of(texts)]
    places = [words.split_words(text) for text in lines]
    cut = [[t[start:end] for start, end in p] for t, p in zip(lines, places, strict=True)]
    tags = self._tag(cut, batch_size)
    return [words.entities(*row) for row in zip(lines, places, tags, strict=True)]

  def answer(self, question: Any, context: Any, batch_size: int = BATCH_SIZE) -> Any:
    """The answer to a question, a part of its context, which may be of any length.

    Args:
      question: one, or a list of them.
      context: as many.
      batch_size: windows at once.

    Returns:
      A `Prediction`: `text`, and `nbest`, the best answers with their probabilities.

    Raises:
      UserError: the model does not answer questions.
    """
    from bert_tf.trained_model import questions

    self._check_head("answer", head_kinds.QUESTION_ANSWERING)
    if inputs.is_single(question):
      return self.answer([question], [context], batch_size)[0]
    pairs = inputs.texts_of({"question": question, "context": context})
    answers: list[Prediction] = questions.answer(
      pairs, self.tokenizer, self._compute, self.about, self.max_seq_length, batch_size
    )
    return answers

  def save(
    self, directory: str | os.PathLike[str], overwrite: bool = False, format: str = "tf1"
  ) -> str:
    """Writes the model where `load` and every script find all of it.

    What is written is read again and must compute the same, see `checkpoints.save`.

    Args:
      directory: a new or empty one.
      overwrite: replace a model that was saved there.
      format: "tf1" as Google's releases, "huggingface", "model_garden" or "keras_hub".

    Returns:
      The directory.

    Raises:
      UserError: it holds something else, or cannot be written; it is then as it was.
    """
    from bert_tf.trained_model import saving

    return saving.save(self.model, self.about, os.fspath(directory), overwrite, format)

  def export(self, directory: str | os.PathLike[str], **options: Any) -> str:
    """Exports a SavedModel that takes raw text, as `export_model.py` does.

    Args:
      directory: of the model; the export is a numbered version in it.
      **options: fields of `bert_tf.export.options.ExportOptions`.

    Returns:
      The directory of the version.

    Raises:
      UserError: it cannot be written, or failed its check; nothing is left of it.
    """
    from bert_tf.trained_model import saving

    return saving.export(self.model, self.about, os.path.expanduser(directory), options)

  def _check_head(self, method: str, *heads: str) -> None:
    if self.head not in heads:
      raise UserError(
        f"{method}: expected a model with the head {' or '.join(heads)}, found {self.head}; call"
        f" {_METHODS[self.head]}, or load another model"
      )

  def _logits(self, method: str, texts: Any, batch_size: int) -> np.ndarray:
    from bert_tf.trained_model import computation

    self._check_head(method, *head_kinds.SEQUENCE_HEADS)
    long_text = LongText.of(self.about.settings)
    rows = self._run(texts, "logits", computation.logits, batch_size, long_text=long_text)
    return _stack(rows, len(self.labels) or 1)

  def _tag(self, sentences: list[list[str]], batch_size: int):
    from bert_tf.tasks.ner.features import SentenceEncoder
    from bert_tf.trained_model import words

    doc_stride = self.about.settings.get("doc_stride")
    encoder = SentenceEncoder(self.tokenizer, self.labels, self.max_seq_length, doc_stride)
    return words.tag(sentences, encoder, self._compute, batch_size)

  def _run(
    self,
    texts: Any,
    kind: Any,
    outputs: Outputs,
    batch_size: int,
    tokenizer: FullTokenizer | None = None,
    long_text: LongText | None = None,
  ) -> list[tuple[np.ndarray, ...]]:
    if batch_size < 1:
      raise UserError(f"`batch_size`: expected at least 1, found {batch_size}")
    long_text = long_text or LongText()
    sequences = self._sequences(inputs.texts_of(texts), tokenizer or self.tokenizer, long_text)
    longest = long_text.most_ids(self.max_seq_length)
    return self._compute.run(sequences, kind, outputs, batch_size, longest)

  def _sequences(
    self, texts: Sequence[inputs.Text], tokenizer: FullTokenizer, long_text: LongText
  ) -> list[InputFeatures]:
    report = TokenizationReport()
    examples = (InputExample(i, a, b) for i, (a, b) in enumerate(texts))
    length = self.max_seq_length
    found = convert_examples_to_features(examples, tokenizer, length, report, long_text.cut)
    sequences = list(found)
    if report.cut:
      logging.warning(
        "%d of %d texts are longer than the %d pieces that are read, and were cut;"
        " `max_seq_length` of load() can be at most %d",
        report.cut, report.texts, long_text.most_ids(length), self.config.max_position_embeddings,
      )  # fmt: skip
    report.warn_of_unknown("the texts")
    return sequences


def _no_vocabulary() -> FullTokenizer:
  raise UserError(
    "expected a vocabulary beside the weights, found none; give load() the `vocab_file` of the"
    " model"
  )


def _stack(rows: Sequence[tuple[np.ndarray, ...]], width: int) -> np.ndarray:
  """The first output of every row, float32 [n, width]."""
  found = [row[0] for row in rows]
  return np.stack(found).astype(np.float32) if found else np.zeros([0, width], np.float32)


def _words(
  tokenizer: FullTokenizer, ids: np.ndarray, best: np.ndarray
) -> list[list[tuple[str, float]]]:
  """The words of every mask with their probabilities; ids beyond the vocabulary are padding."""
  count = len(tokenizer.inv_vocab)
  return [
    [(tokenizer.inv_vocab[i], p) for i, p in zip(row, p_row, strict=True) if i < count]
    for row, p_row in zip(ids.tolist(), best.tolist(), strict=True)
  ]
