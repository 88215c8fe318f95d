"""Finds out why a loss or gradient is not finite."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, cast

import keras
import numpy as np
import tensorflow as tf

from bert_tf import names
from bert_tf.errors import UserError
from bert_tf.files import atomic_writer
from bert_tf.training.task import FeatureRole, Task


def explain(
  step: int,
  batch: Mapping[str, np.ndarray],
  metrics: Mapping[str, float],
  model: keras.Model,
  task: Task,
  output_dir: str,
  worker: int = 0,
) -> UserError:
  """Saves the batch and names the step and the likely causes.

  Args:
    step: number of the update that was to be made, counted from 1.
    batch: the features that this worker was given for it.
    metrics: of the loop that halted, see `TrainStep.run`.
    model: with the weights as they were before the step.
    task: computes losses.
    output_dir: where the batch is saved.
    worker: number of this worker, part of the file's name.

  Returns:
    The error to raise.
  """
  suffix = f"_worker{worker}" if worker else ""
  path = os.path.join(output_dir, f"nonfinite_step_{step}{suffix}.npz")
  with atomic_writer(path, "wb") as file:
    np.savez(file, **cast(dict[str, Any], batch))
  causes = [
    *ids_out_of_range(batch, task.features),
    *_weights_not_finite(model),
    *_first_output_not_finite(batch, model, task),
    *_precision(model),
    _rate(metrics["learning_rate"], step),
  ]
  return UserError(
    f"step {step}: expected a finite loss and gradient, found loss {metrics['last_loss']:.6g} and"
    f" gradient norm {metrics['gradient_norm']:.6g}; the batch is saved in {path}. Likely causes:"
    f" {'; '.join(causes)}. `skip_nonfinite_steps=N` leaves up to N such batches out"
  )


def _rate(rate: float, step: int) -> str:
  """What the learning rate has to do with it."""
  if not rate:
    return "not the learning rate, which is 0 in this step, but the weights or the batch"
  cause = (
    f"the learning rate ({rate:.3g} in this step) may be too high: lower `learning_rate` or"
    " lengthen the warmup"
  )
  if step == 1:
    return cause
  # The settings of a run that has made a step are kept, see `run_config`.
  return f"{cause}, with `allow_config_change` to go on from the newest checkpoint"


def ids_out_of_range(
  batch: Mapping[str, np.ndarray], features: Mapping[str, FeatureRole]
) -> list[str]:
  """Says which ids of a batch no table holds; on a GPU they give zeros instead of an error.

  Args: `features`, of the task.
  """
  found = []
  for name, role in features.items():
    values = batch.get(name)
    if role.limit is None or values is None or not np.issubdtype(values.dtype, np.integer):
      continue
    outside = ((values < 0) | (values >= role.limit)) & (values != role.ignored)
    wrong = values[outside]
    if wrong.size:
      found.append(f"{name} holds {wrong.flat[0]}, outside of 0 to {role.limit - 1}")
  return found


def _weights_not_finite(model: keras.Model) -> list[str]:
  wrong = [
    name
    for name, variable in names.named_variables(model).items()
    if not np.isfinite(variable.numpy()).all()
  ]
  return [f"{len(wrong)} weights are not finite themselves, {wrong[0]} first"] if wrong else []


def _first_output_not_finite(
  batch: Mapping[str, np.ndarray], model: keras.Model, task: Task
) -> list[str]:
  """Without dropout: the first layer, or the loss, that is not finite."""
  features = {name: tf.constant(value) for name, value in batch.items()}
  try:
    outputs = model(features, training=False)
    sums, weights = task.loss_sums(outputs, features), task.loss_weights(features)
  except tf.errors.OpError as error:
    return [f"computing it again fails: {error.message.splitlines()[0]}"]
  stages = {"the embeddings": outputs.get("embedding_output")}
  for index, layer in enumerate(outputs.get("encoder_layers", [])):
    stages[f"encoder layer {index}"] = layer
  stages |= {name: value for name, value in outputs.items() if name.endswith("logits")}
  for name, value in sums.items():
    stages[f"the {name} loss"] = value / weights[name]
  for name, value in stages.items():
    if value is not None and not np.isfinite(tf.cast(value, tf.float32).numpy()).all():
      return [f"{name} is the first output that is not finite"]
  return ["without dropout all outputs are finite: it is the gradient, or a mask of dropout"]


def _precision(model: keras.Model) -> list[str]:
  if model.compute_dtype != "float16":
    return []
  return ["float16 overflows beyond 65504, and the loss scale is at its least: use bfloat16"]
