"""What evaluation and prediction have in common: the newest weights, and a progress bar."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

import keras
import tqdm
from absl import logging

from bert_tf import checkpoints, names
from bert_tf.checkpoints import tf1
from bert_tf.errors import UserError
from bert_tf.training.checkpointing import complete_checkpoints
from bert_tf.training.options import DTYPES, DeviceOptions
from bert_tf.training.task import Task

T = TypeVar("T")


def load_newest(
  task: Task, output_dir: str, init_checkpoint: str | None, devices: DeviceOptions
) -> tuple[keras.Model, int]:
  """Creates the task's model with the weights of a run, or of the initial checkpoint.

  Args:
    task: gives the model.
    output_dir: of the run; its newest complete checkpoint is taken.
    init_checkpoint: taken where the run has no checkpoint; it must hold every weight that the
      task trains.
    devices: gives the precision.

  Returns:
    The model, and the global step of the run (0 for an initial checkpoint).

  Raises:
    UserError: there is no checkpoint, or it is of another model.
  """
  model = task.create_model(DTYPES[devices.dtype])
  saved = complete_checkpoints(output_dir)
  if saved:
    logging.info("Using the weights of %s", saved[-1])
    checkpoints.load(model, saved[-1])
    return model, int(tf1.Reader(saved[-1]).read(names.GLOBAL_STEP))
  if not init_checkpoint:
    raise UserError(
      f"expected a checkpoint in `output_dir` ({output_dir}), found none; train first, or give"
      " `init_checkpoint`"
    )
  logging.info("Using the weights of %s", checkpoints.load(model, init_checkpoint, task.untrained))
  return model, 0


def progress(batches: Iterable[T], total: int | None, what: str) -> Iterator[T]:
  """Passes batches on and shows a bar with rate and time left on a terminal."""
  return iter(tqdm.tqdm(batches, total=total, desc=what, unit="batch", disable=None))
