"""What an update does besides Adam's kernel, in as few passes over memory as it takes.

The weights and gradients of BERT-base are 440 MB each, so that every pass over one of them counts,
and more cores do not make it faster. For large matrices on CPUs these functions are compiled into
one loop each; everywhere else they are TensorFlow's own operations.
"""

from __future__ import annotations

from collections.abc import Iterable

import tensorflow as tf

from bert_tf import fused_ops

# Elements; of anything smaller all passes together take less time than compiling one.
_LARGE = 1 << 18


def global_norm(gradients: Iterable[tf.Tensor]) -> tf.Tensor:
  """The Euclidean norm of all elements (`tf.linalg.global_norm`), in float32.

  Args:
    gradients: of any floating type; computed with in float32.
  """
  return tf.sqrt(
    tf.add_n([_square_sum(g) if _large(g) else 2.0 * tf.nn.l2_loss(_wide(g)) for g in gradients])
  )


def scaled(gradient: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
  """gradient * factor, in float32."""
  return _scaled(gradient, factor) if _large(gradient) else _wide(gradient) * factor


def decayed(weights: tf.Tensor, rate: tf.Tensor) -> tf.Tensor:
  """weights - rate * weights."""
  return _decayed(weights, rate) if _large(weights) else weights - weights * rate


def before_widening(gradient: tf.Tensor) -> tf.Tensor:
  """The same numbers in half the memory, where a gradient was computed in bfloat16 or float16.

  The weights are cast to the type that a product is computed in, and in the backward pass its
  gradient is cast back: a whole pass that writes zeros.
  """
  if tf.is_symbolic_tensor(gradient) and gradient.op.type == "Cast":
    source = gradient.op.inputs[0]
    if gradient.dtype == tf.float32 and source.dtype in (tf.bfloat16, tf.float16):
      return source
  return gradient


def _large(x: tf.Tensor) -> bool:
  shape = x.shape
  if not shape.is_fully_defined() or shape.rank != 2:
    return False
  return shape.num_elements() >= _LARGE and fused_ops.available(shape[1])


def _wide(x: tf.Tensor) -> tf.Tensor:
  return tf.cast(x, tf.float32)


@fused_ops.kernel
def _square_sum(x: tf.Tensor) -> tf.Tensor:
  return tf.reduce_sum(fused_ops.row_sums(tf.square(_wide(x))))


@fused_ops.kernel
def _scaled(x: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
  return _wide(x) * factor


@fused_ops.kernel
def _decayed(x: tf.Tensor, rate: tf.Tensor) -> tf.Tensor:
  return x - x * rate
