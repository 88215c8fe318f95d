"""What all estimators have in common: their parameters, and a run of the engine."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
import random
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from bert_tf.errors import UserError
from bert_tf.model_dir import Description
from bert_tf.tasks.fine_tuning import FineTuning, steps_of_epochs
from bert_tf.tasks.task_data import FineTuningOptions, TaskData
from bert_tf.trained_model import TrainedModel, inputs
from bert_tf.trained_model.loading import load, load_described
from bert_tf.training.options import DeviceOptions, TrainingOptions

# Made from the others, or of no use where nobody looks at a directory.
LEFT_OUT = ("num_train_steps", "num_warmup_steps", "init_checkpoint", "dry_run", "stop_at")
# A notebook that trains on several machines is none; the scripts do it.
LEFT_OUT_DEVICES = ("tpu_name", "tpu_zone", "gcp_project", "cluster_resolver", "worker_timeout")


@dataclasses.dataclass(repr=False, eq=False, kw_only=True)
class BertEstimator(BaseEstimator):
  """A BERT that is fine-tuned by `fit`.

  The parameters are those of the scripts, under the names of `TrainingOptions`, with the same
  defaults, and the training is the same: equal settings and data give equal weights, bit for bit.

  Args:
    checkpoint: weights to start from: a directory, a prefix, a file or `hf://organisation/name`.
      None: random weights, for which `bert_config_file` and `vocab_file` are needed.
    output_dir: where to keep the run. Calling `fit` again with the same data and settings goes on
      with it, or finds it finished; other data or settings are refused. None: a directory that is
      gone after the training, as `cross_val_score` and `GridSearchCV` need it.
    epochs: how often to go over the examples.
    warmup_proportion: share of the steps over which the learning rate rises.
    max_seq_length: longest sequence, in pieces; default: 128, of questions 384.
    bert_config_file: default: the one beside the weights; so are the next two.
    vocab_file: likewise.
    do_lower_case: likewise; True where nothing says otherwise.
    allow_missing: names or patterns of further weights that `checkpoint` need not hold.
    eval_steps: evaluate on `validation_data` after every so many steps, and take the best weights.
    best_metric: which score of the evaluations says which weights are best; default: the task's.
    early_stopping_patience: stop after so many evaluations that brought nothing better.
    predict_batch_size: texts at once in predictions and evaluations.
    pad_to_max_length: give all batches one shape, for XLA and TPUs.

  All others are explained in `bert_tf.training.options`.
  """

  checkpoint: str | None = dataclasses.field(default=None, kw_only=False)
  output_dir: str | None = None
  epochs: float = 3.0
  learning_rate: float = 5e-5
  train_batch_size: int = 32
  max_seq_length: int | None = None
  warmup_proportion: float = 0.1
  seed: int = 12345
  eval_steps: int = 0
  best_metric: str | None = None
  early_stopping_patience: int = 0
  bert_config_file: str | None = None
  vocab_file: str | None = None
  do_lower_case: bool | None = None
  allow_missing: tuple[str, ...] = ()
  predict_batch_size: int = 32
  pad_to_max_length: bool = False
  weight_decay: float = 0.01
  max_grad_norm: float = 1.0
  optimizer: str = "adamw"
  adam_bias_correction: bool = False
  layerwise_lr_decay: float = 1.0
  reinit_layers: int = 0
  gradient_accumulation_steps: int = 1
  tokens_per_batch: int = 0
  recompute_activations: bool = False
  enable_xla: bool = False
  deterministic: bool = False
  dtype: str = "float32"
  distribution_strategy: str = "auto"
  save_checkpoints_steps: int = 1000
  keep_checkpoint_max: int = 5
  steps_per_loop: int = 1000
  log_steps: int = 100
  total_training_time: float = 0.0
  skip_nonfinite_steps: int = 0
  allow_config_change: bool = False
  profile_steps: tuple[int, int] | None = None
  wandb_project: str | None = None

  def _train(
    self,
    make_data: Callable[[FineTuningOptions, Description, str], TaskData],
    default_max_seq_length: int,
    **more: Any,
  ) -> None:
    """Runs the engine; leaves `trained_` and `history_`.

    Args:
      make_data: see `FineTuning`; is given the directory of the run besides.
      default_max_seq_length: of the task.
      **more: fields of `FineTuningOptions`.
    """
    with contextlib.ExitStack() as stack:
      stack.enter_context(_random_state_kept())
      stack.enter_context(_retracing_is_meant())
      directory = self.output_dir and os.path.expanduser(self.output_dir)
      if not directory:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="bert_tf-"))
      run = FineTuning(
        self._fine_tuning_options(directory, more),
        lambda options, weights: make_data(options, weights, directory),
        default_max_seq_length,
      )
      run.train(self._training_options(run, directory), self._device_options())
      # The files may go, and with them the vocabulary.
      about = dataclasses.replace(run.about, vocab_file=None)
      self.trained_ = load_described(run.weights, about)
      self.history_ = _history(directory)

  def _fine_tuning_options(self, directory: str, more: dict[str, Any]) -> FineTuningOptions:
    return FineTuningOptions(
      directory,
      self.checkpoint and os.path.expanduser(self.checkpoint),
      self.bert_config_file,
      self.vocab_file,
      self.do_lower_case,
      self.max_seq_length,
      do_train=True,
      eval_batch_size=self.predict_batch_size,
      predict_batch_size=self.predict_batch_size,
      pad_to_max_length=self.pad_to_max_length,
      takes_best=bool(self.eval_steps),
      allow_missing=tuple(self.allow_missing),
      **more,
    )

  def _training_options(self, run: FineTuning, directory: str) -> TrainingOptions:
    steps, warmup = steps_of_epochs(
      run.num_train_examples, self.train_batch_size, self.epochs, self.warmup_proportion
    )
    own = {"output_dir", *LEFT_OUT}
    names = {f.name for f in dataclasses.fields(TrainingOptions)} - own
    return TrainingOptions(
      output_dir=directory,
      num_train_steps=steps,
      num_warmup_steps=warmup,
      init_checkpoint=self.checkpoint and os.path.expanduser(self.checkpoint),
      **{name: getattr(self, name) for name in sorted(names)},
    )

  def _device_options(self) -> DeviceOptions:
    return DeviceOptions(distribution_strategy=self.distribution_strategy, dtype=self.dtype)

  def save(
    self, directory: str | os.PathLike[str], overwrite: bool = False, format: str = "tf1"
  ) -> str:
    """Writes the fitted model where `bert_tf.load` and every script find it.

    Labels are written as text: those that were numbers are answered as text after `bert_tf.load`.
    Args and errors as of `TrainedModel.save`.
    """
    return self._fitted().save(directory, overwrite, format)

  def export(self, directory: str | os.PathLike[str], **options: Any) -> str:
    """Exports the fitted model for TensorFlow Serving; as `TrainedModel.export`."""
    return self._fitted().export(directory, **options)

  def _fitted(self) -> TrainedModel:
    """The fitted model; raises scikit-learn's NotFittedError before `fit`."""
    check_is_fitted(self, "trained_")
    return self.trained_

  def __sklearn_tags__(self):
    """Says that inputs are texts, not numbers."""
    tags = super().__sklearn_tags__()
    tags.input_tags.two_d_array = False
    tags.input_tags.string = True
    tags.no_validation = True
    return tags

  def __getstate__(self) -> dict[str, Any]:
    """For pickle and copy: a fitted model goes along as its files."""
    state = dict(super().__getstate__())
    trained = state.pop("trained_", None)
    if trained is not None:
      with tempfile.TemporaryDirectory() as scratch:
        trained.save(scratch)
        state["_files"] = {name: _content(scratch, name) for name in sorted(os.listdir(scratch))}
    return state

  def __setstate__(self, state: dict[str, Any]) -> None:
    """See `__getstate__`."""
    state = dict(state)
    files = state.pop("_files", None)
    super().__setstate__(state)
    if files is not None:
      with tempfile.TemporaryDirectory() as scratch:
        for name, content in files.items():
          with open(os.path.join(scratch, name), "wb") as file:
            file.write(content)
        trained = load(scratch)
        trained.about = dataclasses.replace(trained.about, vocab_file=None)
        self.trained_ = trained


