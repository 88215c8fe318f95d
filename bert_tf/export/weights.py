"""Reads the weights that an export needs, and no others."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import keras
from absl import logging

from bert_tf import checkpoints, names
from bert_tf.checkpoints import formats
from bert_tf.errors import UserError
from bert_tf.export.kinds import Kind
from bert_tf.export.kinds.base import Parts
from bert_tf.export.options import DTYPES, GraphPlan

# The prefix, file or directory of a checkpoint, or a model that holds the weights.
Checkpoint: TypeAlias = "str | os.PathLike[str] | keras.Model"


def read(checkpoint: Checkpoint, kind: Kind, plan: GraphPlan) -> keras.Model:
  """Makes the model of a kind and reads its weights, from a file or another model.

  Which parts it has is decided by the names of the weights: nobody is asked for a pooler that no
  answer depends on.

  Raises:
    UserError: a weight is missing and not allowed to be, has another shape, or is not finite.
  """
  policy = DTYPES[plan.dtype]
  if isinstance(checkpoint, keras.Model):
    model = _copy(checkpoint, kind, plan, policy)
  else:
    model = _load(os.fspath(checkpoint), kind, plan, policy)
  checkpoints.check_finite(model)
  return model


def _copy(source: keras.Model, kind: Kind, plan: GraphPlan, policy: str) -> keras.Model:
  weights = names.named_variables(source)
  model = kind.model(plan, Parts.among(weights), policy)
  for name, variable in names.named_variables(model).items():
    if name not in weights:
      raise UserError(f"expected a model with the weight {name}, found a {type(source).__name__}")
    variable.assign(weights[name])
  return model


def _load(path: str, kind: Kind, plan: GraphPlan, policy: str) -> keras.Model:
  reader = formats.open_checkpoint(path, plan.checkpoint_prefix)
  shapes = {name: shape for name, shape in reader.shapes.items() if name not in reader.refused}
  if "output_bias" not in plan.allow_missing:
    _check_labels(shapes, plan.about.labels, path)
  model = kind.model(plan, Parts.among(shapes), policy)
  report = checkpoints.load_from(model, reader, plan.allow_missing)
  random = (*report.missing, *report.mismatched)
  if random:
    logging.warning("%s: stays random, as `allow_missing` says: %s", path, ", ".join(random))
  return model


def _check_labels(shapes: Mapping[str, Sequence[int]], labels: Sequence[str], path: str) -> None:
  """Refuses more or fewer names than the weights have outputs."""
  outputs = shapes.get("output_bias", [len(labels)])[0]
  if labels and outputs != len(labels):
    raise UserError(
      f"{path}: expected the names of its {outputs} outputs, found {len(labels)}:"
      f" {', '.join(labels[:6])}; name them all, in the order of training"
    )
