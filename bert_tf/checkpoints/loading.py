"""Reads the weights of a model from a checkpoint of any format."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from absl import logging

from bert_tf import names
from bert_tf.checkpoints import formats
from bert_tf.checkpoints.reader import is_finite, read_weight
from bert_tf.checkpoints.report import LoadReport, compare

if TYPE_CHECKING:
  import keras
  import numpy as np

  from bert_tf.checkpoints.reader import Reader

_PART_BYTES = 1 << 24


def load(
  model: keras.Model,
  path: Any,
  allow_missing: Iterable[str] = (),
  prefix: str | None = None,
) -> LoadReport:
  """Reads the weights of `model` from `path`, whatever supported format it is in.

  Args:
    model: a `BertModel` or one of the models of `bert_tf.heads`.
    path: a checkpoint prefix, file or directory, `hf://organisation/name[@revision]`, or a live
      BERT of KerasHub.
    allow_missing: names of weights, or patterns such as "cls/*", that may be missing from the
      checkpoint or have another shape there; they keep their initial values.
    prefix: what stands before the names of the model in the file ("module/", "student.");
      default: found by itself where there is one BERT in the file.

  Returns:
    What was matched, missing, mismatched and unexpected.

  Raises:
    UserError: there is no checkpoint at `path`, it is damaged, it holds several models and
      `prefix` does not say which, or a weight is missing or of another shape and not allowed to
      be; the model is then unchanged, unless it was the
      bytes of a tensor that were damaged.
  """
  reader = formats.open_checkpoint(path, prefix)
  return load_from(model, reader, allow_missing)


def load_from(model: keras.Model, reader: Reader, allow_missing: Iterable[str] = ()) -> LoadReport:
  """Does what `load` does with a checkpoint that is open."""
  variables = names.named_variables(model)
  report = compare(
    reader.path,
    reader.format,
    {name: tuple(variable.shape) for name, variable in variables.items()},
    {name: shape for name, shape in reader.shapes.items() if not names.is_slot(name)},
    allow_missing,
    reader.refused,
  )
  wrong = []
  for name in report.matched:
    array = read_weight(reader, name)
    if not is_finite(array):
      wrong.append(name)
    _assign(variables[name], array)
  if wrong:
    logging.warning(
      "%s: %d weights hold NaN or infinite values, %s first: whatever is computed from them is NaN;"
      " take an earlier checkpoint",
      reader.path, len(wrong), wrong[0],
    )  # fmt: skip
  return dataclasses.replace(report, not_finite=tuple(wrong))


def _assign(variable: keras.Variable, array: np.ndarray) -> None:
  """Copies an array into a variable, a large one in parts.

  TensorFlow makes a tensor of what it assigns, and at times a second one: twice the embeddings
  of a large vocabulary would be half of a model.
  """
  import tensorflow as tf

  target = variable.value
  if array.nbytes <= _PART_BYTES or isinstance(target, tf.distribute.DistributedValues):
    variable.assign(array)
    return
  rows = max(1, _PART_BYTES * len(array) // array.nbytes)
  for start in range(0, len(array), rows):
    target[start : start + rows].assign(array[start : start + rows])