def columns_of(X: Any, y: Any) -> tuple[Any, list[Any]]:
  """Returns inputs and as many labels; those of a `tf.data.Dataset` of twos where `y` is None.

  Raises:
    UserError: there are no labels, or not as many as inputs.
  """
  if y is None:
    if not hasattr(X, "as_numpy_iterator"):
      # In scikit-learn's words, which its own tools look for.
      raise UserError("requires y to be passed, but the target y is None")
    return inputs.split_dataset(X)
  labels = inputs.plain_list(y)
  rows = inputs.texts_of(X) if not isinstance(X, list) else X
  if len(rows) != len(labels):
    raise UserError(f"expected a label for every input, found {len(labels)} for {len(rows)}")
  if not labels:
    raise UserError("expected examples, found 0 samples; give at least two")
  return rows, labels


def two(validation_data: Any) -> tuple[Any, Any]:
  """(X, y) of a tuple or a dataset."""
  if hasattr(validation_data, "as_numpy_iterator"):
    return validation_data, None
  if not isinstance(validation_data, tuple | list) or len(validation_data) != 2:
    raise UserError("`validation_data`: expected (X, y), found something else")
  return validation_data[0], validation_data[1]


@contextlib.contextmanager
def _random_state_kept() -> Iterator[None]:
  """The engine seeds Python's and numpy's generators, which belong to the caller."""
  python, ours = random.getstate(), np.random.get_state()
  try:
    yield
  finally:
    random.setstate(python)
    np.random.set_state(ours)


@contextlib.contextmanager
def _retracing_is_meant() -> Iterator[None]:
  """Hides TensorFlow's warning of many tracings: every fit is of a new model."""

  def is_other(record: logging.LogRecord) -> bool:
    return "tf.function retracing" not in record.getMessage()

  logger = logging.getLogger("tensorflow")
  logger.addFilter(is_other)
  try:
    yield
  finally:
    logger.removeFilter(is_other)


def _history(directory: str) -> list[dict[str, Any]]:
  """What the run wrote of itself: losses, scores, speed, in the order of steps."""
  path = os.path.join(directory, "metrics.jsonl")
  if not os.path.exists(path):
    return []
  with open(path, encoding="utf-8") as file:
    return [json.loads(line) for line in file]


def _content(directory: str, name: str) -> bytes:
  with open(os.path.join(directory, name), "rb") as file:
    return file.read()
