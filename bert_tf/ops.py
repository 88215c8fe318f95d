"""The equations of BERT as pure functions of tensors: no state, no variables, no layers."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from bert_tf.errors import UserError

# Added to the attention scores of padding positions; the original's value, large enough to make
# their probability 0 in float32 and small enough for float16.
MASKED_SCORE = -10000.0


def gelu(x: tf.Tensor) -> tf.Tensor:
  """Gaussian error linear unit in its tanh approximation (`modeling.gelu` of the original)."""
  # TensorFlow fuses a product, its bias and this into one kernel, but only where the bias' name
  # comes before these in the alphabet ("dense/BiasAdd" does not come before "Gelu").
  return tf.nn.gelu(x, approximate=True, name="gelu")


def gelu_erf(x: tf.Tensor) -> tf.Tensor:
  """Gaussian error linear unit, exact form: x * Phi(x) (arXiv:1606.08415)."""
  return tf.nn.gelu(x, approximate=False, name="gelu")


_ACTIVATIONS: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {
  "gelu": gelu,
  "gelu_erf": gelu_erf,
  "relu": tf.nn.relu,
  "tanh": tf.tanh,
  "linear": tf.identity,
}


def get_activation(name: str | Callable | None) -> Callable[[tf.Tensor], tf.Tensor]:
  """Maps a name of `config.ACTIVATIONS` to its function, as `modeling.get_activation` does.

  As in the original, None and "" are linear, capitals do not count, and what is no name is taken
  for a function. "linear" gives the identity, where the original gives None.

  Raises:
    UserError: the name is unknown.
  """
  if not isinstance(name, str | None):
    return name
  found = _ACTIVATIONS.get((name or "linear").lower())
  if found is None:
    raise UserError(f"expected an activation of {', '.join(_ACTIVATIONS)}, found {name!r}")
  return found


def dense(x: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor, training: bool = False) -> tf.Tensor:
  """Computes x @ kernel + bias.

  Args:
    x: [rows, in], already of the type to compute in.
    kernel: [in, out], cast to the type of `x`.
    bias: [out], cast likewise.
    training: whether gradients will be taken; that of the bias is then made of `column_sums`.

  Returns:
    [rows, out], in the type of `x`.
  """

  def run(x: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor):
    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
      d_x = tf.matmul(upstream, kernel, transpose_b=True)
      return d_x, tf.matmul(x, upstream, transpose_a=True), column_sums(upstream)

    return tf.nn.bias_add(tf.matmul(x, kernel), bias), gradient

  operands = x, tf.cast(kernel, x.dtype), tf.cast(bias, x.dtype)
  # Exported models do without the nodes that carry a gradient of one's own.
  return tf.custom_gradient(run)(*operands) if training else run(*operands)[0]


def column_sums(x: tf.Tensor) -> tf.Tensor:
  """Sums over the rows, added up in float32: [rows, n] -> [n], in the type of `x`.

  Of bfloat16 TensorFlow's own sums, those of BiasAddGrad among them, are kept in bfloat16: over a
  thousand rows a tenth to a quarter of the result is rounding error (CPU, TensorFlow 2.20).
  """
  return tf.matmul(tf.ones([1, tf.shape(x)[0]], x.dtype), x)[0]


def layer_norm(x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, epsilon: float) -> tf.Tensor:
  """Layer normalisation over the last axis (arXiv:1607.06450), computed in float32.

  Args:
    x: [..., H], any floating type.
    gamma: [H], scale.
    beta: [H], shift.
    epsilon: added to the variance.

  Returns:
    [..., H], in the type of `x`.
  """
  x32 = tf.cast(x, tf.float32)
  # With its gradient this takes a quarter less time than tf.nn.moments.
  centred = x32 - tf.reduce_mean(x32, axis=-1, keepdims=True)
  variance = tf.reduce_mean(tf.square(centred), axis=-1, keepdims=True)
  return tf.cast(centred * tf.math.rsqrt(variance + epsilon) * gamma + beta, x.dtype)


def attention_bias(input_mask: tf.Tensor, sequence_ids: tf.Tensor | None = None) -> tf.Tensor:
  """Turns a padding mask into a term to add to attention scores.

  The original's `create_attention_mask_from_input_mask` spells the same mask out as
  [B, S, S]; every query position has the same row, so [B, 1, 1, S] broadcasts to it.

  Args:
    input_mask: [B, S], 1 for tokens, 0 for padding.
    sequence_ids: int [B, S], where a row holds several sequences: tokens attend to those of the
      same number only (padding: 0). `input_mask` then says nothing more.

  Returns:
    float32 [B, 1, 1, S]: 0 for tokens, `MASKED_SCORE` for padding; with `sequence_ids`
    [B, 1, S, S]: 0 within a sequence, `MASKED_SCORE` between two.
  """
  if sequence_ids is not None:
    other = sequence_ids[:, :, tf.newaxis] != sequence_ids[:, tf.newaxis, :]
    return tf.where(other, MASKED_SCORE, 0.0)[:, tf.newaxis]
  bias = (1.0 - tf.cast(input_mask, tf.float32)) * MASKED_SCORE
  return bias[:, tf.newaxis, tf.newaxis, :]


def attention_probs(scores: tf.Tensor, scale: float, bias: tf.Tensor) -> tf.Tensor:
  """Softmax of scaled dot products (arXiv:1706.03762, eq. 1), computed in float32.

  Args:
    scores: [B, N, S, S], the products of queries and keys.
    scale: a factor, 1 / sqrt(D).
    bias: broadcasts to [B, N, S, S]; any floating type, as Keras casts what layers are given to
      their compute type.

  Returns:
    [B, N, S, S] in the type of `scores`; rows sum to 1.
  """
  scores32 = tf.cast(scores, tf.float32) * scale + tf.cast(bias, tf.float32)
  return tf.cast(tf.nn.softmax(scores32), scores.dtype)


class Dropout:
  """Dropout whose masks are a pure function of a seed and of the place in the model.

  Nothing is remembered from step to step: a run that is stopped at step n and continued draws
  the masks that it would have drawn, from (seed, n) alone, and a block that is recomputed in
  the backward pass sees the masks of the forward pass.

  A mask takes 8 random bits an element, so the rate is rounded to a multiple of 1/256 and the
  kept values are scaled by the true keep probability; the expectation is exact.
  """

  SITES_PER_BLOCK = 8

  def __init__(self, seed: tf.Tensor, first_site: int = 0):
    """Args: `seed`, int64 [2], another one for every step and replica; `first_site`, offset."""
    self._seed = seed
    self._site = first_site

  @classmethod
  def of(cls, seed: tf.Tensor | None) -> Dropout:
    """Of a seed, int64 [2]; of None with masks that differ from call to call."""
    if seed is None:
      seed = tf.random.uniform([2], maxval=tf.int64.max, dtype=tf.int64)
    return cls(seed)

  def block(self, index: int) -> Dropout:
    """Returns the dropout of the `index`-th block, whatever else has been drawn before."""
    return Dropout(self._seed, (index + 1) * self.SITES_PER_BLOCK)

  def copy(self) -> Dropout:
    """Returns a dropout that draws from here on what this one would draw."""
    return Dropout(self._seed, self._site)

  def __call__(self, x: tf.Tensor, rate: float) -> tf.Tensor:
    """Zeroes elements of `x` with probability `rate` and scales up the others."""
    random, dropped = self.draw(tf.shape(x), rate)
    if dropped == 0:
      return x
    keep = random >= tf.constant(dropped, tf.uint8)
    scale = tf.constant(256.0 / (256 - dropped), x.dtype)
    return x * (tf.cast(keep, x.dtype) * scale)

  def draw(self, shape: tf.Tensor, rate: float) -> tuple[tf.Tensor, int]:
    """Draws a mask: uint8 of the given shape, and the number below which elements are dropped."""
    dropped = round(rate * 256)
    if dropped == 0:
      return tf.zeros(shape, tf.uint8), dropped
    seed = self._seed + tf.constant([0, self._site], tf.int64)
    self._site += 1
    return random_bytes(shape, seed), dropped


def random_bytes(shape: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
  """Draws uniform uint8 values of a given shape, four from each 32 random bits."""
  size = tf.reduce_prod(shape)
  words = tf.random.stateless_uniform(
    [(size + 3) // 4], seed, minval=None, maxval=None, dtype=tf.int32
  )
  return tf.reshape(tf.reshape(tf.bitcast(words, tf.uint8), [-1])[:size], shape)


def gather_positions(sequence: tf.Tensor, positions: tf.Tensor) -> tf.Tensor:
  """Picks vectors at given positions (`gather_indexes` of the original).

  Args:
    sequence: [B, S, H].
    positions: int32 [B, P].

  Returns:
    [B * P, H].
  """
  batch, length, width = tf.unstack(tf.shape(sequence))
  flat_positions = tf.reshape(positions + tf.range(batch)[:, tf.newaxis] * length, [-1])
  return tf.gather(tf.reshape(sequence, [batch * length, width]), flat_positions)
