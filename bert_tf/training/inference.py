"""What evaluation and prediction have in common: the newest weights, and answers in order."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import keras
import numpy as np
import tensorflow as tf
from absl import logging

from bert_tf import checkpoints, names, progress_bars
from bert_tf.checkpoints import tf1
from bert_tf.errors import UserError
from bert_tf.training.checkpointing import complete_checkpoints
from bert_tf.training.options import DTYPES, DeviceOptions
from bert_tf.training.task import Features, Task

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
  return iter(progress_bars.bar(batches, total=total, desc=what, unit="batch"))


class Predictor:
  """Asks a model for its answers to records, batch by batch; compiled once for a model."""

  def __init__(self, answers: Callable[[keras.Model, Features], tuple[tf.Tensor, ...]]):
    """Args: `answers`, of a model to a batch: tensors [b, ...]."""
    self._answers = answers
    self._compiled: tuple[keras.Model, Callable[[Features], tuple[tf.Tensor, ...]]] | None = None

  def __call__(
    self,
    model: keras.Model,
    dataset: tf.data.Dataset,
    num_batches: int | None = None,
    what: str | None = None,
  ) -> Iterator[tuple[np.ndarray, ...]]:
    """Yields for every batch the places of its records in the file, int [b], and its answers.

    Args:
      model: with its weights.
      dataset: batches; those of records of similar length tell the places as `example_index`.
      num_batches: how many, for the progress bar.
      what: names that bar; None: no bar.
    """
    compute = self._function(model, dataset.element_spec)
    done = 0
    for features in progress(dataset, num_batches, what) if what else dataset:
      answers = compute(features)
      places = features.get("example_index", tf.range(done, done + len(answers[0])))
      done += len(places)
      yield places.numpy(), *(answer.numpy() for answer in answers)

  def _function(
    self, model: keras.Model, spec: dict[str, tf.TensorSpec]
  ) -> Callable[[Features], tuple[tf.Tensor, ...]]:
    if self._compiled is None or self._compiled[0] is not model:
      function = functools.partial(self._answers, model)
      self._compiled = (
        model,
        tf.function(function, autograph=False, input_signature=[spec], reduce_retracing=True),
      )
    return self._compiled[1]
