"""A regression that counts in a unit of its own, as the plain one that gives the same numbers.

Other libraries know no such unit: what is converted or saved for them has it in the weights.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from bert_tf import names
from bert_tf.checkpoints.reader import Reader
from bert_tf.model_dir import Description, label_scale

_WEIGHTS, _BIAS = "output_weights", "output_bias"


def fold(reader: Reader, about: Description) -> tuple[Reader, Description]:
  """Returns both without `label_scale`; as they are where there is none."""
  scale = label_scale.of(about.settings)
  if scale is None or _WEIGHTS not in reader.shapes:
    return reader, about
  settings = {k: v for k, v in about.settings.items() if k != label_scale.SETTING}
  return _Folded(reader, scale), dataclasses.replace(about, settings=settings)


class _Folded:
  """A checkpoint whose head is multiplied by the deviation of the labels, their mean added."""

  def __init__(self, reader: Reader, scale: label_scale.LabelScale):
    self.path, self.format = reader.path, reader.format
    # The moments of the old head mean nothing to the new one.
    self.shapes = {
      name: shape
      for name, shape in reader.shapes.items()
      if not (names.is_slot(name) and name.rsplit("/", 1)[0] in (_WEIGHTS, _BIAS))
    }
    self.refused = reader.refused
    self._reader, self._scale = reader, scale

  def read(self, name: str) -> np.ndarray:
    """See `Reader`."""
    value = self._reader.read(name)
    mean, deviation = self._scale
    if name == _WEIGHTS:
      return (value * np.float32(deviation)).astype(value.dtype)
    if name == _BIAS:
      return (value * np.float32(deviation) + np.float32(mean)).astype(value.dtype)
    return value
