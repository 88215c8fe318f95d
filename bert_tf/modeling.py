"""BERT (Devlin et al., 2018, arXiv:1810.04805) as Keras layers; read it from top to bottom.

Axes: B batch, S sequence length, N attention heads, D size of one head, H = N * D hidden size,
I intermediate size. Activations travel as [B * S, H] matrices, as in the original, so that
every dense layer is one matrix product.

A variable's path is its name in google-research/bert, because the layers are nested as the
original nests its variable scopes: `bert/encoder/layer_0/attention/self/query/kernel`.
"""

from __future__ import annotations

import keras
import tensorflow as tf

from bert_tf import fused_ops, ops
from bert_tf.config import BertConfig
from bert_tf.layers import Dense, LayerNorm, ResidualOutput, create_initializer


class Embeddings(keras.layers.Layer):
  """Sum of word, segment and position embeddings, normalised (paper, figure 2)."""

  def __init__(self, config: BertConfig, **kwargs):
    super().__init__(name="embeddings", **kwargs)
    self._config = config
    self._layer_norm = LayerNorm(config.hidden_size, config.layer_norm_eps, dtype=self.dtype_policy)

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
    position_ids: tf.Tensor | None = None,
    dropout: ops.Dropout | None = None,
  ) -> tf.Tensor:
    """[B, S] ids -> [B * S, H] in the compute type; positions default to 0, 1, 2, ..."""
    batch, length = tf.unstack(tf.shape(input_ids))
    # A gather from the variable itself would make every later read of it a copy of the table.
    table = tf.convert_to_tensor(self.word_embeddings.value)
    words = tf.gather(table, input_ids)  # [B, S, H]
    # The few segments make a matrix product cheaper than a gather, forward and backward.
    segments = tf.one_hot(tf.reshape(segment_ids, [-1]), self._config.type_vocab_size)
    segments = tf.matmul(segments, self.token_type_embeddings.value)  # [B * S, H]
    positions = self.position_embeddings.value
    if position_ids is None:
      positions = positions[:length]  # [S, H]
    else:
      positions = tf.gather(tf.convert_to_tensor(positions), position_ids)  # [B, S, H]
    hidden = tf.reshape(words + positions, [batch * length, self._config.hidden_size]) + segments
    hidden = self._layer_norm(tf.cast(hidden, self.compute_dtype))
    return dropout(hidden, self._config.hidden_dropout_prob) if dropout else hidden


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
    self,
    hidden: tf.Tensor,
    bias: tf.Tensor,
    dropout: ops.Dropout | None = None,
    tokens: ops.TokenPlaces | None = None,
    queried: tf.Tensor | None = None,
  ) -> tuple[tf.Tensor, tf.Tensor]:
    """Mixes the values of every sequence.

    Args:
      hidden: [B * S, H]; with `tokens` [T, H], without padding.
      bias: float32 [B, 1, 1 or S or Q, S], see `ops.attention_bias`.
      dropout: applied to the probabilities; None at inference.
      tokens: where the tokens are that `hidden` holds.
      queried: [B * Q, H], rows of `hidden` whose contexts alone are wanted.

    Returns:
      The contexts, as `hidden` or `queried`, and the probabilities before dropout,
      [B, N, S or Q, S].
    """
    config = self._config
    heads, size = config.num_attention_heads, config.hidden_size // config.num_attention_heads
    batch, everywhere = tf.shape(bias)[0], queried is None

    def heads_of(layer: Dense, few: tf.Tensor | None = None) -> tf.Tensor:
      x = layer(hidden if few is None else few, training=dropout is not None)
      x = tokens.spread(x) if tokens and few is None else x
      x = tf.reshape(x, [batch, -1, heads, size])  # [B, S, N, D]
      return tf.transpose(x, [0, 2, 1, 3])  # [B, N, S, D]

    query, key, value = heads_of(self._query, queried), heads_of(self._key), heads_of(self._value)
    scores = tf.matmul(query, key, transpose_b=True)  # [B, N, S, S]
    probs = ops.attention_probs(scores, size**-0.5, bias)
    # The kernel is compiled for every length; for a few rows that does not pay.
    fused = everywhere and fused_ops.available(config.hidden_size)
    weights = self._weights(scores, probs, bias, dropout, fused)
    context = tf.matmul(weights, value)  # [B, N, S, D]
    context = tf.transpose(context, [0, 2, 1, 3])  # [B, S, N, D]
    context = tf.reshape(context, [-1, config.hidden_size])
    return tokens.pick(context) if tokens and everywhere else context, probs

  def _weights(self, scores, probs, bias, dropout: ops.Dropout | None, fused: bool) -> tf.Tensor:
    """The probabilities after dropout, [B, N, S, S]."""
    config = self._config
    rate = config.attention_probs_dropout_prob
    if not dropout:
      return probs
    if not fused:
      return dropout(probs, rate)
    # From the scores once more: `probs` is then left uncomputed, unless somebody asks for it.
    size = config.hidden_size // config.num_attention_heads
    random, dropped = dropout.draw(tf.shape(scores), rate)
    return fused_ops.attention_weights(scores, size**-0.5, bias, random, dropped)


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
    self,
    hidden: tf.Tensor,
    bias: tf.Tensor,
    dropout: ops.Dropout | None = None,
    tokens: ops.TokenPlaces | None = None,
    wanted: tf.Tensor | None = None,
  ) -> tuple[tf.Tensor, tf.Tensor]:
    """[B * S, H] -> [B * S, H] and the probabilities [B, N, S, S]; `tokens` as SelfAttention.

    Where only some rows of the output are wanted, int [B * Q]: -> [B * Q, H] and [B, N, Q, S].
    """
    few = None if wanted is None else tf.gather(hidden, wanted)
    context, probs = self._self(hidden, bias, dropout=dropout, tokens=tokens, queried=few)
    residual = hidden if few is None else few
    return self._output(context, residual, dropout=dropout), probs


