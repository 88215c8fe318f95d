"""How a batch is computed, apart from what: everything that makes modeling.py fast stands here.

The equations of BERT say what comes out. An `ExecutionPlan` says how it is come by: which dropout
masks are drawn, that dense layers leave padding out, of which rows the last block is wanted, that
a chain of operations runs as one compiled kernel, and whether activations are kept or recomputed.

Axes as in modeling.py; besides, T tokens of a batch that are not padding, Q wanted places of a
sequence.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from bert_tf import fused_ops, ops


class TokenPlaces(NamedTuple):
  """Where the tokens of padded rows are, so that dense layers need not compute the padding.

  Attributes:
    taken: int [T], the places of tokens in [B * S].
    source: int [B * S], which token to put in every place; in those of padding any.
  """

  taken: tf.Tensor
  source: tf.Tensor

  @classmethod
  def of(cls, taken: tf.Tensor, input_mask: tf.Tensor) -> TokenPlaces:
    """Adds to the places of tokens where each is to go, by a mask [B, S] of them."""
    return cls(taken, tf.cumsum(tf.reshape(input_mask, [-1])) - 1)


class WantedRows(NamedTuple):
  """Where the output of the last block is wanted, when not everywhere.

  A classifier reads [CLS] alone and masked words are a sixth of a text: keys and values of the
  last block are needed everywhere, its queries, projection and feed-forward half only there.

  Attributes:
    rows: int [B * Q], rows of the block's input.
    bias: float32 [B, 1, 1 or Q, S], see `ops.attention_bias`.
  """

  rows: tf.Tensor
  bias: tf.Tensor

  @classmethod
  def of(
    cls, positions: tf.Tensor, bias: tf.Tensor, tokens: TokenPlaces | None = None
  ) -> WantedRows:
    """Of positions int32 [B, Q] in sequences with an attention bias [B, 1, 1 or S, S]."""
    batch, length = tf.shape(bias)[0], tf.shape(bias)[3]
    rows = tf.reshape(positions + (tf.range(batch) * length)[:, tf.newaxis], [-1])
    if bias.shape[2] != 1:
      bias = tf.gather(bias[:, 0], positions, batch_dims=1)[:, tf.newaxis]
    return cls(tf.gather(tokens.source, rows) if tokens else rows, bias)


@dataclasses.dataclass(frozen=True, eq=False)
class ExecutionPlan:
  """How a call of the model, or of one of its blocks, is carried out.

  `ExecutionPlan()` computes everything everywhere, without dropout: under it each method here is
  the plain operation that its docstring names, or changes nothing.

  Attributes:
    dropout: draws the masks; None at inference.
    tokens: where the tokens are, if the encoder's hidden states are [T, H] without padding.
    wanted: the rows whose output is wanted of a block; of a whole model, of its last block.
    recompute: keep only a block's output for the backward pass and compute the rest again.
  """

  dropout: ops.Dropout | None = None
  tokens: TokenPlaces | None = None
  wanted: WantedRows | None = None
  recompute: bool = False

  @classmethod
  def of(
    cls,
    features: dict[str, tf.Tensor],
    bias: tf.Tensor,
    dropout: ops.Dropout | None = None,
    wanted_positions: tf.Tensor | None = None,
    recompute: bool = False,
  ) -> ExecutionPlan:
    """The plan for a batch with an attention bias; arguments as of `BertModel.call`."""
    places, tokens, wanted = features.get("token_places"), None, None
    if places is not None:
      tokens = TokenPlaces.of(places, features["input_mask"])
    if wanted_positions is not None:
      wanted = WantedRows.of(wanted_positions, bias, tokens)
    return cls(dropout, tokens, wanted, recompute)

  @property
  def training(self) -> bool:
    """Whether gradients will be taken."""
    return self.dropout is not None

  # What a batch and an encoder ask.

  def sequences(self, matrices: list[tf.Tensor], input_ids: tf.Tensor) -> list[tf.Tensor]:
    """[B * S, H] each -> [B, S, H]; the last one, if few of its rows are wanted, [B, Q, H]."""
    width = matrices[0].shape[1]
    # A static shape where it is known keeps later reshapes static too.
    shape = tf.concat([tf.shape(input_ids), [width]], axis=0)
    found = [
      tf.ensure_shape(tf.reshape(x, shape), [*input_ids.shape, width])
      for x in (matrices[:-1] if self.wanted else matrices)
    ]
    if self.wanted:
      found.append(tf.reshape(matrices[-1], [tf.shape(self.wanted.bias)[0], -1, width]))
    return found

  def positions_of_cls(self, positions: tf.Tensor | None) -> tf.Tensor | None:
    """Where [CLS] is in the last layer's output, int [B, C]; wanted rows begin with it."""
    if positions is None or self.wanted is None:
      return positions
    return tf.zeros_like(positions) + tf.range(tf.shape(positions)[1])

  def of_block(self, index: int, is_last: bool) -> ExecutionPlan:
    """The plan of one block, with dropout masks of its own."""
    return dataclasses.replace(
      self,
      dropout=self.dropout.block(index) if self.dropout else None,
      wanted=self.wanted if is_last else None,
    )

  def run(self, block: Callable, hidden: tf.Tensor, bias: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """`block(hidden, bias, plan=self)`."""

    def call(hidden: tf.Tensor, bias: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
      # A fresh copy: the backward pass calls this again and must meet the same masks.
      dropout = self.dropout.copy() if self.dropout else None
      return block(hidden, bias, plan=dataclasses.replace(self, dropout=dropout))

    call = tf.recompute_grad(call) if self.recompute and self.training else call
    # Keras casts what a layer is given; here once, not again for the backward pass.
    bias = tf.cast(self.wanted.bias, hidden.dtype) if self.wanted else bias
    return call(hidden, bias)

  # Rows: which ones a matrix of hidden states has.

  def without_padding(self, x: tf.Tensor) -> tf.Tensor:
    """[B * S, H] -> [T, H]."""
    return tf.gather(x, self.tokens.taken) if self.tokens else x

  def with_padding(self, x: tf.Tensor) -> tf.Tensor:
    """[T, H] -> [B * S, H]."""
    return tf.gather(x, self.tokens.source) if self.tokens else x

  def queries(self, hidden: tf.Tensor) -> tf.Tensor:
    """The rows of a block's input whose output is wanted: [B * S, H] -> [B * Q, H]."""
    return tf.gather(hidden, self.wanted.rows) if self.wanted else hidden

  def queries_without_padding(self, x: tf.Tensor) -> tf.Tensor:
    """[B * S, H] -> [T, H], where all are queries; few wanted rows have no padding."""
    return x if self.wanted else self.without_padding(x)

  def queries_with_padding(self, x: tf.Tensor) -> tf.Tensor:
    """[T, H] -> [B * S, H], where all are queries; few wanted rows get no padding."""
    return x if self.wanted else self.with_padding(x)

  # Equations with dropout, as one compiled kernel where that pays.

  def drop(self, x: tf.Tensor, rate: float) -> tf.Tensor:
    """dropout(x)."""
    return self.dropout(x, rate) if self.dropout else x

  def attention(
    self, scores: tf.Tensor, scale: float, bias: tf.Tensor, rate: float, width: int
  ) -> tuple[tf.Tensor, tf.Tensor]:
    """probs = softmax(scores * scale + bias), dropout(probs): both [B, N, S, S]."""
    probs = ops.attention_probs(scores, scale, bias)
    # The kernel is compiled for every length; for a few rows that does not pay.
    if self.dropout is None or self.wanted or not fused_ops.available(width):
      return probs, self.drop(probs, rate)
    # From the scores once more: `probs` is then left uncomputed, unless somebody asks for it.
    random, dropped = self.dropout.draw(tf.shape(scores), rate)
    return probs, fused_ops.attention_weights(scores, scale, bias, random, dropped)

  def activation(self, name: str, x: tf.Tensor) -> tf.Tensor:
    """`ops.get_activation(name)(x)`: [rows, I] -> [rows, I]."""
    if self.training and name == "gelu" and fused_ops.available(x.shape[-1]):
      return fused_ops.gelu(x)
    return ops.get_activation(name)(x)

  def residual_norm(
    self,
    x: tf.Tensor,
    residual: tf.Tensor,
    rate: float,
    gamma: tf.Tensor,
    beta: tf.Tensor,
    epsilon: float,
  ) -> tf.Tensor:
    """layer_norm(dropout(x) + residual): [rows, H] twice -> [rows, H]."""
    if self.dropout is None or not fused_ops.available(x.shape[-1]):
      return ops.layer_norm(self.drop(x, rate) + residual, gamma, beta, epsilon)
    random, dropped = self.dropout.draw(tf.shape(x), rate)
    return fused_ops.residual_norm(x, residual, gamma, beta, epsilon, random, dropped)
