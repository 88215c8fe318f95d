"""What every format gives: tensors by the original's names, one at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Protocol

import numpy as np

from bert_tf import names
from bert_tf.errors import UserError

if TYPE_CHECKING:
  import keras

Shape = tuple[int, ...]


class Reader(Protocol):
  """A checkpoint of any format, read one tensor at a time by the original's names.

  Attributes:
    path: what is read.
    format: which format it is in.
    shapes: name -> shape, in the original's layout. Tensors that the original has not keep the
      name that they have in the file.
    refused: names of weights that BERT has but that mean something else here -> the reason.
  """

  path: str
  format: str
  shapes: dict[str, Shape]
  refused: dict[str, str]

  def read(self, name: str) -> np.ndarray:
    """Returns a tensor in the original's layout; raises UserError where it is damaged."""
    ...


def read_weight(reader: Reader, name: str) -> np.ndarray:
  """Returns a weight in float32; raises UserError where it is damaged or stored as integers."""
  array = reader.read(name)
  if array.dtype != np.float32:
    raise UserError(
      f"{reader.path}: expected {name} as floating-point numbers, found {array.dtype}; take the"
      " model from before it was quantized"
    )
  return array


def is_finite(array: np.ndarray) -> bool:
  """Whether all values are numbers; takes no memory."""
  with np.errstate(invalid="ignore"):
    return not array.size or bool(np.isfinite(array.min()) and np.isfinite(array.max()))


def check_finite(source: Reader | keras.Model) -> None:
  """Refuses weights that are not finite: a model that has one answers nothing but NaN.

  Args:
    source: a model, or an open checkpoint, whose optimizer slots do not count.

  Raises:
    UserError: names the first such weight.
  """
  if hasattr(source, "variables"):
    for name, variable in names.named_variables(source).items():
      _check_finite("", name, variable.numpy())
    return
  # Reading them is the check.
  for _ in Weights(source).values():
    pass


def _check_finite(path: str, name: str, array: np.ndarray) -> None:
  if not is_finite(array):
    wrong = int(array.size - np.isfinite(array).sum())
    raise UserError(
      f"{path}expected finite weights, found {wrong} of the {array.size} values of {name} to be NaN"
      " or infinite; the training had diverged, take an earlier checkpoint"
    )


class Weights(Mapping):
  """The tensors of a checkpoint as a mapping that reads each one when it is asked for.

  A weight that is not finite is refused by name, and so is one that is stored as integers.
  """

  def __init__(self, reader: Reader, slots: bool = False):
    """Args: `reader`; `slots`, whether those of the optimizer and the step count as well."""
    self._reader = reader
    self.shapes = {
      name: shape
      for name, shape in reader.shapes.items()
      if name not in reader.refused and (slots or not names.is_slot(name))
    }

  def __getitem__(self, name: str) -> np.ndarray:
    if name not in self.shapes:
      raise KeyError(name)
    if names.is_slot(name):
      return self._reader.read(name)
    array = read_weight(self._reader, name)
    _check_finite(f"{self._reader.path}: ", name, array)
    return array

  def __iter__(self) -> Iterator[str]:
    return iter(self.shapes)

  def __len__(self) -> int:
    return len(self.shapes)
