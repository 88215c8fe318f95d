"""Evaluation while training: keeps the best weights apart and says when to stop."""

from __future__ import annotations

import os
from collections.abc import Mapping

import keras
import tensorflow as tf
from absl import logging

from bert_tf import names
from bert_tf.checkpoints import tf1
from bert_tf.errors import UserError
from bert_tf.files import atomic_writer
from bert_tf.model_dir.weight_files import BEST_DIRECTORY, complete_checkpoints
from bert_tf.training.checkpointing import write_state_file
from bert_tf.training.options import TrainingOptions
from bert_tf.training.state import RunState
from bert_tf.training.task import Task

# Ends of names of results that are to be small.
_LESS_IS_BETTER = ("loss", "error")


class Evaluation:
  """Evaluates a task every `eval_steps` updates."""

  def __init__(
    self, task: Task, model: keras.Model, state: RunState, options: TrainingOptions, writes: bool
  ):
    """Args: `state` remembers the best result; `writes`, whether this worker keeps the best."""
    self._task = task
    self._model = model
    self._state = state
    self._options = options
    self._writes = writes
    if options.eval_steps and not task.can_evaluate:
      raise UserError(
        "`eval_steps`: expected something to evaluate on, found none; this task has no evaluation"
        " during training"
      )

  @property
  def is_wanted(self) -> bool:
    """Whether there are evaluations at all."""
    return bool(self._options.eval_steps)

  def is_due(self, step: int) -> bool:
    """Whether to evaluate after this step: at multiples of `eval_steps`, and at the end."""
    every = self._options.eval_steps
    return bool(every) and (step % every == 0 or step >= self._options.num_train_steps)

  @property
  def patience_is_over(self) -> bool:
    """Whether the last evaluations have brought nothing better."""
    patience = self._options.early_stopping_patience
    return bool(patience) and int(self._state.evaluations_since_best.numpy()) >= patience

  def run(self, step: int, *, counts: bool = True) -> dict[str, float]:
    """Evaluates, keeps the weights where they are the best so far, returns the results.

    Args: `counts`, whether patience wears thin where the result is no better.
    """
    results = {name: float(value) for name, value in self._task.evaluate(self._model).items()}
    best_metric = self._options.best_metric or self._task.best_metric
    metric = best_metric.removeprefix("-")
    if metric not in results:
      raise UserError(
        f"`best_metric`: expected a result of the evaluation ({', '.join(results)}), found {metric}"
      )
    less_is_better = best_metric.startswith("-") or metric.endswith(_LESS_IS_BETTER)
    value = -results[metric] if less_is_better else results[metric]
    # A NaN is never the best.
    better = value > float(self._state.best_value.numpy())
    if better:
      self._state.best_value.assign(value)
      self._state.best_step.assign(step)
      self._state.evaluations_since_best.assign(0)
      if self._writes:
        self._keep(step, results)
    elif counts:
      self._state.evaluations_since_best.assign_add(1)
    logging.info(
      "Evaluation at step %d: %s%s",
      step,
      ", ".join(f"{name} {value:.4g}" for name, value in sorted(results.items())),
      " (the best so far)" if better else f" (best: step {int(self._state.best_step.numpy())})",
    )
    return results

  def _keep(self, step: int, results: Mapping[str, float]) -> None:
    """Writes weights and results to best/, then removes what was there."""
    directory = os.path.join(self._options.output_dir, BEST_DIRECTORY)
    weights: dict[str, tf.Variable] = {
      name: variable.value for name, variable in names.named_variables(self._model).items()
    }
    prefix = os.path.join(directory, f"model.ckpt-{step}")
    tf1.write(prefix, {**weights, names.GLOBAL_STEP: self._state.global_step})
    write_state_file(directory, [prefix])
    for other in complete_checkpoints(directory):
      if other != prefix:
        tf1.delete(other)
    with atomic_writer(os.path.join(directory, "eval_results.txt")) as file:
      for name, value in sorted({**results, "global_step": step}.items()):
        file.write(f"{name} = {value}\n")
