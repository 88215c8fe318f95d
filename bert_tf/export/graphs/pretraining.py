"""The graph of an exported pretraining model: masked words and, if it knows them, next sentences.

B requests in a batch, S tokens of the longest one, P masks of the one with most, K words for
each mask, V vocabulary.
"""

from __future__ import annotations

import keras
import tensorflow as tf

from bert_tf.export.graphs.text import Signatures, TextModule, concrete, strings
from bert_tf.export.graphs.text_inputs import checked_features, head
from bert_tf.export.options import TextOptions

MASK = "[MASK]"


class PretrainingModule(TextModule):
  """Fills in [MASK] and, with a next-sentence head, tells whether a second text follows."""

  def __init__(self, model: keras.Model, text: TextOptions, top_k: int):
    """Args: as TextModule; `top_k`, how many words to give for every mask (K)."""
    super().__init__(model, text)
    self._top_k = min(top_k, len(text.tokens))
    self._next_sentence = model.next_sentence
    self._mask_id = self.tokenizer.vocab[MASK]

  def pieces(self, text: tf.Tensor) -> tf.RaggedTensor:
    """Ids of strings, with the mask's for every literal "[MASK]", which a tokenizer splits."""
    parts = tf.strings.split(text, sep=MASK)  # [B, (parts)]
    ids = self.tokenize(parts.flat_values)  # [parts, (tokens)]
    # A mask behind every part, then without the one behind the last.
    joined = tf.concat([ids, tf.fill([ids.nrows(), 1], self._mask_id)], axis=1)
    rows = parts.with_flat_values(joined).merge_dims(1, 2)
    return head(rows, rows.row_lengths() - 1)

  def predictions(
    self, features: dict[str, tf.Tensor], positions: tf.Tensor
  ) -> dict[str, tf.Tensor]:
    """Log-probabilities of words, [B, P, V], and with the head of follows or random, [B, 2]."""
    outputs = self.frozen({**features, "masked_lm_positions": positions})
    words = tf.nn.log_softmax(outputs["masked_lm_logits"])
    shape = tf.concat([tf.shape(positions), [self.config.vocab_size]], axis=0)
    found = {"masked_lm_log_probs": tf.reshape(words, shape)}
    if self._next_sentence:
      found["next_sentence_log_probs"] = tf.nn.log_softmax(outputs["next_sentence_logits"])
    return found

  def fill_mask(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
    """Fills in the masks of strings [B].

    Returns:
      `tokens` and `probabilities`, [B, P, K], best first; `num_masks`, int32 [B], how many of
      the P belong to the text: those within the longest sequence; `truncated`, bool [B], whether
      a part of the text was not read.
    """
    both = self._both(text, None)
    features = self.packer(*both)
    is_mask = tf.equal(features["input_ids"], self._mask_id)
    num_masks = tf.reduce_sum(tf.cast(is_mask, tf.int32), axis=1)
    # Stable, so the columns of the masks come first, from left to right.
    most = tf.reduce_max(tf.concat([num_masks, [0]], axis=0))
    order = tf.argsort(tf.cast(is_mask, tf.int32), axis=1, direction="DESCENDING", stable=True)
    words = self.predictions(self.compact(features), order[:, :most])["masked_lm_log_probs"]
    # Rows of a padded table stand for no word.
    best, ids = tf.math.top_k(words[:, :, : len(self.text.tokens)], self._top_k)
    return {
      "tokens": tf.gather(self._tokens, ids),
      "probabilities": tf.exp(best),
      "num_masks": num_masks,
      "truncated": self.packer.truncated(*both),
    }

  def next_sentence(self, features: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """`probability`, float32 [B], that the second text follows the first; `logits` [B, 2]."""
    positions = tf.zeros([tf.shape(features["input_ids"])[0], 0], tf.int32)
    logits = self.frozen({**features, "masked_lm_positions": positions})["next_sentence_logits"]
    return {"probability": tf.nn.softmax(logits)[:, 0], "logits": logits}

  def raw(self, features: dict[str, tf.Tensor], positions: tf.Tensor) -> dict[str, tf.Tensor]:
    """What the evaluation of run_pretraining.py computes, for ids of one's own."""
    limit = tf.shape(features["input_ids"])[1]
    checks = [
      tf.debugging.assert_non_negative(positions, "masked_lm_positions must not be negative"),
      tf.debugging.assert_less(positions, limit, "masked_lm_positions must lie in the sequence"),
    ]
    with tf.control_dependencies(checks):
      positions = tf.identity(positions)
    return self.predictions(features, positions)

  def widths(self) -> dict[str, dict[str, str]]:
    """As TextModule, and those of `fill_mask`."""
    words = dict.fromkeys(("tokens", "probabilities"), "num_masks")
    return {**super().widths(), "fill_mask": words, "serving_default": words}

  def signatures(self, pairs: bool = False) -> Signatures:
    """`fill_mask` (also `serving_default`), `tensors`, `examples`, `tokenize`, `next_sentence`."""
    positions = tf.TensorSpec([None, None], tf.int32, name="masked_lm_positions")
    fill = concrete(lambda text: self.fill_mask(text), strings("text"))

    def of_pairs(text, text_pair):
      both = self._both(text, text_pair)
      found = self.next_sentence(self.compact(self.packer(*both)))
      return {**found, "truncated": self.packer.truncated(*both)}

    def of_tensors(input_ids, input_mask, segment_ids, masked_lm_positions):
      ids = {"input_ids": input_ids, "input_mask": input_mask, "segment_ids": segment_ids}
      return self.raw(checked_features(ids, self.config), masked_lm_positions)

    def of_examples(examples):
      spec = tf.io.FixedLenSequenceFeature([], tf.int64, allow_missing=True)
      parsed = tf.io.parse_example(examples, {"masked_lm_positions": spec})
      positions = tf.cast(parsed["masked_lm_positions"], tf.int32)
      return self.raw(self.parsed(examples), positions)

    pairs_too = (
      {"next_sentence": concrete(of_pairs, strings("text", "text_pair"))}
      if self._next_sentence
      else {}
    )
    return {
      "serving_default": fill,
      "fill_mask": fill,
      **pairs_too,
      "tensors": concrete(of_tensors, {**self.tensor_specs(), "masked_lm_positions": positions}),
      "examples": concrete(of_examples, strings("examples")),
      "tokenize": self.tokenize_signature(),
    }
