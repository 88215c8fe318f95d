"""The data of reading comprehension: SQuAD 1.1 and 2.0 (BERT paper, sections 4.2 and 4.3)."""

from __future__ import annotations

import dataclasses
import json
import os
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from absl import logging

from bert_tf.errors import UserError
from bert_tf.files import atomic_writer
from bert_tf.model_dir import Description, head_kinds
from bert_tf.tasks.squad import scores
from bert_tf.tasks.squad.examples import SquadExample, read_squad_examples
from bert_tf.tasks.squad.features import (
  SquadFeatures,
  SquadReport,
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
from bert_tf.tasks.task_data import (
  TEST,
  TRAIN,
  Answers,
  FineTuningOptions,
  TaskData,
  check_head,
  setting,
)

if TYPE_CHECKING:
  from bert_tf.tasks.squad.model import SquadTask

# The order of training questions in train.tf_record, as in the original.
_SHUFFLE_SEED = 12345

_Logits = tuple[int, np.ndarray, np.ndarray]


@dataclasses.dataclass(frozen=True)
class SquadOptions:
  """Where the questions are and how they are answered; the flags of run_squad.py have these names.

  None stands for what the weights were used with before, or else for the flag's default.
  """

  train_file: str | None = None
  predict_file: str | None = None
  doc_stride: int | None = None
  max_query_length: int | None = None
  n_best_size: int | None = None
  max_answer_length: int | None = None
  version_2_with_negative: bool | None = None
  null_score_diff_threshold: float | None = None
  verbose_logging: bool = False
  dynamic_padding: bool = False
  answer_offsets: bool | None = None
  train_answers: str | None = None
  metric: str | None = None


class SquadData(TaskData):
  """See `TaskData`. The test set is what is to be answered; it is scored where it has answers.

  Attributes:
    doc_stride: how many pieces apart windows start.
    max_query_length: longest question in pieces.
    prediction: how answers are chosen.
  """

  default_max_seq_length = 384
  unit = "questions"
  scored_split = TEST
  record_files = {TRAIN: "train.tf_record", TEST: "eval.tf_record"}  # noqa: RUF012
  result_files = (
    "predictions.json", "nbest_predictions.json", "null_odds.json", "eval_metrics.json",
  )  # fmt: skip
  head = head_kinds.QUESTION_ANSWERING
  pairs = True

  def __init__(self, task: SquadOptions, options: FineTuningOptions, weights: Description):
    """Reads the right answers, and settles what was not given.

    Raises:
      UserError: a missing file, lengths or numbers that cannot be.
    """
    check_head(self.head, weights)
    self._task, self._options, self._config = task, options, weights.config
    self._max_seq_length = weights.max_seq_length or self.default_max_seq_length
    self._tokenizer = weights.full_tokenizer()
    self._settle(weights.settings)
    for wanted, name in ((options.do_train, "train_file"), (options.do_predict, "predict_file")):
      if wanted and not getattr(task, name):
        doing = "do_train" if name == "train_file" else "do_predict"
        raise UserError(f"`{doing}`: expected `{name}`, found none; give a SQuAD JSON file")
    self._read: dict[str, list[SquadExample]] = {}
    self._scorer = None
    if task.predict_file and options.do_predict:
      version_2 = self.prediction.version_2_with_negative
      self._scorer = scores.scorer(task.predict_file, task.metric, version_2)
    self.input_files = {
      "train_file": [task.train_file] if task.train_file else [],
      "predict_file": [task.predict_file] if task.predict_file else [],
    }
    if options.do_train and task.train_file:
      self.train_files = [task.train_file]

  def _settle(self, known: Mapping[str, Any]) -> None:
    """Finds the value of every setting that was not given."""
    default = PredictionOptions()

    def settle(name: str, otherwise: Any) -> Any:
      given = getattr(self._task, name)
      return setting(name, given, known.get(name), otherwise)

    self.doc_stride: int = settle("doc_stride", 128)
    self.max_query_length: int = settle("max_query_length", 64)
    self.prediction = PredictionOptions(
      settle("n_best_size", default.n_best_size),
      settle("max_answer_length", default.max_answer_length),
      settle("version_2_with_negative", default.version_2_with_negative),
      settle("null_score_diff_threshold", default.null_score_diff_threshold),
      self._task.verbose_logging,
      settle("answer_offsets", default.answer_offsets),
    )
    lengths = self._max_seq_length, self.doc_stride, self.max_query_length
    check_lengths(*lengths)
    warn_of_gaps(*lengths)
    for name in ("n_best_size", "max_answer_length"):
      if (value := getattr(self.prediction, name)) < 1:
        raise UserError(f"`{name}`: expected at least 1, found {value}")
    self.run_settings: dict[str, Any] = {
      "doc_stride": self.doc_stride,
      "max_query_length": self.max_query_length,
      "version_2_with_negative": self.prediction.version_2_with_negative,
    }
    answering = dataclasses.asdict(self.prediction)
    del answering["verbose_logging"]
    # Positions of padding take places among the n best, or not.
    padding = {"dynamic_padding": self._task.dynamic_padding}
    settings = {**self.run_settings, **answering, **padding}
    # What every context decides for itself is no setting of the weights.
    self.settings = {name: value for name, value in settings.items() if value is not None}
    self.run_settings |= {
      "answer_offsets": self.prediction.answer_offsets,
      "train_answers": self._task.train_answers,
    }

  @property
  def num_train_examples(self) -> int:
    """How many questions there are to train on."""
    return len(self.examples(TRAIN))

  def log_training(self) -> None:
    """See `TaskData`."""
    logging.info("  Num orig examples = %d", self.num_train_examples)

  def examples(self, split: str) -> list[SquadExample]:
    """See `TaskData`. Those to train on come in the original's random order."""
    if split not in self._read:
      path = self._task.train_file if split == TRAIN else self._task.predict_file
      if not path or (split != TRAIN and self._scorer is None and not self._options.do_predict):
        raise UserError(
          "`eval_steps`: expected `do_predict` and a `predict_file` with answers, found none"
        )
      version_2 = self.prediction.version_2_with_negative
      found = read_squad_examples(
        path, split == TRAIN, version_2, self.prediction.answer_offsets, self._task.train_answers
      )
      if split == TRAIN:
        random.Random(_SHUFFLE_SEED).shuffle(found)
      self._read[split] = found
    return self._read[split]

  def records(
    self, split: str, examples: Iterable[SquadExample]
  ) -> Iterator[Mapping[str, Sequence]]:
    """See `TaskData`: one for each window."""
    report = SquadReport()
    for window in self._windows(examples, split == TRAIN, report):
      yield window.to_record(self._max_seq_length)
    report.log(f"{split} set", self.max_query_length)

  def _windows(
    self,
    examples: Iterable[SquadExample],
    is_training: bool,
    report: SquadReport | None = None,
  ) -> Iterator[SquadFeatures]:
    return convert_examples_to_features(
      examples,
      self._tokenizer,
      self._max_seq_length,
      self.doc_stride,
      self.max_query_length,
      is_training,
      report,
    )

  def create_task(
    self, train_file: str | None, num_records: int | None, **options: Any
  ) -> SquadTask:
    """See `TaskData`."""
    from bert_tf.tasks.squad.model import SquadTask

    version_2 = self.prediction.version_2_with_negative
    return SquadTask(
      self._config, self._max_seq_length, train_file, num_records, version_2, **options
    )

  def scores(self, answers: Answers) -> dict[str, float]:
    """See `TaskData`; the official ones."""
    if self._scorer is None:
      raise UserError(
        "`eval_steps`: expected `do_predict` and a `predict_file` with answers, found none"
      )
    return self._scorer(self._predictions(answers))

  def predict(self, answers: Answers, output_dir: str) -> None:
    """Writes the answers and, where the file knows the right ones, scores."""
    predictions = self._predictions(answers)
    names = ["predictions.json", "nbest_predictions.json"]
    if self.prediction.version_2_with_negative:
      names.append("null_odds.json")
    write_predictions(predictions, *(os.path.join(output_dir, name) for name in names))
    if self._scorer is None:
      logging.info("%s has no answers to compare with: no scores", self._task.predict_file)
      return
    text = json.dumps(self._scorer(predictions), indent=2)
    with atomic_writer(os.path.join(output_dir, "eval_metrics.json")) as file:
      file.write(text + "\n")
    print(text)

  def _predictions(self, answers: Answers) -> dict[str, Prediction]:
    """The answers to all questions, by id, from the windows in a file."""
    examples = self.examples(TEST)
    finder = AnswerFinder(self._tokenizer, self.prediction)
    # The windows are made once more rather than kept: that takes less time than memory.
    logits = answers.task.predict(
      answers.model,
      answers.path,
      answers.num_records,
      answers.batch_size,
      self._task.dynamic_padding,
      answers.what,
    )
    windows = _with_logits(self._windows(examples, False), logits)
    return {
      example.qas_id: prediction
      for example, prediction in predictions_by_question(examples, windows, finder)
    }


def _with_logits(
  windows: Iterable[SquadFeatures], logits: Iterable[_Logits]
) -> Iterator[WindowLogits]:
  """Brings windows, in order, together with their logits, which may come later or earlier."""
  early: dict[int, _Logits] = {}
  logits = iter(logits)
  for place, window in enumerate(windows):
    while place not in early:
      result = next(logits)
      early[result[0]] = result
    _, start_logits, end_logits = early.pop(place)
    yield WindowLogits(window, start_logits, end_logits)
