"""Reads and writes the weights of BERT under the names of google-research/bert."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from bert_tf.checkpoints import names
from bert_tf.checkpoints.report import LoadReport, compare
from bert_tf.errors import UserError

if TYPE_CHECKING:
  import keras

__all__ = ["LoadReport", "load"]


def load(model: keras.Model, path: str, allow_missing: Iterable[str] = ()) -> LoadReport:
  """Reads the weights of `model` from `path`, whatever supported format it is in.

  Args:
    model: a `BertModel` or one of the models of `bert_tf.heads`.
    path: a checkpoint prefix, file or directory.
    allow_missing: names of weights, or patterns such as "cls/*", that may be missing from the
      checkpoint or have another shape there; they keep their initial values.

  Returns:
    What was matched, missing, mismatched and unexpected.

  Raises:
    UserError: there is no checkpoint at `path`, it is damaged, or a weight is missing or of
      another shape and not allowed to be. The model is then unchanged.
  """
  from bert_tf.checkpoints import tf1

  prefix = tf1.find(path)
  if prefix is None:
    raise UserError(
      f"init checkpoint: expected a checkpoint, found none at {path!r}; give the prefix of the"
      " .index file, such as uncased_L-12_H-768_A-12/bert_model.ckpt"
    )
  reader = tf1.Reader(prefix)
  variables = names.named_variables(model)
  report = compare(
    prefix,
    tf1.FORMAT,
    {name: tuple(variable.shape) for name, variable in variables.items()},
    {name: shape for name, shape in reader.shapes.items() if not names.is_slot(name)},
    allow_missing,
  )
  for name in report.matched:
    variables[name].assign(reader.read(name))
  return report
