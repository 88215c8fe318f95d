"""The data of sentence tasks: labels, several labels or numbers (BERT paper, section 4.1)."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from absl import logging

from bert_tf.data.report import TokenizationReport
from bert_tf.errors import UserError
from bert_tf.files import atomic_writer
from bert_tf.model_dir import Description, label_scale, labels
from bert_tf.tasks.classification import class_weights, metrics, result_tables, thresholds
from bert_tf.tasks.classification.features import LabelEncoder, convert_example, record_spec
from bert_tf.tasks.classification.processors import (
  CLASSIFICATION,
  MULTILABEL,
  REGRESSION,
  DataProcessor,
  InputExample,
  TableOptions,
  create_processor,
)
from bert_tf.tasks.long_text import LongText
from bert_tf.tasks.results import format_value, write_eval_results, write_json
from bert_tf.tasks.task_data import DEV, TEST, TRAIN, Answers, FineTuningOptions, TaskData

if TYPE_CHECKING:
  from bert_tf.tasks.classification.model import ClassificationTask
  from bert_tf.training.options import TrainingOptions


@dataclasses.dataclass(frozen=True)
class ClassificationOptions:
  """Where the examples are; the flags of run_classifier.py have the same names.

  `processor` has them where they are in memory. `long_text` holds what is said of `LongText`, by
  name.
  """

  task_name: str
  data_dir: str | None = None
  xnli_language: str = "zh"
  table: TableOptions = dataclasses.field(default_factory=TableOptions)
  processor: DataProcessor | None = None
  long_text: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  class_weights: str | Mapping[str, float] | None = None
  choose_threshold: str | None = None
  standardize_labels: bool | None = None


class ClassificationData(TaskData):
  """See `TaskData`."""

  result_files = (
    "eval_results.txt", "eval_metrics.json", result_tables.PICTURE, "test_results.tsv",
    "predictions.jsonl",
  )  # fmt: skip

  def __init__(self, task: ClassificationOptions, options: FineTuningOptions, weights: Description):
    """Makes the processor of the task, and finds its labels.

    Raises:
      UserError: an unknown task, or labels that are not those of the weights.
    """
    self._task, self._options = task, options
    self._max_seq_length = weights.max_seq_length or self.default_max_seq_length
    if self._max_seq_length < 3:
      raise UserError(
        "`max_seq_length`: expected at least 3 ([CLS], [SEP] and text), found"
        f" {self._max_seq_length}"
      )
    self._config, self._tokenizer = weights.config, weights.full_tokenizer()
    self._long_text = LongText.settled(task.long_text, weights.settings)
    self.settings = self._long_text.settings()
    table = task.table
    if table.task_type is None:
      table = dataclasses.replace(table, task_type=weights.head or CLASSIFICATION)
    self._processor = task.processor or create_processor(
      task.task_name, task.data_dir, table, weights.labels, task.xnli_language
    )
    self._check_against(weights)
    self._class_weights: dict[str, float] | None = None
    self._splits: dict[str, list[InputExample]] = {}
    self._encoder = LabelEncoder(self._processor, labels_of_weights(self._processor, weights))
    self.labels = tuple(self._encoder.labels)
    self.head = self._encoder.task_type
    self.run_settings = {
      "task_name": task.task_name.lower(),
      "task_type": self.head,
      "long_text": self._long_text.long_text,
      **self.settings,
    }
    self.score_names = metrics.names(self.head, len(self.labels))
    self._use_thresholds(weights)
    wanted = [split for split in (TRAIN, DEV, TEST) if options.wants(split)]
    self.pairs = any(example.text_b for split in wanted for example in self.examples(split))
    self._check_windows()
    self._label_scale = self._scale_labels(weights)
    self.input_files = {"data_dir": [p for s in wanted for p in self._processor.files(s)]}
    if options.do_train:
      self.train_files = self._processor.files(TRAIN)
      self._class_weights = self._weigh_classes()
      self.run_settings["class_weights"] = self._class_weights
      if examples := self._processor.digest(TRAIN):
        self.run_settings["train_examples"] = examples
    elif weights.pairs is not None and weights.pairs != self.pairs:
      logging.warning(
        "The weights were trained on %s, the examples are %s",
        *("pairs of texts" if pairs else "single texts" for pairs in (weights.pairs, self.pairs)),
      )

  def _check_against(self, weights: Description) -> None:
    """Raises UserError where the weights are not of this kind of task, or of other labels."""
    if weights.head not in (None, self._processor.task_type):
      raise UserError(
        f"expected `task_type={weights.head}`, as lies beside the weights, found"
        f" {self._processor.task_type}; leave the flag out, or train on this task"
      )
    given = self._task.table.labels
    if given and weights.labels and (found := labels.difference(given, weights.labels)):
      raise UserError(f"`labels`: expected those of the weights, found {found}; leave the flag out")

  def _use_thresholds(self, weights: Description) -> None:
    """Takes on those that lie beside the weights; raises UserError where none can be chosen."""
    thresholds.check(self._task.choose_threshold, self.head, self.labels, self._options.do_eval)
    self._thresholds = thresholds.of(weights.settings, self.head, self.labels)
    if self._thresholds is not None:
      self.settings = {
        **self.settings, thresholds.SETTING: dict(weights.settings[thresholds.SETTING])
      }  # fmt: skip
      logging.info("Labels are given from probabilities of %s", self.settings[thresholds.SETTING])

  def _scale_labels(self, weights: Description) -> label_scale.LabelScale | None:
    """In which unit a regression counts: that of the weights, or that of the training data."""
    said = self._task.standardize_labels
    if self.head != REGRESSION:
      if said:
        raise UserError(
          "`standardize_labels`: expected a regression, whose labels are numbers, found"
          f" {self.head}; leave it out"
        )
      return None
    found = label_scale.of(weights.settings)
    if found is None and self._options.do_train:
      found = label_scale.choose(said, self._truth(TRAIN).tolist())
    if found is not None:
      self.settings = {**self.settings, **label_scale.settings(found)}
      self.run_settings = {**self.run_settings, **label_scale.settings(found)}
      logging.info(
        "Labels are learnt in deviations (%.4g) from their mean (%.4g), and predicted as they are",
        found.deviation,
        found.mean,
      )
    return found

  def _weigh_classes(self) -> dict[str, float] | None:
    truth = self._truth(TRAIN) if self._task.class_weights else np.zeros([0])
    found = class_weights.of(self._task.class_weights, self.labels, truth, self.head)
    if found:
      logging.info(
        "Weights of labels in the loss: %s", ", ".join(f"{k} {v:.4g}" for k, v in found.items())
      )
    return found

  def _check_windows(self) -> None:
    """Raises UserError where texts are to be read in windows and cannot be."""
    self._long_text.most_ids(self._max_seq_length)
    if not self._long_text.in_windows:
      return
    if self.pairs:
      raise UserError(
        "`long_text=windows`: expected single texts, found pairs, of which it is not clear what to"
        " repeat in every window; take `long_text=head_tail`, or join both texts in one column"
      )
    if self._options.pad_to_max_length:
      raise UserError(
        "`long_text=windows`: expected batches of any shape, found `pad_to_max_length`, which"
        " `enable_xla` and TPUs turn on; leave it out, or take `long_text=head_tail`"
      )

  def check_training(self, training: TrainingOptions) -> None:
    """See `TaskData`; a text is not cut up between the pieces of a batch."""
    budget, length = training.tokens_per_batch, self._max_seq_length
    if not self._long_text.in_windows or not budget:
      return
    most = self._long_text.max_windows * length
    if most > budget:
      raise UserError(
        f"`tokens_per_batch`: expected at least {most}, what a text of `max_windows="
        f"{self._long_text.max_windows}` of `max_seq_length={length}` takes, found {budget}; raise"
        " it, or lower `max_windows`"
      )

  @property
  def num_train_examples(self) -> int:
    """See `TaskData`."""
    return len(self.examples(TRAIN))

  def examples(self, split: str) -> list[InputExample]:
    """See `TaskData`."""
    if split not in self._splits:
      found = list(self._processor.examples(split))
      if not found:
        raise UserError(
          f"`data_dir`: expected examples in the {split} set of {self._task.task_name} in"
          f" {self._task.data_dir}, found none; the file holds a header and no row for this task"
        )
      for example in found:
        self._encoder.encode(example)
      self._splits[split] = found
    return self._splits[split]

  def records(
    self, split: str, examples: Iterable[InputExample]
  ) -> Iterator[Mapping[str, Sequence]]:
    """See `TaskData`: one for each (original: `file_based_convert_examples_to_features`)."""
    report = TokenizationReport()
    length, long_text = self._max_seq_length, self._long_text
    for example in examples:
      features = convert_example(example, self._encoder, length, self._tokenizer, report, long_text)
      yield features.to_record()
    report.log(f"{split} set", self.unit, long_text.limit(length))

  def task_class(self) -> type[ClassificationTask]:
    """What is learnt; a subclass may give it another head, see examples/custom_head.py."""
    from bert_tf.tasks.classification.model import ClassificationTask

    return ClassificationTask

  def create_task(
    self, train_file: str | None, num_records: int | None, **options: Any
  ) -> ClassificationTask:
    """See `TaskData`."""
    from bert_tf.tasks.classification.model import Reading

    return self.task_class()(
      self._config,
      self._encoder.num_outputs,
      self.head,
      record_spec(self._encoder, self._max_seq_length, self._long_text),
      train_file,
      self._options.pad_to_max_length,
      Reading(self._max_seq_length, self._long_text),
      list(self._class_weights.values()) if self._class_weights else None,
      self._label_scale,
      **options,
    )

  def scores(self, answers: Answers) -> dict[str, float]:
    """See `TaskData`; the scores of `metrics.compute` that are numbers, and the mean `loss`."""
    return answers.task.score(answers.model, answers.path, self._truth(DEV), answers.batch_size)

  def _truth(self, split: str) -> np.ndarray:
    """The labels of a split: int [n], float [n] or, for multi-label, float [n, L]."""
    truth = np.array([self._encoder.encode(example) for example in self.examples(split)])
    return truth if self.head == MULTILABEL else truth[:, 0]

  def evaluate(self, answers: Answers, output_dir: str, step: int) -> None:
    """Writes eval_results.txt as the original does, eval_metrics.json with more scores, and a
    picture of these; chooses thresholds where that is asked for.
    """
    logits, losses = _predict(answers)
    size = answers.batch_size
    if self._task.choose_threshold:
      self._choose_thresholds(logits, self._task.choose_threshold)
    scores = metrics.compute(
      logits, self._truth(DEV), self.head, self._encoder.labels, self._thresholds
    )
    results: dict[str, Any] = {
      "eval_loss": float(np.mean(losses)),
      "global_step": step,
      # What the original's Estimator adds: the mean of the batches' means.
      "loss": float(np.mean([np.mean(losses[i : i + size]) for i in range(0, len(losses), size)])),
    }
    if self.head != REGRESSION:
      results["eval_accuracy"] = scores["accuracy"]
    else:
      results |= {f"eval_{name}": scores[name] for name in ("pearson", "spearman")}
    write_eval_results(output_dir, results)
    write_json(os.path.join(output_dir, "eval_metrics.json"), scores)
    for name, value in scores.items():
      if isinstance(value, float):
        logging.info("  %s = %.4f", name, value)
    if self.head != REGRESSION:
      self._show(scores, output_dir, step)

  def _show(self, scores: Mapping[str, Any], output_dir: str, step: int) -> None:
    """Logs and draws which labels are taken for which."""
    lines = result_tables.per_label(scores["per_label"])
    if "confusion_matrix" in scores:
      matrix = np.array(scores["confusion_matrix"])
      lines += ["", *result_tables.confusion(matrix, self.labels)]
    for line in lines:
      logging.info("  %s", line)
    path = os.path.join(output_dir, result_tables.PICTURE)
    title = f"{self._task.task_name}: {len(self.examples(DEV))} examples, step {step}"
    if not result_tables.draw(path, scores, self.labels, title):
      logging.info("  %d labels are too many for a picture", len(self.labels))

  def _choose_thresholds(self, logits: np.ndarray, metric: str) -> None:
    """Finds those with the best score on the dev set, and answers by them from now on."""
    probabilities = metrics.probabilities(logits, self.head)
    found = thresholds.choose(probabilities, self._truth(DEV), self.head, self.labels, metric)
    self.settings = {**self.settings, thresholds.SETTING: found}
    self._thresholds = thresholds.of(self.settings, self.head, self.labels)
    logging.info(
      "Labels are given from the probabilities with the best %s on the dev set, whose scores are"
      " therefore a little better than those of other data will be: %s",
      metric,
      ", ".join(f"{label} {value:.4g}" for label, value in found.items()),
    )

  def predict(self, answers: Answers, output_dir: str) -> None:
    """Writes test_results.tsv as the original does, and predictions.jsonl with names."""
    logits, _ = _predict(answers)
    outputs = metrics.probabilities(logits, self.head)
    with atomic_writer(os.path.join(output_dir, "test_results.tsv")) as file:
      logging.info("***** Predict results *****")
      for row in outputs:
        file.write("\t".join(format_value(float(value)) for value in row) + "\n")
    with atomic_writer(os.path.join(output_dir, "predictions.jsonl")) as file:
      answered = self._answered(logits, outputs)
      for example, row, answer in zip(self.examples(TEST), outputs, answered, strict=True):
        line = {"id": example.guid, **self._named(row, answer)}
        file.write(json.dumps(line, ensure_ascii=False) + "\n")

  def _answered(self, logits: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    """See `thresholds.decide`; a number of a regression is what it is."""
    if self.head == REGRESSION:
      return outputs
    return thresholds.decide(logits, outputs, self.head, self._thresholds)

  def _named(self, row: np.ndarray, answer: np.ndarray) -> dict[str, Any]:
    """One prediction with the names of its labels."""
    if self.head == REGRESSION:
      return {"value": float(row[0])}
    named = {label: float(p) for label, p in zip(self.labels, row, strict=True)}
    if self.head == CLASSIFICATION:
      best = self.labels[answer]
      return {"label": best, "probability": named[best], "probabilities": named}
    given = [label for label, wanted in zip(self.labels, answer, strict=True) if wanted]
    return {"labels": given, "probabilities": named}


def _predict(answers: Answers) -> tuple[np.ndarray, np.ndarray]:
  """Logits [n, L] and losses [n] in the order of the file."""
  return answers.task.predict_all(
    answers.model, answers.path, answers.num_records, answers.batch_size, answers.what
  )


def labels_of_weights(processor: DataProcessor, weights: Description) -> list[str]:
  """Returns the labels of a task in the order of the weights' outputs.

  They are the processor's where the weights know none. Where it numbers them 0, 1, ... and the
  weights name as many, as many models on the hub do, the numbers are those of the outputs.

  Raises:
    UserError: the weights have other labels.
  """
  own, known = processor.labels(), weights.labels
  if not known or list(known) == own:
    return own
  if sorted(known) == sorted(own):
    return list(known)
  if own == [str(number) for number in range(len(known))]:
    return own
  raise UserError(
    f"expected the labels of the weights ({', '.join(known[:6])}), found those of the task"
    f" ({', '.join(own[:6])}); use weights that were trained on it, or train"
  )
