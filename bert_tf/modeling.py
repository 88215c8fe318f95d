"""BERT (Devlin et al., 2018, arXiv:1810.04805) as Keras layers; read it from top to bottom.

Axes: B batch, S sequence length, N attention heads, D size of one head, H = N * D hidden size,
I intermediate size. Activations travel as [B * S, H] matrices, as in the original, so that
every dense layer is one matrix product.

A variable's path is its name in google-research/bert, because the layers are nested as the
original nests its variable scopes: `bert/encoder/layer_0/attention/self/query/kernel`.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from bert_tf import ops
from bert_tf.config import BertConfig
from bert_tf.execution import ExecutionPlan
from bert_tf.keras_model import BertKerasModel, serializable
from bert_tf.layers import Dense, LayerNorm, ResidualOutput, create_initializer
from bert_tf.names import get_assignment_map_from_checkpoint
from bert_tf.ops import gelu, get_activation

# Under these names the original's modeling.py has them too.
__all__ = [
  "BertConfig", "BertModel", "create_initializer", "gelu", "get_activation",
  "get_assignment_map_from_checkpoint",
]  # fmt: skip


class Embeddings(keras.layers.Layer):
  """Sum of word, segment and position embeddings, normalised (paper, figure 2)."""

  def __init__(self, config: BertConfig, **kwargs):
    super().__init__(name="embeddings", **kwargs)
    self._config = config
    self._layer_norm = LayerNorm(config.hidden_size, config.layer_norm_eps, dtype=self.dtype_policy)

  @property
  def output_shape(self) -> tuple[int | None, ...]:
    """[B * S, H]; for `summary`."""
    return (None, self._config.hidden_size)

  def build(self, input_shape=None):
    """Creates the three tables: [vocabulary, H], [segments, H], [positions, H]."""
    config = self._config

    def add_table(name: str, rows: int):
      return self.add_weight(
        name=name,
        shape=[rows, config.hidden_size],
        initializer=create_initializer(config.initializer_range),
        autocast=False,
      )

    self.word_embeddings = add_table("word_embeddings", config.vocab_size)
    self.token_type_embeddings = add_table("token_type_embeddings", config.type_vocab_size)
    self.position_embeddings = add_table("position_embeddings", config.max_position_embeddings)
    self._layer_norm.build()

  def call(
    self,
    input_ids: tf.Tensor,
    segment_ids: tf.Tensor,
    position_ids: tf.Tensor | None,
    plan: ExecutionPlan,
  ) -> tf.Tensor:
    """[B, S] ids -> [B * S, H] in the compute type; positions of None are 0, 1, 2, ..."""
    config = self._config
    batch, length = tf.unstack(tf.shape(input_ids))
    # A gather from the variable itself would make every later read of it a copy of the table.
    table = tf.convert_to_tensor(self.word_embeddings.value)
    words = tf.gather(table, input_ids)  # [B, S, H]
    # The few segments make a matrix product cheaper than a gather, forward and backward.
    segments = tf.one_hot(tf.reshape(segment_ids, [-1]), config.type_vocab_size)
    segments = tf.matmul(segments, self.token_type_embeddings.value)  # [B * S, H]
    positions = self.position_embeddings.value
    if position_ids is None:
      positions = positions[:length]  # [S, H]
    else:
      positions = tf.gather(tf.convert_to_tensor(positions), position_ids)  # [B, S, H]
    hidden = tf.reshape(words + positions, [batch * length, config.hidden_size]) + segments
    hidden = self._layer_norm(tf.cast(hidden, self.compute_dtype))  # [B * S, H]
    return plan.drop(hidden, config.hidden_dropout_prob)  # [B * S, H]


class SelfAttention(keras.layers.Layer):
  """Multi-headed self-attention without its output projection (arXiv:1706.03762, 3.2.2)."""

  def __init__(self, config: BertConfig, **kwargs):
    super().__init__(name="self", **kwargs)
    self._config = config
    width, std = config.hidden_size, config.initializer_range
    self._query, self._key, self._value = (
      Dense(width, width, std, name=name, dtype=self.dtype_policy)
      for name in ("query", "key", "value")
    )

  def build(self, input_shape=None):
    """Builds the three projections."""
    for layer in (self._query, self._key, self._value):
      layer.build()

  def call(
    self, queries: tf.Tensor, hidden: tf.Tensor, bias: tf.Tensor, plan: ExecutionPlan
  ) -> tuple[tf.Tensor, tf.Tensor]:
    """Mixes the values of every sequence.

    Args:
      queries: [B * S, H], those rows of `hidden` that look (`from_tensor` of the original).
      hidden: [B * S, H], the rows that are looked at (`to_tensor`).
      bias: float32 [B, 1, 1 or S, S], see `ops.attention_bias`.
      plan: how to compute it.

    Returns:
      The contexts, [B * S, H], and the probabilities before dropout, [B, N, S, S].
    """
    config = self._config
    heads, size = config.num_attention_heads, config.hidden_size // config.num_attention_heads
    # Said, not inferred: from an empty batch it could not be.
    batch, length = tf.shape(bias)[0], tf.shape(bias)[3]

    def split(x: tf.Tensor, length: tf.Tensor | int) -> tf.Tensor:
      x = tf.reshape(x, [batch, length, heads, size])  # [B, S, N, D]
      return tf.transpose(x, [0, 2, 1, 3])  # [B, N, S, D]

    query = plan.queries_with_padding(self._query(queries, training=plan.training))  # [B * S, H]
    query = split(query, -1)  # [B, N, S, D]
    key = plan.with_padding(self._key(hidden, training=plan.training))  # [B * S, H]
    value = plan.with_padding(self._value(hidden, training=plan.training))  # [B * S, H]
    key, value = split(key, length), split(value, length)  # [B, N, S, D] both

    scores = tf.matmul(query, key, transpose_b=True)  # [B, N, S, S]
    probs, weights = plan.attention(
      scores, size**-0.5, bias, config.attention_probs_dropout_prob, config.hidden_size
    )  # [B, N, S, S] both, before and after dropout
    context = tf.matmul(weights, value)  # [B, N, S, D]
    context = tf.transpose(context, [0, 2, 1, 3])  # [B, S, N, D]
    context = tf.reshape(context, [-1, config.hidden_size])  # [B * S, H]
    return plan.queries_without_padding(context), probs


class Attention(keras.layers.Layer):
  """The first half of a block: self-attention and its residual output."""

  def __init__(self, config: BertConfig, **kwargs):
    super().__init__(name="attention", **kwargs)
    self._self = SelfAttention(config, dtype=self.dtype_policy)
    self._output = ResidualOutput(config.hidden_size, config, dtype=self.dtype_policy)

  def build(self, input_shape=None):
    """Builds both parts."""
    self._self.build()
    self._output.build()

  def call(
    self, hidden: tf.Tensor, bias: tf.Tensor, plan: ExecutionPlan
  ) -> tuple[tf.Tensor, tf.Tensor]:
    """[B * S, H] -> [B * S, H] and the probabilities [B, N, S, S]."""
    queries = plan.queries(hidden)  # [B * S, H]
    context, probs = self._self(queries, hidden, bias, plan=plan)  # [B * S, H], [B, N, S, S]
    return self._output(context, queries, plan=plan), probs


class Intermediate(keras.layers.Layer):
  """The widening half of the feed-forward layer: [B * S, H] -> [B * S, I]."""

  def __init__(self, config: BertConfig, **kwargs):
    super().__init__(name="intermediate", **kwargs)
    self._activation = config.hidden_act
    self._dense = Dense(
      config.hidden_size,
      config.intermediate_size,
      config.initializer_range,
      name="dense",
      dtype=self.dtype_policy,
    )

  def build(self, input_shape=None):
    """Builds the projection."""
    self._dense.build()

  def call(self, hidden: tf.Tensor, plan: ExecutionPlan) -> tf.Tensor:
    """[B * S, H] -> [B * S, I]."""
    hidden = self._dense(hidden, training=plan.training)  # [B * S, I]
    return plan.activation(self._activation, hidden)  # [B * S, I]


class TransformerBlock(keras.layers.Layer):
  """One layer of the encoder: attention, then feed-forward, each with a residual."""

  def __init__(self, config: BertConfig, index: int, **kwargs):
    super().__init__(name=f"layer_{index}", **kwargs)
    self._attention = Attention(config, dtype=self.dtype_policy)
    self._intermediate = Intermediate(config, dtype=self.dtype_policy)
    self._output = ResidualOutput(config.intermediate_size, config, dtype=self.dtype_policy)

  def build(self, input_shape=None):
    """Builds the three parts."""
    for layer in (self._attention, self._intermediate, self._output):
      layer.build()

  def call(
    self, hidden: tf.Tensor, bias: tf.Tensor, plan: ExecutionPlan
  ) -> tuple[tf.Tensor, tf.Tensor]:
    """[B * S, H] -> [B * S, H] and the probabilities [B, N, S, S]."""
    attended, probs = self._attention(hidden, bias, plan=plan)  # [B * S, H], [B, N, S, S]
    wide = self._intermediate(attended, plan=plan)  # [B * S, I]
    return self._output(wide, attended, plan=plan), probs  # [B * S, H], [B, N, S, S]


class Encoder(keras.layers.Layer):
  """The stack of Transformer blocks."""

  def __init__(self, config: BertConfig, **kwargs):
    super().__init__(name="encoder", **kwargs)
    self._config = config
    self._blocks = [
      TransformerBlock(config, index, dtype=self.dtype_policy)
      for index in range(config.num_hidden_layers)
    ]

  @property
  def output_shape(self) -> tuple[int | None, ...]:
    """[B * S, H], of every block; for `summary`."""
    return (None, self._config.hidden_size)

  def build(self, input_shape=None):
    """Builds every block."""
    for block in self._blocks:
      block.build()

  def call(
    self, hidden: tf.Tensor, bias: tf.Tensor, plan: ExecutionPlan
  ) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
    """[B * S, H] -> of every block its output [B * S, H] and its probabilities [B, N, S, S]."""
    outputs, probs = [], []
    hidden = plan.without_padding(hidden)  # [B * S, H]
    for index, block in enumerate(self._blocks):
      block_plan = plan.of_block(index, is_last=block is self._blocks[-1])
      hidden, block_probs = block_plan.run(block, hidden, bias)  # [B * S, H], [B, N, S, S]
      outputs.append(block_plan.queries_with_padding(hidden))  # [B * S, H]
      probs.append(block_probs)
    return outputs, probs


class Pooler(keras.layers.Layer):
  """A dense layer with tanh on the vector of [CLS], a sequence's first token."""

  def __init__(self, config: BertConfig, **kwargs):
    super().__init__(name="pooler", **kwargs)
    self._config = config
    width = config.hidden_size
    self._dense = Dense(
      width, width, config.initializer_range, name="dense", dtype=self.dtype_policy
    )

  @property
  def output_shape(self) -> tuple[int | None, ...]:
    """[B, H]; for `summary`."""
    return (None, self._config.hidden_size)

  def build(self, input_shape=None):
    """Builds the dense layer."""
    self._dense.build()

  def call(self, sequence: tf.Tensor, cls_positions: tf.Tensor | None = None) -> tf.Tensor:
    """[B, S, H] -> [B, H]; or with positions [B, C] -> [B * C, H]."""
    if cls_positions is None:
      return tf.tanh(self._dense(sequence[:, 0, :]))
    return tf.tanh(self._dense(ops.gather_positions(sequence, cls_positions)))


