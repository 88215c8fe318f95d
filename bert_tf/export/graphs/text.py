"""The graphs that are exported: what a served model takes and what it answers.

B requests in a batch, S tokens of the longest one, L labels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

import keras
import numpy as np
import tensorflow as tf

from bert_tf.data.padded_lengths import round_up
from bert_tf.document_classifier import num_windows
from bert_tf.export.graphs.frozen_model import FrozenModel
from bert_tf.export.graphs.text_inputs import SequencePacker, checked_features, parse_examples
from bert_tf.export.options import TextOptions
from bert_tf.tokenization import InGraphTokenizer

Signatures = dict[str, Callable[..., dict[str, tf.Tensor]]]


class TextModule(tf.Module):
  """What every export has: the tokenizer, the weights, and signatures for ids and for text."""

  takes_pairs: ClassVar[bool] = True

  def __init__(self, model: keras.Model, text: TextOptions):
    """Copies the weights of `model` and reads the vocabulary."""
    super().__init__(name="export")
    self.config = model.config
    self.text = text
    self.tokenizer = InGraphTokenizer(text.tokens, text_ops=text.text_ops, settings=text.tokenizer)
    self.frozen = FrozenModel(model)
    vocabulary = self.tokenizer.vocab
    self._tokens = tf.constant(list(vocabulary))
    self.packer = SequencePacker(
      vocabulary["[CLS]"],
      vocabulary["[SEP]"],
      text.max_seq_length,
      text.static_length,
      text.long_text,
    )
    self._longest = text.most_ids if text.long_text.in_windows else None

    # Traced once and called by all signatures: with twelve layers, tracing takes seconds.
    self.tokenize = once(self.tokenizer, tf.TensorSpec([None], tf.string))
    self.answer_ids = once(self.answers, self.tensor_specs())
    self.answer_text = once(lambda ids: self.answers(self.compact(ids)), self.tensor_specs())

  def compact(self, features: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Tells the encoder to leave out the padding of texts, where shapes may follow their lengths.

    Not of ids from outside, where the mask may be anything and logits of padding are wanted too.
    """
    # Documents are cut into windows first.
    if self.text.static_length or self.text.long_text.in_windows:
      return dict(features)
    places = tf.where(tf.reshape(features["input_mask"], [-1]) > 0)[:, 0]
    return {**features, "token_places": _with_a_common_size(places)}

  def answers(self, features: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """The outputs of this kind of model for `input_ids`, `input_mask`, `segment_ids` [B, S]."""
    raise NotImplementedError

  def features(self, text: tf.Tensor, text_pair: tf.Tensor | None = None) -> dict[str, tf.Tensor]:
    """Turns strings [B] into the encoder's inputs."""
    return self.packer(*self._both(text, text_pair))

  def _both(
    self, text: tf.Tensor, text_pair: tf.Tensor | None
  ) -> tuple[tf.RaggedTensor, tf.RaggedTensor]:
    first = self.pieces(text)
    return first, first[:, :0] if text_pair is None else self.pieces(text_pair)

  def pieces(self, text: tf.Tensor) -> tf.RaggedTensor:
    """Ids of strings [B] without special tokens: int32 [B, (tokens)]."""
    return self.tokenize(text)

  def answers_to_text(
    self, text: tf.Tensor, text_pair: tf.Tensor | None = None
  ) -> dict[str, tf.Tensor]:
    """The outputs for strings [B], and `truncated`, bool [B]: whether a part was not read."""
    both = self._both(text, text_pair)
    return {**self.answer_text(self.packer(*both)), "truncated": self.packer.truncated(*both)}

  def tensor_specs(self) -> dict[str, tf.TensorSpec]:
    """The inputs of the signature `tensors`."""
    length = self.text.max_seq_length if self.text.static_length else None
    names = ("input_ids", "input_mask", "segment_ids")
    return {name: tf.TensorSpec([None, length], tf.int32, name=name) for name in names}

  def signatures(self, pairs: bool = False) -> Signatures:
    """The concrete functions to save, by name.

    Args:
      pairs: whether `serving_default` takes two texts, as the model did in training.
    """

    def of_text(text):
      return self.answers_to_text(text)

    def of_pairs(text, text_pair):
      return self.answers_to_text(text, text_pair)

    takes_pairs = self.takes_pairs and not self.text.long_text.in_windows
    pair_function = concrete(of_pairs, strings("text", "text_pair")) if takes_pairs else None
    return {
      "serving_default": pair_function if pairs else concrete(of_text, strings("text")),
      **({"pairs": pair_function} if pair_function else {}),
      **self.id_signatures(),
    }

  def id_signatures(self) -> Signatures:
    """Those for ids, and the one that shows what text becomes."""

    def of_tensors(input_ids, input_mask, segment_ids):
      ids = {"input_ids": input_ids, "input_mask": input_mask, "segment_ids": segment_ids}
      return self.answer_ids(checked_features(ids, self.config, self._longest))

    def of_examples(examples):
      return self.answer_ids(self.parsed(examples))

    return {
      "tensors": concrete(of_tensors, self.tensor_specs()),
      "examples": concrete(of_examples, strings("examples")),
      "tokenize": self.tokenize_signature(),
    }

  def parsed(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
    """The features of serialized tf.Examples, string [B], of the shape that `tensors` takes."""
    length = self.text.max_seq_length if self.text.static_length else None
    return checked_features(parse_examples(examples, length), self.config, self._longest)

  def tokenize_signature(self):
    """What two texts become, and how much of them there is.

    The features and `tokens`, string [B, S]; `num_tokens`, int32 [B], how many of them are no
    padding; `num_pieces`, int32 [B], pieces of both texts before any is cut off, and `truncated`,
    bool [B], whether one was; `num_windows`, int32 [B], how many sequences the encoder reads for
    them.
    """

    def tokenize(text, text_pair):
      first, second = self._both(text, text_pair)
      features = self.packer(first, second)
      pieces = first.row_lengths() + second.row_lengths()
      return {
        **features,
        "tokens": tf.gather(self._tokens, features["input_ids"]),
        "num_tokens": tf.reduce_sum(features["input_mask"], axis=1),
        "num_pieces": tf.cast(pieces, tf.int32),
        "num_windows": tf.cast(self.window_counts(first, second), tf.int32),
        "truncated": self.packer.truncated(first, second),
      }

    return concrete(tokenize, strings("text", "text_pair"))

  def window_counts(self, first: tf.RaggedTensor, second: tf.RaggedTensor) -> tf.Tensor:
    """How many sequences the encoder reads for two texts in pieces, int [B]."""
    long_text, longest = self.text.long_text, self.text.max_seq_length
    if not long_text.in_windows:
      return tf.ones_like(first.row_lengths())
    num_tokens = tf.reduce_sum(self.packer(first, second)["input_mask"], axis=1)
    return num_windows(num_tokens - 2, longest - 2, long_text.stride(longest))

  def widths(self) -> dict[str, dict[str, str]]:
    """Signature -> output -> the output that counts how much of its second axis is a row's own.

    Of the others in a batch comes the rest; a server cuts it off. Outputs that are as wide as the
    ids of a request are not among them.
    """
    names = ("input_ids", "input_mask", "segment_ids", "tokens")
    return {"tokenize": dict.fromkeys(names, "num_tokens")}


def _with_a_common_size(places: tf.Tensor) -> tf.Tensor:
  """Repeats the first place until they are as many as `round_up` says."""
  count = tf.size(places)
  return tf.pad(places, [[0, round_up(count) - count]])


def once(function: Callable, *specs: object) -> Callable:
  """A function of the graph that is traced for `specs` alone.

  Behind a plain function, since a SavedModel keeps the traces of one that it can see.
  """
  graph = tf.function(function, input_signature=specs, autograph=False)
  return lambda *inputs: graph(*inputs)


def concrete(function: Callable, specs: Mapping[str, tf.TensorSpec]):
  """Traces a function whose arguments are named and typed by `specs`."""
  return tf.function(function, autograph=False).get_concrete_function(**specs)


def strings(*names: str) -> dict[str, tf.TensorSpec]:
  """Inputs that are rows of strings."""
  return {name: tf.TensorSpec([None], tf.string, name=name) for name in names}


def of_text_examples(
  module: TextModule, outputs: Mapping[str, str]
) -> Callable[..., dict[str, tf.Tensor]]:
  """The signature of TensorFlow Serving's Classify or Regress.

  Its input is `inputs`, string [B]: serialized tf.Examples with `text` and, where the model does
  not read documents in windows, if they like, `text_pair`.

  Args:
    module: what answers.
    outputs: those that the method wants -> what the module calls them.
  """
  features = {"text": tf.io.FixedLenFeature([], tf.string)}
  if not module.text.long_text.in_windows:
    features["text_pair"] = tf.io.FixedLenFeature([], tf.string, default_value="")

  def answer(inputs):
    found = module.answers_to_text(**tf.io.parse_example(inputs, features))
    return {name: found[own] for name, own in outputs.items()}

  return concrete(answer, strings("inputs"))


class ClassifierModule(TextModule):
  """One label for every text."""

  def __init__(
    self,
    model: keras.Model,
    text: TextOptions,
    labels: Sequence[str],
    thresholds: np.ndarray | None = None,
  ):
    """Args: as TextModule; `labels`, the names of the model's L outputs in their order;
    `thresholds`, from which probabilities they are given, see the module of that name.
    """
    super().__init__(model, text)
    self._labels = tf.constant(list(labels))
    self._thresholds = None if thresholds is None else tf.constant(thresholds, tf.float32)

  def answers(self, features: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """`label` [B], the likeliest, or what the threshold says; `labels`, `probabilities` and
    `logits` [B, L].
    """
    logits = self.frozen(dict(features))["logits"]
    probabilities = tf.nn.softmax(logits)
    label = tf.argmax(logits, axis=-1)
    if self._thresholds is not None:
      label = tf.cast(probabilities[:, 1] > self._thresholds[0], tf.int64)
    return {
      "label": tf.gather(self._labels, label),
      "labels": tf.broadcast_to(self._labels, tf.shape(logits)),
      "probabilities": probabilities,
      "logits": logits,
    }

  def signatures(self, pairs: bool = False) -> Signatures:
    """As TextModule, and `classify`: `classes` and `scores` [B, L] of tf.Examples of text."""

    outputs = {"classes": "labels", "scores": "probabilities"}
    return {**super().signatures(pairs), "classify": of_text_examples(self, outputs)}


class MultiLabelModule(ClassifierModule):
  """Any number of labels for every text, each with a probability of its own."""

  def answers(self, features: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """`labels`, `probabilities` (a sigmoid each) and `logits`, [B, L]; and `chosen`, bool [B, L],
    which of the labels are given: those over one half, or over their thresholds.
    """
    logits = self.frozen(dict(features))["logits"]
    probabilities = tf.sigmoid(logits)
    over = logits > 0 if self._thresholds is None else probabilities > self._thresholds
    return {
      "labels": tf.broadcast_to(self._labels, tf.shape(logits)),
      "chosen": over,
      "probabilities": probabilities,
      "logits": logits,
    }


class RegressionModule(TextModule):
  """A number for every text."""

  def answers(self, features: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """`score`, float32 [B]."""
    return {"score": tf.squeeze(self.frozen(dict(features))["logits"], axis=-1)}

  def signatures(self, pairs: bool = False) -> Signatures:
    """As TextModule, and `regress`: `outputs` [B] of tf.Examples of text."""

    return {**super().signatures(pairs), "regress": of_text_examples(self, {"outputs": "score"})}
