"""What run_squad.py does: check, make features, train, predict, score.

Imports TensorFlow only once it must.
"""

from __future__ import annotations

import dataclasses
import json
import os
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import tqdm
from absl import logging

from bert_tf.data import records
from bert_tf.errors import UserError
from bert_tf.files import atomic_writer
from bert_tf.tasks.model_files import read_model_files
from bert_tf.tasks.results import write_model_files
from bert_tf.tasks.squad import evaluation
from bert_tf.tasks.squad.examples import SquadExample, load_squad, read_squad_examples
from bert_tf.tasks.squad.features import (
  SquadFeatures,
  check_lengths,
  convert_examples_to_features,
  warn_of_gaps,
)
from bert_tf.tasks.squad.predictions import (
  AnswerFinder,
  Prediction,
  PredictionOptions,
  WindowLogits,
  predictions_by_question,
  write_predictions,
)
from bert_tf.training import run_config
from bert_tf.training.options import DeviceOptions, TrainingOptions

if TYPE_CHECKING:
  import keras

  from bert_tf.tasks.squad.model import SquadTask

# The order of training questions in train.tf_record, as in the original.
_SHUFFLE_SEED = 12345

_Logits = tuple[int, np.ndarray, np.ndarray]


@dataclasses.dataclass(frozen=True)
class SquadRun:
  """The flags of run_squad.py that are its own; see there."""

  bert_config_file: str
  vocab_file: str
  output_dir: str
  train_file: str | None = None
  predict_file: str | None = None
  init_checkpoint: str | None = None
  do_lower_case: bool = True
  max_seq_length: int = 384
  doc_stride: int = 128
  max_query_length: int = 64
  do_train: bool = False
  do_predict: bool = False
  predict_batch_size: int = 8
  dynamic_padding: bool = False
  allow_missing: tuple[str, ...] = ()
  prediction: PredictionOptions = dataclasses.field(default_factory=PredictionOptions)