@serializable
class BertModel(BertKerasModel):
  """The encoder of BERT with its pooler (the original's `modeling.BertModel`).

  >>> import bert_tf
  >>> model = bert_tf.BertModel(bert_tf.BertConfig.from_json_file("tiny_bert/bert_config.json"))
  >>> outputs = model({"input_ids": [[2, 7, 3], [2, 3, 0]], "input_mask": [[1, 1, 1], [1, 1, 0]]})
  >>> outputs["sequence_output"].shape, outputs["pooled_output"].shape
  (TensorShape([2, 3, 32]), TensorShape([2, 32]))
  >>> len(outputs["attention_probs"]), outputs["attention_probs"][0].shape
  (2, TensorShape([2, 4, 3, 3]))
  """

  def __init__(
    self,
    config: BertConfig,
    dtype: str | keras.DTypePolicy | None = None,
    recompute_activations: bool = False,
    name: str = "bert",
    add_pooler: bool = True,
  ):
    """Creates the model with freshly initialised weights.

    Args:
      config: the architecture.
      dtype: Keras dtype policy, such as "mixed_bfloat16"; default: the global policy. Softmax,
        layer normalisation and losses are computed in float32 under every policy.
      recompute_activations: while training, keep only the output of every block and compute
        the rest again in the backward pass: about a third more time, far less memory.
      name: first part of every variable's name; the original's default is "bert".
      add_pooler: False for an encoder without the layer that makes one vector of a text. The
        original always has it.
    """
    super().__init__(name=name, dtype=dtype)
    self.config = config
    self.recompute_activations = recompute_activations
    self.embeddings = Embeddings(config, dtype=self.dtype_policy)
    self.encoder = Encoder(config, dtype=self.dtype_policy)
    self.pooler = Pooler(config, dtype=self.dtype_policy) if add_pooler else None
    self.build(None)

  @property
  def output_shape(self) -> tuple[int | None, ...]:
    """[B, S, H], of `sequence_output`; for `summary`."""
    return (None, None, self.config.hidden_size)

  def build(self, input_shape=None):
    """Creates all variables, in the original's order."""
    if self.built:
      return  # Keras asks once more when it has loaded a model.
    self.embeddings.build(input_shape)
    self.encoder.build(input_shape)
    if self.pooler:
      self.pooler.build(input_shape)
    self.built = True

  def get_config(self) -> dict[str, Any]:
    """The arguments of the constructor."""
    added = self.pooler is not None
    return {**super().get_config(), "name": self.name, "add_pooler": added}

  def call(
    self,
    features: dict[str, tf.Tensor],
    training: bool = False,
    dropout_seed: tf.Tensor | None = None,
    wanted_positions: tf.Tensor | None = None,
  ) -> dict[str, tf.Tensor | list[tf.Tensor]]:
    """Encodes token ids.

    Args:
      features: `input_ids`, int [B, S]; optionally `input_mask`, int [B, S], 1 for tokens and 0
        for padding (default: all 1), and `segment_ids`, int [B, S] (default: all 0). Lists and
        arrays will do, and other tools' names, see `model_features`; entries that no model reads,
        such as labels, are ignored. Rows that hold several sequences (`data.packing`) have besides
        `sequence_ids` and `position_ids`, int [B, S], and `cls_positions`, int [B, C].
        With `token_places`, int [T], where in [B * S] the mask is 1, dense layers leave padding
        out, and what outputs hold there is of no account; the first place must be a token.
      training: whether to apply dropout.
      dropout_seed: int64 [2], determines the dropout masks; default: drawn at random.
      wanted_positions: int32 [B, Q], where the last layer is wanted, for a pooler beginning with
        the positions of [CLS]; it is not computed elsewhere. Its outputs are then [B, Q, H] and its
        probabilities [B, N, Q, S]. Default: everywhere.

    Returns:
      `embedding_output` [B, S, H]; `encoder_layers`, a list of [B, S, H];
      `sequence_output` [B, S, H], the last of them; `attention_probs`, a list of
      [B, N, S, S]; with a pooler `pooled_output` [B, H], given `cls_positions` [B * C, H].
    """
    input_ids = features["input_ids"]  # [B, S]
    if "input_mask" not in features:
      features = {**features, "input_mask": tf.ones_like(input_ids)}
    if "segment_ids" not in features:
      features = {**features, "segment_ids": tf.zeros_like(input_ids)}
    bias = ops.attention_bias(features["input_mask"], features.get("sequence_ids"))
    dropout = ops.Dropout.of(dropout_seed) if training else None
    plan = ExecutionPlan.of(features, bias, dropout, wanted_positions, self.recompute_activations)

    embedded = self.embeddings(
      input_ids, features["segment_ids"], position_ids=features.get("position_ids"), plan=plan
    )  # [B * S, H]
    layers, probs = self.encoder(embedded, bias, plan=plan)  # [B * S, H] and [B, N, S, S] each
    embedded, *layers = plan.sequences([embedded, *layers], input_ids)  # [B, S, H] each
    outputs = {
      "embedding_output": embedded,
      "encoder_layers": layers,
      "sequence_output": layers[-1],
      "attention_probs": probs,
    }
    if self.pooler is not None:
      cls_positions = plan.positions_of_cls(features.get("cls_positions"))  # [B, C]
      outputs["pooled_output"] = self.pooler(layers[-1], cls_positions)  # [B, H]
    return outputs
