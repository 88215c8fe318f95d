"""The graph of an exported encoder: vectors of texts and of tokens.

B texts in a batch, S tokens of the longest one, H hidden size, N chosen layers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import keras
import tensorflow as tf

from bert_tf.export.graphs.text import Signatures, TextModule, concrete, strings
from bert_tf.export.options import TextOptions


class EncoderModule(TextModule):
  """Turns text into vectors."""

  def __init__(self, model: keras.Model, text: TextOptions, layers: Sequence[int]):
    """Args: as TextModule; `layers`, whose vectors are given, -1 for the last one."""
    super().__init__(model, text)
    self._layers = tuple(layers)

  def answers(self, features: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """`mean`, over all tokens of the last layer, and with a pooler `pooled`, float32 [B, H]."""
    outputs = self.frozen(dict(features))
    sequence = tf.cast(outputs["sequence_output"], tf.float32)
    weights = tf.cast(features["input_mask"], tf.float32)[:, :, tf.newaxis]
    # A sequence of padding alone has no mean; zeros are better than a division by zero.
    count = tf.maximum(tf.reduce_sum(weights, axis=1), 1.0)
    vectors = {"mean": tf.reduce_sum(sequence * weights, axis=1) / count}
    if "pooled_output" in outputs:
      vectors["pooled"] = tf.cast(outputs["pooled_output"], tf.float32)
    return vectors

  def token_vectors(self, text: tf.Tensor, text_pair: tf.Tensor) -> dict[str, tf.Tensor]:
    """Vectors of every token.

    Returns:
      `tokens`, string [B, S]; `num_tokens`, int32 [B], without padding; `vectors`, float32
      [B, S, N, H]; `truncated`, bool [B], whether a part of the text was not read.
    """
    both = self._both(text, text_pair)
    features = self.packer(*both)
    layers = self.frozen(self.compact(features))["encoder_layers"]
    vectors = tf.stack([layers[index] for index in self._layers], axis=2)
    return {
      "tokens": tf.gather(self._tokens, features["input_ids"]),
      "num_tokens": tf.reduce_sum(features["input_mask"], axis=1),
      "vectors": tf.cast(vectors, tf.float32),
      "truncated": self.packer.truncated(*both),
    }

  def widths(self) -> dict[str, dict[str, str]]:
    """As TextModule, and those of `token_vectors`."""
    vectors = dict.fromkeys(("tokens", "vectors"), "num_tokens")
    return {**super().widths(), "token_vectors": vectors}

  def signatures(self, pairs: bool = False) -> Signatures:
    """As TextModule, with `serving_default` also as `embed`, and `token_vectors`."""
    signatures = super().signatures(pairs)
    vectors = concrete(
      lambda text, text_pair: self.token_vectors(text, text_pair), strings("text", "text_pair")
    )
    return {
      **signatures,
      "embed": signatures["serving_default"],
      "token_vectors": vectors,
    }
