"""What benchmarks/step.py compares with: the same step in other libraries."""

from __future__ import annotations

import os
from collections.abc import Callable

from step_tools import (
  HEADS,
  HIDDEN,
  INTERMEDIATE,
  VOCABULARY,
  numpy_batch,
  one_thread,
  peak_memory,
  take_turns,
)


def cross_entropy(tf, labels, logits):
  """The mean over the labels, in float32."""
  losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, tf.cast(logits, tf.float32))
  return tf.reduce_mean(losses)


def measured(args, step: Callable[[], object], forward: Callable[[], object]) -> dict:
  """Memory after one step, then the times of both in turns."""
  step()
  memory = peak_memory()
  return {
    "seconds": take_turns({"step": step, "forward": forward}, args.repeat),
    "peak_mib": memory,
  }


def measure_keras_hub(args, dtype: str) -> dict:
  """keras-hub's encoder and masked-LM head on TensorFlow, with Keras' Adam."""
  tf = one_thread()
  import keras
  import keras_hub

  keras.config.set_dtype_policy(dtype)
  encoder = keras_hub.models.BertBackbone(
    vocabulary_size=VOCABULARY, num_layers=args.layers, num_heads=HEADS, hidden_dim=HIDDEN,
    intermediate_dim=INTERMEDIATE, dropout=0.1, max_sequence_length=512, num_segments=2,
  )  # fmt: skip
  words = keras_hub.layers.MaskedLMHead(
    vocabulary_size=VOCABULARY, token_embedding=encoder.token_embedding
  )
  pairs = keras.layers.Dense(2)
  optimizer = keras.optimizers.Adam(1e-5, global_clipnorm=1.0)
  batch = {name: tf.constant(value) for name, value in numpy_batch(args).items()}
  inputs = {
    "token_ids": batch["input_ids"],
    "padding_mask": batch["input_mask"],
    "segment_ids": batch["segment_ids"],
  }

  def loss():
    outputs = encoder(inputs, training=True)
    logits = words(outputs["sequence_output"], mask_positions=batch["masked_lm_positions"])
    labels = tf.reshape(batch["next_sentence_labels"], [-1])
    words_loss = cross_entropy(tf, batch["masked_lm_ids"], logits)
    return words_loss + cross_entropy(tf, labels, pairs(outputs["pooled_output"]))

  loss()
  variables = encoder.trainable_variables + pairs.trainable_variables
  known = {id(v) for v in variables}
  variables += [v for v in words.trainable_variables if id(v) not in known]
  optimizer.build(variables)

  @tf.function(autograph=False)
  def step():
    with tf.GradientTape() as tape:
      value = loss()
    gradients = tape.gradient(value, [v.value for v in variables])
    optimizer.apply_gradients(
      [(tf.convert_to_tensor(g), v) for g, v in zip(gradients, variables, strict=True)]
    )
    return value

  forward = tf.function(lambda: encoder(inputs, training=False)["pooled_output"], autograph=False)
  return measured(args, lambda: step().numpy(), lambda: forward().numpy())


def measure_model_garden(args, dtype: str) -> dict:
  """Model Garden's BertPretrainerV2 (tf-models-official), with tf_keras' Adam."""
  os.environ["TF_USE_LEGACY_KERAS"] = "1"
  tf = one_thread()
  import tf_keras
  from official.nlp.modeling import layers, models, networks

  tf_keras.mixed_precision.set_global_policy(dtype)

  def gelu(x):
    return tf.nn.gelu(x, approximate=True)

  encoder = networks.BertEncoderV2(
    vocab_size=VOCABULARY, hidden_size=HIDDEN, num_layers=args.layers, num_attention_heads=HEADS,
    inner_dim=INTERMEDIATE, inner_activation=gelu, max_sequence_length=512, type_vocab_size=2,
    output_dropout=0.1, attention_dropout=0.1,
  )  # fmt: skip
  # This head has a pooler of its own; the encoder's gets no gradient.
  pairs = layers.ClassificationHead(HIDDEN, num_classes=2, name="next_sentence")
  model = models.BertPretrainerV2(encoder, gelu, classification_heads=[pairs])
  optimizer = tf_keras.optimizers.Adam(1e-5, global_clipnorm=1.0)
  batch = {name: tf.constant(value) for name, value in numpy_batch(args).items()}
  inputs = {
    "input_word_ids": batch["input_ids"],
    "input_mask": batch["input_mask"],
    "input_type_ids": batch["segment_ids"],
  }

  @tf.function(autograph=False)
  def step():
    with tf.GradientTape() as tape:
      outputs = model(
        {**inputs, "masked_lm_positions": batch["masked_lm_positions"]}, training=True
      )
      labels = tf.reshape(batch["next_sentence_labels"], [-1])
      value = cross_entropy(tf, batch["masked_lm_ids"], outputs["mlm_logits"])
      value += cross_entropy(tf, labels, outputs["next_sentence"])
    variables = model.trainable_variables
    with_gradients = zip(tape.gradient(value, variables), variables, strict=True)
    optimizer.apply_gradients([(g, v) for g, v in with_gradients if g is not None])
    return value

  forward = tf.function(lambda: encoder(inputs, training=False)["pooled_output"], autograph=False)
  return measured(args, lambda: step().numpy(), lambda: forward().numpy())


def measure_transformers(args, dtype: str) -> dict:
  """transformers on torch, bfloat16 by autocast, with torch's AdamW."""
  import torch
  import transformers

  torch.set_num_threads(1)
  config = transformers.BertConfig(num_hidden_layers=args.layers)
  model = transformers.BertForPreTraining(config)
  optimizer = torch.optim.AdamW(model.parameters(), 1e-5)
  batch = {k: torch.from_numpy(v) for k, v in numpy_batch(args).items()}
  labels = torch.full((args.batch, args.length), -100)
  positions = batch["masked_lm_positions"].long()
  labels.scatter_(1, positions, batch["masked_lm_ids"].long())
  inputs = {
    "input_ids": batch["input_ids"].long(),
    "attention_mask": batch["input_mask"],
    "token_type_ids": batch["segment_ids"].long(),
  }
  pairs = batch["next_sentence_labels"].long()[:, 0]

  def autocast():
    return torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bfloat16")

  def step():
    model.train()
    with autocast():
      loss = model(**inputs, labels=labels, next_sentence_label=pairs).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()

  def forward():
    model.eval()
    with torch.no_grad(), autocast():
      model.bert(**inputs)

  return measured(args, step, forward)