class Intermediate(keras.layers.Layer):
  """The widening half of the feed-forward layer: [B * S, H] -> [B * S, I]."""

  def __init__(self, config: BertConfig, **kwargs):
    super().__init__(name="intermediate", **kwargs)
    self._config = config
    self._activation = ops.get_activation(config.hidden_act)
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

  def call(self, hidden: tf.Tensor, training: bool = False) -> tf.Tensor:
    """[B * S, H] -> [B * S, I]."""
    hidden = self._dense(hidden, training=training)
    config = self._config
    if training and config.hidden_act == "gelu" and fused_ops.available(config.intermediate_size):
      return fused_ops.gelu(hidden)
    return self._activation(hidden)


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
    self,
    hidden: tf.Tensor,
    bias: tf.Tensor,
    dropout: ops.Dropout | None = None,
    tokens: ops.TokenPlaces | None = None,
    wanted: tf.Tensor | None = None,
  ) -> tuple[tf.Tensor, tf.Tensor]:
    """As `Attention`: [B * S, H] -> [B * S, H] and the probabilities [B, N, S, S]."""
    attended, probs = self._attention(hidden, bias, dropout=dropout, tokens=tokens, wanted=wanted)
    wide = self._intermediate(attended, training=dropout is not None)
    return self._output(wide, attended, dropout=dropout), probs


class Encoder(keras.layers.Layer):
  """The stack of Transformer blocks."""

  def __init__(self, config: BertConfig, recompute_activations: bool = False, **kwargs):
    super().__init__(name="encoder", **kwargs)
    self._blocks = [
      TransformerBlock(config, index, dtype=self.dtype_policy)
      for index in range(config.num_hidden_layers)
    ]
    self._recompute = recompute_activations

  def build(self, input_shape=None):
    """Builds every block."""
    for block in self._blocks:
      block.build()

  def call(
    self,
    hidden: tf.Tensor,
    bias: tf.Tensor,
    dropout: ops.Dropout | None = None,
    tokens: ops.TokenPlaces | None = None,
    last: ops.LastLayer | None = None,
  ) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
    """[B * S, H] or, with `tokens`, [T, H] -> outputs and probabilities of all layers."""
    outputs, probs = [], []
    for index, block in enumerate(self._blocks):
      block_dropout = dropout.block(index) if dropout else None
      wanted = None
      if last and block is self._blocks[-1]:
        wanted, bias = last

      def run(x, bias, block=block, dropout=block_dropout, wanted=wanted):
        # A fresh copy: the backward pass calls this again and must meet the same masks.
        dropout = dropout.copy() if dropout else None
        return block(x, bias, dropout=dropout, tokens=tokens, wanted=wanted)

      if self._recompute and dropout:
        run = tf.recompute_grad(run)
      hidden, layer_probs = run(hidden, bias)
      outputs.append(hidden)
      probs.append(layer_probs)
    return outputs, probs


class Pooler(keras.layers.Layer):
  """A dense layer with tanh on the vector of [CLS], a sequence's first token."""

  def __init__(self, config: BertConfig, **kwargs):
    super().__init__(name="pooler", **kwargs)
    width = config.hidden_size
    self._dense = Dense(
      width, width, config.initializer_range, name="dense", dtype=self.dtype_policy
    )

  def build(self, input_shape=None):
    """Builds the dense layer."""
    self._dense.build()

  def call(self, sequence: tf.Tensor, cls_positions: tf.Tensor | None = None) -> tf.Tensor:
    """[B, S, H] -> [B, H]; or with positions [B, C] -> [B * C, H]."""
    if cls_positions is None:
      return tf.tanh(self._dense(sequence[:, 0, :]))
    return tf.tanh(self._dense(ops.gather_positions(sequence, cls_positions)))


