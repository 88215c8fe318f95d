"""What stands on top of the encoder: one Keras layer for each of BERT's outputs.

Axes as in modeling.py; P predictions per sequence, V vocabulary, L labels. Logits are float32.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import keras
import tensorflow as tf

from bert_tf import ops
from bert_tf.config import BertConfig
from bert_tf.keras_model import BertKerasModel, serializable
from bert_tf.layers import Dense, LayerNorm, create_initializer
from bert_tf.modeling import BertModel

# A Keras dtype policy or its name; None: the global one.
Dtype: TypeAlias = "str | keras.DTypePolicy | None"


class OutputLayer(keras.layers.Layer):
  """A linear layer to a few logits, stored as the original does: `output_weights` [L, H]."""

  def __init__(
    self,
    num_outputs: int,
    hidden_size: int,
    initializer_range: float,
    scale: tuple[float, float] | None = None,
    **kwargs,
  ):
    """Args: `scale`, mean and deviation of what is predicted, in whose unit the layer counts."""
    super().__init__(**kwargs)
    self._shape = (num_outputs, hidden_size)
    self._initializer_range = initializer_range
    self._scale = scale

  @property
  def output_shape(self) -> tuple[int | None, ...]:
    """[rows, L]; for `summary`."""
    return (None, self._shape[0])

  def build(self, input_shape=None):
    """Creates `output_weights` [L, H] and `output_bias` [L]."""
    self.output_weights = self.add_weight(
      name="output_weights",
      shape=self._shape,
      initializer=create_initializer(self._initializer_range),
    )
    self.output_bias = self.add_weight(
      name="output_bias", shape=self._shape[:1], initializer="zeros", autocast=False
    )

  def call(self, x: tf.Tensor) -> tf.Tensor:
    """[rows, H] -> float32 [rows, L]."""
    logits = tf.matmul(x, tf.cast(self.output_weights, x.dtype), transpose_b=True)
    logits = tf.nn.bias_add(tf.cast(logits, tf.float32), self.output_bias.value)
    if self._scale is None:
      return logits
    mean, deviation = self._scale
    return mean + deviation * logits


class _Transform(keras.layers.Layer):
  """Dense, activation and normalisation before the masked-LM output (`transform` scope)."""

  def __init__(self, config: BertConfig, **kwargs):
    super().__init__(name="transform", **kwargs)
    width = config.hidden_size
    self._activation = ops.get_activation(config.hidden_act)
    self._dense = Dense(
      width, width, config.initializer_range, name="dense", dtype=self.dtype_policy
    )
    self._layer_norm = LayerNorm(width, config.layer_norm_eps, dtype=self.dtype_policy)

  def build(self, input_shape=None):
    self._dense.build()
    self._layer_norm.build()

  def call(self, x: tf.Tensor) -> tf.Tensor:
    return self._layer_norm(self._activation(self._dense(x)))


class MaskedLM(keras.layers.Layer):
  """Predicts masked words with the word embeddings as output weights (paper, 3.1, task 1)."""

  def __init__(self, config: BertConfig, **kwargs):
    super().__init__(name="predictions", **kwargs)
    self._vocab_size = config.vocab_size
    self._transform = _Transform(config, dtype=self.dtype_policy)

  def build(self, input_shape=None):
    """Creates the transform and `output_bias` [V]."""
    self._transform.build()
    self.output_bias = self.add_weight(
      name="output_bias", shape=[self._vocab_size], initializer="zeros", autocast=False
    )

  def call(self, vectors: tf.Tensor, word_embeddings: tf.Tensor) -> tf.Tensor:
    """Vectors [rows, H] at the masked positions, table [V, H] -> float32 logits [rows, V]."""
    hidden = self._transform(vectors)
    logits = tf.matmul(hidden, tf.cast(word_embeddings, hidden.dtype), transpose_b=True)
    return tf.nn.bias_add(tf.cast(logits, tf.float32), self.output_bias.value)


class _PretrainingScope(keras.layers.Layer):
  """The variable scope `cls` with the two pretraining heads, or the masked-LM head alone."""

  def __init__(self, config: BertConfig, next_sentence: bool, **kwargs):
    super().__init__(name="cls", **kwargs)
    self.predictions = MaskedLM(config, dtype=self.dtype_policy)
    self.seq_relationship = None
    if next_sentence:
      width, std = config.hidden_size, config.initializer_range
      self.seq_relationship = OutputLayer(
        2, width, std, name="seq_relationship", dtype=self.dtype_policy
      )

  @property
  def output_shape(self) -> tuple[int | None, ...]:
    """[B * P, V], of the masked-LM logits; for `summary`."""
    return (None, self.predictions.output_bias.shape[0])

  def build(self, input_shape=None):
    self.predictions.build()
    if self.seq_relationship is not None:
      self.seq_relationship.build()


class TaskModel(BertKerasModel):
  """An encoder, `bert`, and a head; what all models of this file have in common.

  Their arguments are those of `BertModel` and what is said of each.
  """

  def __init__(
    self,
    name: str,
    config: BertConfig,
    dtype: Dtype = None,
    recompute_activations: bool = False,
    add_pooler: bool = True,
  ):
    super().__init__(name=name, dtype=dtype)
    self.config = config
    self.recompute_activations = recompute_activations
    self.bert = BertModel(config, self.dtype_policy, recompute_activations, add_pooler=add_pooler)

  def _add_head(self, head: keras.layers.Layer) -> keras.layers.Layer:
    head.build(None)
    self.built = True
    return head

  def _output_layer(
    self, num_outputs: int, scale: tuple[float, float] | None = None
  ) -> OutputLayer:
    """The layer of a fine-tuning task.

    The original creates `output_weights` and `output_bias` outside of any variable scope. A
    Keras layer always is a scope; `checkpoints.names` leaves the scope `task` out. The
    original fixes the initial deviation at 0.02, whatever the config says.
    """
    return OutputLayer(
      num_outputs, self.config.hidden_size, 0.02, scale, name="task", dtype=self.dtype_policy
    )


@serializable
class PretrainingModel(TaskModel):
  """BERT with its masked-LM and next-sentence heads; or, without the latter, a masked LM.

  A masked LM has no pooler, as nothing else reads the pooled vector.
  """

  def __init__(
    self,
    config: BertConfig,
    dtype: Dtype = None,
    recompute_activations: bool = False,
    next_sentence: bool = True,
  ):
    super().__init__("pretraining", config, dtype, recompute_activations, next_sentence)
    self.next_sentence = next_sentence
    self.cls = self._add_head(_PretrainingScope(config, next_sentence, dtype=self.dtype_policy))

  def get_config(self) -> dict[str, Any]:
    """The arguments of the constructor."""
    return {**super().get_config(), "next_sentence": self.next_sentence}

  def call(
    self,
    features: dict[str, tf.Tensor],
    training: bool = False,
    dropout_seed: tf.Tensor | None = None,
  ) -> dict[str, tf.Tensor]:
    """Predicts the words at `masked_lm_positions` and whether the second text follows.

    Args:
      features: those of `BertModel` and `masked_lm_positions`, int [B, P].
      training: whether to apply dropout.
      dropout_seed: int64 [2], see `BertModel`.

    Returns:
      `masked_lm_logits`, float32 [B * P, V]; with the head `next_sentence_logits`, float32
      [B, 2] (of packed rows [B * C, 2]), where class 0 is "follows" and 1 is "random"; and the
      outputs of `BertModel`, while training of the last layer only those that these are made of.
    """
    positions, wanted = tf.cast(features["masked_lm_positions"], tf.int32), None
    if training:
      cls = features.get("cls_positions", tf.zeros_like(positions[:, :1]))
      cls = tf.cast(cls, tf.int32) if self.next_sentence else positions[:, :0]
      wanted = tf.concat([cls, positions], axis=1)
      positions = tf.zeros_like(positions) + tf.range(tf.shape(cls)[1], tf.shape(wanted)[1])
    outputs = self.bert(
      features, training=training, dropout_seed=dropout_seed, wanted_positions=wanted
    )
    vectors = ops.gather_positions(outputs["sequence_output"], positions)
    table = self.bert.embeddings.word_embeddings.value
    outputs["masked_lm_logits"] = self.cls.predictions(vectors, table)
    if self.next_sentence:
      outputs["next_sentence_logits"] = self.cls.seq_relationship(outputs["pooled_output"])
    return outputs


@serializable
class ClassifierModel(TaskModel):
  """BERT with one linear layer on the pooled vector: classification or regression."""

  def __init__(
    self,
    config: BertConfig,
    num_labels: int,
    dtype: Dtype = None,
    recompute_activations: bool = False,
    label_scale: tuple[float, float] | None = None,
  ):
    """Args: `label_scale`, mean and deviation of the labels of a regression, in whose unit its
    weights count; see `model_dir.label_scale`.
    """
    super().__init__("classifier", config, dtype, recompute_activations)
    self.num_labels = num_labels
    self.label_scale = label_scale
    self.head = self._add_head(self._output_layer(num_labels, label_scale))

  def get_config(self) -> dict[str, Any]:
    """The arguments of the constructor."""
    own = {"num_labels": self.num_labels, "label_scale": self.label_scale}
    return {**super().get_config(), **own}

  def call(
    self,
    features: dict[str, tf.Tensor],
    training: bool = False,
    dropout_seed: tf.Tensor | None = None,
  ) -> dict[str, tf.Tensor]:
    """Features of `BertModel` -> its outputs and `logits`, float32 [B, L], packed [B * C, L].

    While training, a tenth of the pooled vector is dropped, whatever the config says, as in the
    original's `create_model`, and the last layer is computed for [CLS] only.
    """
    wanted = None
    if training:
      first = tf.zeros([tf.shape(features["input_ids"])[0], 1], tf.int32)
      wanted = tf.cast(features.get("cls_positions", first), tf.int32)
    outputs = self.bert(
      features, training=training, dropout_seed=dropout_seed, wanted_positions=wanted
    )
    pooled = outputs["pooled_output"]
    if training:
      pooled = head_dropout(dropout_seed, self.config)(pooled, 0.1)
    return {**outputs, "logits": self.head(pooled)}


@serializable
class TokenClassifierModel(TaskModel):
  """BERT with one linear layer on every token: named entities and other tags."""

  def __init__(
    self,
    config: BertConfig,
    num_labels: int,
    dtype: Dtype = None,
    recompute_activations: bool = False,
    add_pooler: bool = True,
  ):
    super().__init__("token_classifier", config, dtype, recompute_activations, add_pooler)
    self.num_labels = num_labels
    self.head = self._add_head(self._output_layer(num_labels))

  def get_config(self) -> dict[str, Any]:
    """The arguments of the constructor."""
    added = self.bert.pooler is not None
    return {**super().get_config(), "num_labels": self.num_labels, "add_pooler": added}

  def call(
    self,
    features: dict[str, tf.Tensor],
    training: bool = False,
    dropout_seed: tf.Tensor | None = None,
  ) -> dict[str, tf.Tensor]:
    """Features of `BertModel` -> its outputs and `logits`, float32 [B, S, L]."""
    outputs = self.bert(features, training=training, dropout_seed=dropout_seed)
    sequence = outputs["sequence_output"]
    if training:
      sequence = head_dropout(dropout_seed, self.config)(sequence, 0.1)
    return {**outputs, "logits": _per_token(self.head, sequence)}


class _SquadScope(keras.layers.Layer):
  """The variable scope `cls/squad`."""

  def __init__(self, config: BertConfig, **kwargs):
    super().__init__(name="cls", **kwargs)
    self.squad = OutputLayer(2, config.hidden_size, 0.02, name="squad", dtype=self.dtype_policy)

  @property
  def output_shape(self) -> tuple[int | None, ...]:
    """[B * S, 2]; for `summary`."""
    return (None, 2)

  def build(self, input_shape=None):
    self.squad.build()


@serializable
class SpanModel(TaskModel):
  """BERT with a start and an end score for every token (paper, 4.2)."""

  def __init__(
    self,
    config: BertConfig,
    dtype: Dtype = None,
    recompute_activations: bool = False,
    add_pooler: bool = True,
  ):
    super().__init__("span", config, dtype, recompute_activations, add_pooler)
    self.cls = self._add_head(_SquadScope(config, dtype=self.dtype_policy))

  def get_config(self) -> dict[str, Any]:
    """The arguments of the constructor."""
    return {**super().get_config(), "add_pooler": self.bert.pooler is not None}

  def call(
    self,
    features: dict[str, tf.Tensor],
    training: bool = False,
    dropout_seed: tf.Tensor | None = None,
  ) -> dict[str, tf.Tensor]:
    """Features of `BertModel` -> its outputs, `start_logits` and `end_logits`, float32 [B, S]."""
    outputs = self.bert(features, training=training, dropout_seed=dropout_seed)
    logits = _per_token(self.cls.squad, outputs["sequence_output"])  # [B, S, 2]
    start, end = tf.unstack(logits, axis=-1)
    return {**outputs, "start_logits": start, "end_logits": end}


def head_dropout(dropout_seed: tf.Tensor | None, config: BertConfig) -> ops.Dropout:
  """The dropout of a head, whose masks are independent of those of the encoder."""
  return ops.Dropout.of(dropout_seed).block(config.num_hidden_layers)


def _per_token(layer: OutputLayer, sequence: tf.Tensor) -> tf.Tensor:
  """Applies a layer for rows to every token: [B, S, H] -> [B, S, L]."""
  batch, length, width = tf.unstack(tf.shape(sequence))
  logits = layer(tf.reshape(sequence, [batch * length, width]))
  return tf.reshape(logits, [batch, length, layer.output_bias.shape[0]])
