"""The native format: TensorFlow's name-based checkpoint, as TensorFlow 1 wrote and reads it.

A checkpoint `model.ckpt-N` is the two files `model.ckpt-N.data-00000-of-00001` and
`model.ckpt-N.index`. The index is renamed into place last: where it stands, all of it stands.
"""

from __future__ import annotations

import contextlib
import glob
import math
import os
import shutil
import tempfile
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from bert_tf import names
from bert_tf.checkpoints.tensor_files import as_float32
from bert_tf.errors import UserError

FORMAT = "TF1"
_DATA = ".data-00000-of-00001"
_INDEX = ".index"


class Reader:
  """Reads the tensors of a checkpoint one at a time, by name."""

  format = FORMAT

  def __init__(self, prefix: str):
    """Opens a checkpoint; raises UserError where its index is damaged or a shard is missing."""
    self.path = prefix
    self.refused: dict[str, str] = {}
    try:
      index = tf.train.load_checkpoint(prefix)
      shapes = index.get_variable_to_shape_map()
      self._dtypes = index.get_variable_to_dtype_map()
    except (tf.errors.OpError, ValueError, RuntimeError) as error:
      raise UserError(_damaged(prefix, error)) from error
    self.shapes = {name: tuple(shape) for name, shape in sorted(shapes.items())}
    self._check_sizes()

  def _check_sizes(self) -> None:
    """Raises UserError where a tensor is larger than all shards: memory would be filled first."""
    shards = glob.glob(glob.escape(self.path) + ".data-?????-of-?????")
    stored = sum(map(os.path.getsize, shards))
    for name, shape in self.shapes.items():
      claimed = math.prod(shape) * (self._dtypes[name].size or 0)
      if claimed > stored:
        reason = f"{name} of {claimed} bytes in {stored} bytes of data"
        raise UserError(_damaged(self.path, reason))

  def is_floating(self, name: str) -> bool:
    """Whether a tensor holds numbers with a fraction, as weights do."""
    return self._dtypes[name].is_floating

  def read(self, name: str) -> np.ndarray:
    """Returns a tensor; raises UserError where its bytes are missing or damaged.

    This op, unlike `CheckpointReader`, does not hold the tensor twice while it reads.
    """
    try:
      with tf.device("cpu:0"):
        [tensor] = tf.raw_ops.RestoreV2(
          prefix=self.path,
          tensor_names=[name],
          shape_and_slices=[""],
          dtypes=[self._dtypes[name]],
        )
    except tf.errors.OpError as error:
      raise UserError(_damaged(self.path, error)) from error
    array = np.asarray(tensor)
    # What belongs to a run is kept as it is: some of it is counted in more digits.
    return array if names.is_slot(name) else as_float32(array)


def _damaged(prefix: str, error: Exception | str) -> str:
  reason = str(error).splitlines()[0] if str(error) else type(error).__name__
  return (
    f"{prefix}: expected a complete TensorFlow checkpoint, found a truncated or damaged one"
    f" ({reason}); copy it again"
  )


def write(prefix: str, tensors: Mapping[str, np.ndarray | tf.Tensor | tf.Variable]) -> None:
  """Writes a checkpoint under the given names; it is complete or absent.

  Raises:
    UserError: the directory cannot be written or the disk is full.
  """
  directory = os.path.dirname(prefix) or "."
  try:
    os.makedirs(directory, exist_ok=True)
    scratch = tempfile.mkdtemp(prefix=".saving-", dir=directory)
  except OSError as error:
    raise UserError(f"cannot write a checkpoint in {directory}: {error.strerror}") from error
  try:
    temporary = os.path.join(scratch, "model.ckpt")
    with tf.device("cpu:0"):
      # Sorted, as TensorFlow 1 wrote them; the op wants them in no particular order.
      ordered = sorted(tensors)
      tf.raw_ops.SaveV2(
        prefix=temporary,
        tensor_names=ordered,
        shape_and_slices=[""] * len(ordered),
        tensors=[tf.convert_to_tensor(tensors[name]) for name in ordered],
      )
    for suffix in (_DATA, _INDEX):
      with open(temporary + suffix, "rb+") as file:
        os.fsync(file.fileno())
      os.replace(temporary + suffix, prefix + suffix)
  except (tf.errors.OpError, OSError) as error:
    reason = str(error).splitlines()[0]
    raise UserError(f"cannot write the checkpoint {prefix}: {reason}") from error
  finally:
    shutil.rmtree(scratch, ignore_errors=True)


def delete(prefix: str) -> None:
  """Removes a checkpoint, the index first, so that what remains is never taken for complete."""
  for path in (prefix + _INDEX, *glob.glob(glob.escape(prefix) + ".data-?????-of-?????")):
    with contextlib.suppress(FileNotFoundError):
      os.remove(path)