class SquadRunner:
  """One start of run_squad.py.

  Attributes:
    weights_dir: prediction takes the newest weights in it; --output_dir at first.
  """

  def __init__(self, flags: SquadRun):
    """Checks flags and files.

    Raises:
      UserError: nothing to do, flags that contradict each other, a missing file, a vocabulary or
        lengths that do not fit the config.
    """
    _check_flags(flags)
    self._flags = flags
    self.weights_dir = flags.output_dir
    self._config, self._tokenizer = read_model_files(flags)
    # Read here although it is used after training, so that a bad file is known now.
    self._train_examples = self._read(flags.train_file, True) if flags.do_train else []
    self._predict_examples = self._read(flags.predict_file, False) if flags.do_predict else []
    self._answers = None
    if flags.do_predict:
      self._answers = evaluation.right_answers(load_squad(flags.predict_file))

  @property
  def num_train_examples(self) -> int:
    """How many questions there are to train on."""
    return len(self._train_examples)

  def _read(self, path: str, is_training: bool) -> list[SquadExample]:
    version_2 = self._flags.prediction.version_2_with_negative
    return read_squad_examples(path, is_training, version_2)

  def _windows(
    self, examples: Sequence[SquadExample], is_training: bool, what: str
  ) -> Iterator[SquadFeatures]:
    """The windows of all questions; with `what`, under a progress bar of that name."""
    flags = self._flags
    bar = tqdm.tqdm(examples, desc=what, unit=" questions", disable=None if what else True)
    return convert_examples_to_features(
      bar,
      self._tokenizer,
      flags.max_seq_length,
      flags.doc_stride,
      flags.max_query_length,
      is_training,
    )

  def _write_records(
    self, examples: Sequence[SquadExample], is_training: bool, name: str
  ) -> tuple[str, int]:
    """Writes the windows of all questions as they come; returns the file and their number."""
    path = self._output(name)
    with records.RecordWriter(path) as writer:
      for window in self._windows(examples, is_training, name):
        writer.write(records.encode_example(window.to_record(self._flags.max_seq_length)))
    if not writer.num_written:
      raise UserError(f"{path}: expected at least one window, found only empty contexts")
    return path, writer.num_written

  def train(self, training: TrainingOptions, devices: DeviceOptions) -> None:
    """Writes train.tf_record and what describes the model, then trains.

    Raises:
      UserError: as `loop.train`, or --eval_steps without right answers to compare with.
    """
    if training.eval_steps and self._answers is None:
      raise UserError(
        "--eval_steps: expected --do_predict and a --predict_file with answers, found none"
      )
    run_config.check(self._config, training, devices, self._settings)
    examples = self._train_examples
    random.Random(_SHUFFLE_SEED).shuffle(examples)
    path, num_windows = self._write_records(examples, True, "train.tf_record")
    self._log("training", len(examples), num_windows, training.train_batch_size)
    logging.info("  Num steps = %d", training.num_train_steps)
    self._train_examples = []
    flags = self._flags
    write_model_files(flags.output_dir, self._config, flags.vocab_file, flags.do_lower_case)
    task = self._task(path, num_windows)
    if training.eval_steps:
      windows = self._write_records(self._predict_examples, False, "eval.tf_record")
      task.scorer = lambda model: self._scores(self._predictions(model, *windows))

    from bert_tf.training import loop

    loop.train(task, training, devices)

  def predict(self, devices: DeviceOptions) -> None:
    """Writes eval.tf_record, the answers, and where the file knows the right ones, scores."""
    flags = self._flags
    path, num_windows = self._write_records(self._predict_examples, False, "eval.tf_record")
    self._log("predictions", len(self._predict_examples), num_windows, flags.predict_batch_size)

    from bert_tf.training import inference

    model, _ = inference.load_newest(self._task(), self.weights_dir, flags.init_checkpoint, devices)
    predictions = self._predictions(model, path, num_windows)
    write_predictions(
      predictions,
      self._output("predictions.json"),
      self._output("nbest_predictions.json"),
      self._output("null_odds.json") if flags.prediction.version_2_with_negative else None,
    )
    if self._answers is None:
      logging.info("%s has no answers to compare with: no scores", flags.predict_file)
      return
    text = json.dumps(self._scores(predictions), indent=2)
    with atomic_writer(self._output("eval_metrics.json")) as file:
      file.write(text + "\n")
    print(text)

  def _log(self, what: str, num_examples: int, num_windows: int, batch_size: int) -> None:
    logging.info("***** Running %s *****", what)
    logging.info("  Num orig examples = %d", num_examples)
    logging.info("  Num split examples = %d", num_windows)
    logging.info("  Batch size = %d", batch_size)

  @property
  def _settings(self) -> dict[str, Any]:
    """What else than hyperparameters makes a training this one."""
    names = ("max_seq_length", "doc_stride", "max_query_length", "do_lower_case")
    return {name: getattr(self._flags, name) for name in names}

  def _task(self, train_file: str | None = None, num_windows: int | None = None) -> SquadTask:
    from bert_tf.tasks.squad.model import SquadTask

    task = SquadTask(self._config, self._flags.max_seq_length, train_file, num_windows)
    task.allow_missing = (*task.allow_missing, *self._flags.allow_missing)
    task.settings = self._settings
    return task

  def _predictions(self, model: keras.Model, path: str, num_windows: int) -> dict[str, Prediction]:
    """The answers to all questions, by id, from the windows in a file."""
    examples = self._predict_examples
    finder = AnswerFinder(self._tokenizer, self._flags.prediction)
    # The windows are made once more rather than kept: that takes less time than memory.
    windows = _with_logits(
      self._windows(examples, False, ""), self._logits(model, path, num_windows)
    )
    return {
      example.qas_id: prediction
      for example, prediction in predictions_by_question(examples, windows, finder)
    }

  def _logits(self, model: keras.Model, path: str, num_windows: int) -> Iterator[_Logits]:
    """Logits of all windows in a file; with dynamic padding not in order."""
    from bert_tf.tasks.squad.model import predict_logits
    from bert_tf.training import inference

    batch_size = self._flags.predict_batch_size
    batches = self._task().predict_dataset(path, batch_size, self._flags.dynamic_padding)
    num_batches = -(-num_windows // batch_size)
    for batch in inference.progress(predict_logits(model, batches), num_batches, "predict"):
      yield from batch

  def _scores(self, predictions: Mapping[str, Prediction]) -> dict[str, float]:
    """The official scores."""
    texts = {key: prediction.text for key, prediction in predictions.items()}
    if not self._flags.prediction.version_2_with_negative:
      return evaluation.evaluate_v1(self._answers, texts)
    null_odds = {key: prediction.null_odds for key, prediction in predictions.items()}
    return evaluation.evaluate_v2(self._answers, texts, null_odds)

  def _output(self, name: str) -> str:
    return os.path.join(self._flags.output_dir, name)


def _check_flags(flags: SquadRun) -> None:
  if not flags.do_train and not flags.do_predict:
    raise UserError("expected --do_train or --do_predict, found neither; give at least one")
  for doing, name in (("do_train", "train_file"), ("do_predict", "predict_file")):
    if getattr(flags, doing) and not getattr(flags, name):
      raise UserError(f"--{doing}: expected --{name}, found none; give a SQuAD JSON file")
  check_lengths(flags.max_seq_length, flags.doc_stride, flags.max_query_length)
  warn_of_gaps(flags.max_seq_length, flags.doc_stride, flags.max_query_length)
  for name, value in (
    ("predict_batch_size", flags.predict_batch_size),
    ("n_best_size", flags.prediction.n_best_size),
    ("max_answer_length", flags.prediction.max_answer_length),
  ):
    if value < 1:
      raise UserError(f"--{name}: expected at least 1, found {value}")


def _with_logits(
  windows: Iterable[SquadFeatures], logits: Iterable[_Logits]
) -> Iterator[WindowLogits]:
  """Brings windows, in order, together with their logits, which may come later or earlier."""
  early: dict[int, _Logits] = {}
  logits = iter(logits)
  for window in windows:
    while window.unique_id not in early:
      result = next(logits)
      early[result[0]] = result
    _, start_logits, end_logits = early.pop(window.unique_id)
    yield WindowLogits(window, start_logits, end_logits)
