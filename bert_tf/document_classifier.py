"""Classifies documents of any length: reads them in windows and pools what these say.

Sun et al., How to Fine-Tune BERT for Text Classification (arXiv:1905.05583, section 5.3.1),
"hierarchical methods": each window is read for itself, and the vectors of its [CLS] become one by
their mean, their maximum or attention.

Axes: B documents, D ids of the longest one, N windows of all of them, S ids of a window, H hidden
size, L labels.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
import tensorflow as tf

from bert_tf.config import BertConfig
from bert_tf.errors import UserError
from bert_tf.heads import ClassifierModel, Dtype, head_dropout
from bert_tf.keras_model import serializable

POOLINGS = ("mean", "max", "attention")
# So many windows are computed together where there is nothing to learn; more of them would take
# memory without being faster.
_CHUNK = 32
_FEATURES = ("input_ids", "input_mask", "segment_ids")
# [CLS] and [SEP].
_NUM_SPECIAL_TOKENS = 2


class Windows(NamedTuple):
  """The windows of all documents, document by document.

  Attributes:
    features: those of `BertModel`, int32 [N, S].
    document: int64 [N], which document each belongs to.
  """

  features: dict[str, tf.Tensor]
  document: tf.Tensor


def num_windows(length: Any, room: int, stride: int) -> Any:
  """How many windows a text of `length` pieces takes, one at least; a number or a tensor."""
  beyond = length - room
  if isinstance(length, int):
    return 1 + -(-max(beyond, 0) // stride)
  return 1 + (tf.maximum(beyond, 0) + stride - 1) // stride


def cut_windows(features: dict[str, tf.Tensor], max_seq_length: int, doc_stride: int) -> Windows:
  """Cuts documents into windows, each between the document's own [CLS] and [SEP].

  A document that fits into one window is that window, padding and all.

  Args:
    features: `input_ids`, `input_mask` and `segment_ids`, int32 [B, D]: [CLS] text [SEP].
    max_seq_length: S at most.
    doc_stride: how many pieces a window starts after the one before.
  """
  mask = features["input_mask"]
  full = tf.shape(mask)[1]
  lengths = tf.reduce_max(tf.where(mask > 0, tf.range(full) + 1, 0), axis=1)
  pieces = tf.maximum(lengths - _NUM_SPECIAL_TOKENS, 0)
  room = max_seq_length - _NUM_SPECIAL_TOKENS
  counts = num_windows(pieces, room, doc_stride)
  number = tf.ragged.range(counts)
  document = number.value_rowids()
  offset = number.flat_values[:, tf.newaxis] * doc_stride  # [N, 1]
  last = tf.gather(lengths, document)[:, tf.newaxis] - 1  # of the document: its [SEP]
  size = tf.minimum(room, tf.gather(pieces, document)[:, tf.newaxis] - offset)
  column = tf.range(tf.minimum(full, max_seq_length))[tf.newaxis]  # [1, S]
  place = tf.where(column == 0, 0, column + offset)
  place = tf.where(column == size + 1, last, place)
  alone = tf.gather(counts, document)[:, tf.newaxis] == 1
  shown = alone | (column <= size + 1)
  flat = tf.cast(document[:, tf.newaxis], tf.int32) * full + tf.where(alone, column, place)
  flat = tf.where(shown, flat, 0)

  def of_windows(name: str) -> tf.Tensor:
    return tf.where(shown, tf.gather(tf.reshape(features[name], [-1]), flat), 0)

  return Windows({name: of_windows(name) for name in _FEATURES}, document)


def _complete(features: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
  """The three features of `cut_windows`; `BertModel` takes the same for those that are absent."""
  ids = tf.cast(features["input_ids"], tf.int32)
  mask = tf.cast(features.get("input_mask", tf.ones_like(ids)), tf.int32)
  segments = tf.cast(features.get("segment_ids", tf.zeros_like(ids)), tf.int32)
  return {"input_ids": ids, "input_mask": mask, "segment_ids": segments}


class WindowAttention(keras.layers.Layer):
  """Weighs the windows of a document by how well their vectors fit a learnt one.

  It starts from zeros, which weigh all alike: from the mean.
  """

  def __init__(self, hidden_size: int, **kwargs):
    # What is weighed comes as float32, in whatever type the encoder computes.
    super().__init__(name="window_attention", autocast=False, **kwargs)
    self._hidden_size = hidden_size

  @property
  def output_shape(self) -> tuple[int | None, ...]:
    """[B, H]; for `summary`."""
    return (None, self._hidden_size)

  def build(self, input_shape=None):
    """Creates `query` [H]."""
    self.query = self.add_weight(
      name="query", shape=[self._hidden_size], initializer="zeros", autocast=False
    )

  def call(self, vectors: tf.Tensor, document: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """Vectors of windows, float32 [N, H], to those of `count` documents, [B, H]."""
    scores = tf.linalg.matvec(vectors, self.query.value) * self._hidden_size**-0.5  # [N]
    best = tf.math.unsorted_segment_max(tf.stop_gradient(scores), document, count)
    weights = tf.exp(scores - tf.gather(best, document))
    weights /= tf.gather(tf.math.unsorted_segment_sum(weights, document, count), document)
    return tf.math.unsorted_segment_sum(vectors * weights[:, tf.newaxis], document, count)


@serializable
class DocumentClassifierModel(ClassifierModel):
  """BERT with one linear layer on the pooled vectors of a document's windows.

  Of a document of one window it computes what `ClassifierModel` computes of a sequence.
  """

  reads_documents = True

  def __init__(
    self,
    config: BertConfig,
    num_labels: int,
    max_seq_length: int,
    doc_stride: int,
    pooling: str = "mean",
    dtype: Dtype = None,
    recompute_activations: bool = False,
    label_scale: tuple[float, float] | None = None,
  ):
    """Args: `max_seq_length` of a window; `doc_stride`, how many pieces the next starts after it;
    `pooling`, of `POOLINGS`; the others as of `ClassifierModel`.
    """
    super().__init__(config, num_labels, dtype, recompute_activations, label_scale)
    if pooling not in POOLINGS:
      raise UserError(f"`pooling`: expected one of {', '.join(POOLINGS)}, found {pooling!r}")
    self.max_seq_length = max_seq_length
    self.doc_stride = doc_stride
    self.pooling = pooling
    if pooling == "attention":
      self.window_attention = WindowAttention(config.hidden_size, dtype=self.dtype_policy)
      self.window_attention.build(None)

  def get_config(self) -> dict[str, Any]:
    """The arguments of the constructor."""
    own = ("max_seq_length", "doc_stride", "pooling")
    return {**super().get_config(), **{name: getattr(self, name) for name in own}}

  def call(
    self,
    features: dict[str, tf.Tensor],
    training: bool = False,
    dropout_seed: tf.Tensor | None = None,
  ) -> dict[str, tf.Tensor]:
    """Documents to `logits`, float32 [B, L], and `pooled_output`, the vectors [B, H] below them.

    Args:
      features: `input_ids`, `input_mask` and `segment_ids`, int32 [B, D]; see `cut_windows`.
      training: whether to apply dropout, which is that of `ClassifierModel`.
      dropout_seed: int64 [2], see `BertModel`.
    """
    windows = cut_windows(_complete(features), self.max_seq_length, self.doc_stride)
    if training:
      vectors = self._vectors(windows.features, training, dropout_seed)
    else:
      vectors = self._vectors_in_chunks(windows.features)
    pooled = self._pool(vectors, windows.document, tf.shape(features["input_ids"])[0])
    if training:
      pooled = head_dropout(dropout_seed, self.config)(pooled, 0.1)
    return {"pooled_output": pooled, "logits": self.head(pooled)}

  def _vectors(
    self, features: dict[str, tf.Tensor], training: bool, dropout_seed: tf.Tensor | None
  ) -> tf.Tensor:
    """The pooled vectors of windows, [N, H]; in training the last layer is for [CLS] only."""
    wanted = tf.zeros([tf.shape(features["input_ids"])[0], 1], tf.int32) if training else None
    outputs = self.bert(
      features, training=training, dropout_seed=dropout_seed, wanted_positions=wanted
    )
    return outputs["pooled_output"]

  def _vectors_in_chunks(self, features: dict[str, tf.Tensor]) -> tf.Tensor:
    """The same of a few windows after the other, so that long documents take no more memory."""
    count = tf.shape(features["input_ids"])[0]

    def add(begin: tf.Tensor, vectors: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
      part = {name: value[begin : begin + _CHUNK] for name, value in features.items()}
      found = self._vectors(part, training=False, dropout_seed=None)
      return begin + _CHUNK, tf.concat([vectors, found], axis=0)

    empty = tf.zeros([0, self.config.hidden_size], self.compute_dtype)
    _, vectors = tf.while_loop(
      lambda begin, _: begin < count,
      add,
      (tf.constant(0), empty),
      shape_invariants=(tf.TensorShape([]), tf.TensorShape([None, self.config.hidden_size])),
    )
    return vectors

  def _pool(self, vectors: tf.Tensor, document: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """One vector of each document, [B, H]; sums of many windows are float32 ones."""
    wide = tf.cast(vectors, tf.float32)
    if self.pooling == "max":
      pooled = tf.math.unsorted_segment_max(wide, document, count)
    elif self.pooling == "mean":
      pooled = tf.math.unsorted_segment_mean(wide, document, count)
    else:
      pooled = self.window_attention(wide, document, count)
    return tf.cast(pooled, vectors.dtype)