class BertModel(keras.Model):
  """The encoder of BERT with its pooler (the original's `modeling.BertModel`)."""

  def __init__(
    self,
    config: BertConfig,
    dtype: str | keras.DTypePolicy | None = None,
    recompute_activations: bool = False,
    name: str = "bert",
  ):
    """Creates the model with freshly initialised weights.

    Args:
      config: the architecture.
      dtype: Keras dtype policy, such as "mixed_bfloat16"; default: the global policy. Softmax,
        layer normalisation and losses are computed in float32 under every policy.
      recompute_activations: while training, keep only the output of every block and compute
        the rest again in the backward pass: about a third more time, far less memory.
      name: first part of every variable's name; the original's default is "bert".
    """
    super().__init__(name=name, dtype=dtype)
    self.config = config
    self.embeddings = Embeddings(config, dtype=self.dtype_policy)
    self.encoder = Encoder(config, recompute_activations, dtype=self.dtype_policy)
    self.pooler = Pooler(config, dtype=self.dtype_policy)
    self.build()

  def build(self, input_shape=None):
    """Creates all variables, in the original's order."""
    for layer in (self.embeddings, self.encoder, self.pooler):
      layer.build()
    self.built = True

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
        for padding (default: all 1), and `segment_ids`, int [B, S] (default: all 0). Other
        entries are ignored. Rows that hold several sequences (`data.packing`) have besides
        `sequence_ids` and `position_ids`, int [B, S], and `cls_positions`, int [B, C].
        With `token_places`, int [T], where in [B * S] the mask is 1, dense layers leave padding
        out, and what outputs hold there is of no account; the first place must be a token.
      training: whether to apply dropout.
      dropout_seed: int64 [2], determines the dropout masks; default: drawn at random.
      wanted_positions: int32 [B, Q], where the last layer is wanted, beginning with the positions
        of [CLS]; it is not computed elsewhere. Its outputs are then [B, Q, H] and its
        probabilities [B, N, Q, S]. Default: everywhere.

    Returns:
      `embedding_output` [B, S, H]; `encoder_layers`, a list of [B, S, H];
      `sequence_output` [B, S, H], the last of them; `pooled_output` [B, H], with
      `cls_positions` [B * C, H]; `attention_probs`, a list of [B, N, S, S].
    """
    input_ids = features["input_ids"]
    input_mask = features.get("input_mask")
    segment_ids = features.get("segment_ids")
    if input_mask is None:
      input_mask = tf.ones_like(input_ids)
    if segment_ids is None:
      segment_ids = tf.zeros_like(input_ids)
    dropout = ops.Dropout(_seed_or_random(dropout_seed)) if training else None

    # A static shape where it is known keeps later reshapes static too.
    shape = tf.concat([tf.shape(input_ids), [self.config.hidden_size]], axis=0)

    def unflatten(x: tf.Tensor) -> tf.Tensor:
      x = tf.reshape(x, shape)  # [B, S, H]
      return tf.ensure_shape(x, [*input_ids.shape, self.config.hidden_size])

    positions = features.get("position_ids")
    embedded = self.embeddings(input_ids, segment_ids, position_ids=positions, dropout=dropout)
    bias = ops.attention_bias(input_mask, features.get("sequence_ids"))
    places = features.get("token_places")
    tokens = None if places is None else ops.TokenPlaces.of(places, input_mask)
    hidden = tokens.pick(embedded) if tokens else embedded
    cls, last = features.get("cls_positions"), None
    if wanted_positions is not None:
      last = ops.LastLayer.of(wanted_positions, bias, tokens)
      cls = None if cls is None else tf.zeros_like(cls) + tf.range(tf.shape(cls)[1])
    layers, probs = self.encoder(hidden, bias, dropout=dropout, tokens=tokens, last=last)
    few = [last.unflatten(layers.pop())] if last else []
    layers = [unflatten(tokens.spread(layer) if tokens else layer) for layer in layers] + few
    return {
      "embedding_output": unflatten(embedded),
      "encoder_layers": layers,
      "sequence_output": layers[-1],
      "pooled_output": self.pooler(layers[-1], cls),
      "attention_probs": probs,
    }


def _seed_or_random(seed: tf.Tensor | None) -> tf.Tensor:
  if seed is not None:
    return seed
  return tf.random.uniform([2], maxval=tf.int64.max, dtype=tf.int64)
