"""From a live model to a checkpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bert_tf import names
from bert_tf.checkpoints import conversion
from bert_tf.checkpoints.conversion import Conversion
from bert_tf.checkpoints.reader import Shape
from bert_tf.model_dir import Description, head_kinds

if TYPE_CHECKING:
  import keras


def save(
  model: keras.Model, path: str, format: str = "tf1", description: Description | None = None
) -> Conversion:
  """Writes a model's weights, and what belongs to them, into a new directory.

  What is written is read again and must compute the same, as in `convert`; or nothing is left.

  Args:
    model: a `BertModel` or one of the models of `bert_tf.heads`.
    path: a directory that does not exist or is empty.
    format: one of `conversion.FORMATS`: "tf1", "huggingface", "model_garden" or "keras_hub".
    description: vocabulary, labels and so on; default: the model's config and kind alone. Its
      config must be the model's.

  Returns:
    Which outputs were compared, and which weights the format has no place for.

  Raises:
    UserError: the format cannot have such a model, a weight is not finite, or `path` cannot be
      written.

  Example:
    >>> bert_tf.checkpoints.save(bert_tf.BertModel(config), "out", format="huggingface")
  """
  about = description or Description(model.config, head=_head(model))
  return conversion.write(path, format, LiveModel(model), about)


class LiveModel:
  """The weights of a model in memory, as a checkpoint of any format gives them."""

  format = "Keras"

  def __init__(self, model: keras.Model):
    """Args: `model`, a `BertModel` or one of the models of `bert_tf.heads`."""
    self.path = type(model).__name__
    self.refused: dict[str, str] = {}
    self._variables = names.named_variables(model)
    self.shapes: dict[str, Shape] = {
      name: tuple(variable.shape) for name, variable in self._variables.items()
    }

  def read(self, name: str) -> np.ndarray:
    """Returns a weight as an array."""
    return np.asarray(self._variables[name].numpy())


def _head(model: keras.Model) -> str | None:
  """What is known of a model's head; a classifier's labels may exclude each other or not."""
  from bert_tf import heads
  from bert_tf.modeling import BertModel

  kinds = {
    BertModel: head_kinds.ENCODER,
    heads.PretrainingModel: head_kinds.PRETRAINING,
    heads.TokenClassifierModel: head_kinds.TOKENS,
    heads.SpanModel: head_kinds.QUESTION_ANSWERING,
  }
  return next((head for kind, head in kinds.items() if isinstance(model, kind)), None)
