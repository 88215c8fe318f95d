"""What run_classifier.py does: check, make records, train, evaluate, predict.

Imports TensorFlow only once it must.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import tempfile
from typing import Any

import numpy as np
from absl import logging

from bert_tf.errors import UserError
from bert_tf.files import atomic_writer
from bert_tf.tasks.classification import metrics
from bert_tf.tasks.classification.features import LabelEncoder, record_spec, write_records
from bert_tf.tasks.classification.processors import (
  CLASSIFICATION,
  MULTILABEL,
  REGRESSION,
  InputExample,
  TableOptions,
  create_processor,
)
from bert_tf.tasks.model_files import read_model_files
from bert_tf.tasks.results import format_value, write_eval_results, write_model_files
from bert_tf.training import run_config
from bert_tf.training.options import DeviceOptions, TrainingOptions

LABEL_MAP = "label_map.json"


@dataclasses.dataclass(frozen=True)
class ClassifierRun:
  """The flags of run_classifier.py that are its own; see there."""

  data_dir: str
  bert_config_file: str
  task_name: str
  vocab_file: str
  output_dir: str
  init_checkpoint: str | None = None
  do_lower_case: bool = True
  max_seq_length: int = 128
  do_train: bool = False
  do_eval: bool = False
  do_predict: bool = False
  eval_batch_size: int = 8
  predict_batch_size: int = 8
  pad_to_max_length: bool = False
  xnli_language: str = "zh"
  allow_missing: tuple[str, ...] = ()
  table: TableOptions = dataclasses.field(default_factory=TableOptions)


class ClassifierRunner:
  """One start of run_classifier.py.

  Attributes:
    weights_dir: evaluation and prediction take the newest weights in it; --output_dir at first.
  """

  def __init__(self, flags: ClassifierRun):
    """Checks flags and files and reads all examples.

    Raises:
      UserError: nothing to do, an unknown task, or files that are wrong or do not fit together.
    """
    _check_flags(flags)
    self._flags = flags
    self.weights_dir = flags.output_dir
    self._config, self._tokenizer = read_model_files(flags)
    self._processor = create_processor(
      flags.task_name, flags.data_dir, flags.table, self._known_labels(), flags.xnli_language
    )
    self._splits = {
      split: self._read(split)
      for split, wanted in (
        ("train", flags.do_train), ("dev", flags.do_eval), ("test", flags.do_predict)
      )
      if wanted
    }  # fmt: skip
    self._encoder = LabelEncoder(self._processor)
    for examples in self._splits.values():
      self._check_labels(examples)

  def _known_labels(self) -> list[str]:
    """The labels of an earlier training in the output directory."""
    path = self._output(LABEL_MAP)
    if self._flags.do_train or not os.path.exists(path):
      return []
    try:
      with open(path, encoding="utf-8") as file:
        return [str(label) for label in json.load(file).values()]
    except (ValueError, AttributeError) as error:
      raise UserError(
        f"{path}: expected the labels by their ids, found {error}; remove it and give --labels"
      ) from error

  def _check_labels(self, examples: list[InputExample]) -> None:
    for example in examples:
      self._encoder.encode(example)

  def _read(self, split: str) -> list[InputExample]:
    examples = self._processor.examples(split)
    if not examples:
      raise UserError(
        f"--data_dir: expected examples in the {split} set of {self._flags.task_name} in"
        f" {self._flags.data_dir}, found none; the file holds a header and no row for this task"
      )
    return examples

  @property
  def num_train_examples(self) -> int:
    """How many examples there are to train on."""
    return len(self._splits["train"])

  @property
  def task_type(self) -> str:
    """What a label is, see `TableOptions`."""
    return self._encoder.task_type

  @property
  def labels(self) -> tuple[str, ...]:
    """Names of the model's outputs in their order; none for numbers."""
    return tuple(self._encoder.labels)

  @property
  def takes_pairs(self) -> bool:
    """Whether the examples are pairs of texts."""
    return any(example.text_b for split in self._splits.values() for example in split)

  def train(self, training: TrainingOptions, devices: DeviceOptions) -> None:
    """Writes train.tf_record and what describes the model, then trains.

    With `training.eval_steps` the dev set is evaluated on the way. With `training.dry_run`
    everything is checked and nothing is left in the output directory.

    Raises:
      UserError: the output directory holds a run of another model or with other labels.
    """
    run_config.check(self._config, training, devices, self._settings())
    if training.eval_steps and "dev" not in self._splits:
      self._splits["dev"] = self._read("dev")
      self._check_labels(self._splits["dev"])
    logging.info("***** Running training *****")
    logging.info("  Num examples = %d", self.num_train_examples)
    logging.info("  Batch size = %d", training.train_batch_size)
    logging.info("  Num steps = %d", training.num_train_steps)
    with contextlib.ExitStack() as stack:
      directory = self._flags.output_dir
      if training.dry_run:
        directory = stack.enter_context(tempfile.TemporaryDirectory())
      else:
        self._describe()
      task = self._task_with_records(directory, evaluates=bool(training.eval_steps))

      from bert_tf.training import loop

      loop.train(task, training, devices)

  def _task_with_records(self, directory: str, evaluates: bool):
    """Writes train.tf_record, and eval.tf_record where they are read while training."""
    path = os.path.join(directory, "train.tf_record")
    self._write_records("train", path)
    task = self._task(path)
    if evaluates:
      dev_path = os.path.join(directory, "eval.tf_record")
      self._write_records("dev", dev_path)
      task.evaluate_on(dev_path, self._truth(), self._flags.eval_batch_size)
    return task

  def _describe(self) -> None:
    """Writes what belongs to the weights: the config, the vocabulary and the labels."""
    flags = self._flags
    write_model_files(flags.output_dir, self._config, flags.vocab_file, flags.do_lower_case)
    if self._encoder.labels:
      self._write_json(LABEL_MAP, dict(enumerate(self._encoder.labels)))

  def _truth(self) -> np.ndarray:
    """The labels of the dev set: int [n], float [n] or, for multi-label, float [n, L]."""
    truth = np.array([self._encoder.encode(example) for example in self._splits["dev"]])
    return truth if self._encoder.task_type == MULTILABEL else truth[:, 0]

  def evaluate(self, devices: DeviceOptions) -> None:
    """Writes eval_results.txt as the original does, and eval_metrics.json with more scores."""
    path = self._output("eval.tf_record")
    self._write_records("dev", path)
    batch_size = self._flags.eval_batch_size
    logits, losses, step = self._predict(path, len(self._splits["dev"]), batch_size, devices)
    scores = metrics.compute(logits, self._truth(), self._encoder.task_type, self._encoder.labels)
    results: dict[str, Any] = {
      "eval_loss": float(np.mean(losses)),
      "global_step": step,
      # What the original's Estimator adds: the mean of the batches' means.
      "loss": float(np.mean([
        np.mean(losses[i : i + batch_size]) for i in range(0, len(losses), batch_size)
      ])),
    }  # fmt: skip
    if self._encoder.task_type != REGRESSION:
      results["eval_accuracy"] = scores["accuracy"]
    else:
      results |= {f"eval_{name}": scores[name] for name in ("pearson", "spearman")}
    write_eval_results(self._flags.output_dir, results)
    self._write_json("eval_metrics.json", scores)
    for name, value in scores.items():
      if isinstance(value, float):
        logging.info("  %s = %.4f", name, value)

  def predict(self, devices: DeviceOptions) -> None:
    """Writes test_results.tsv as the original does, and predictions.jsonl with names."""
    examples = self._splits["test"]
    path = self._output("predict.tf_record")
    self._write_records("test", path)
    logits, _, _ = self._predict(path, len(examples), self._flags.predict_batch_size, devices)
    outputs = metrics.probabilities(logits, self._encoder.task_type)
    with atomic_writer(self._output("test_results.tsv")) as file:
      logging.info("***** Predict results *****")
      for row in outputs:
        file.write("\t".join(format_value(float(value)) for value in row) + "\n")
    with atomic_writer(self._output("predictions.jsonl")) as file:
      for example, row in zip(examples, outputs, strict=True):
        line = {"id": example.guid, **self._named(row)}
        file.write(json.dumps(line, ensure_ascii=False) + "\n")

  def _named(self, row: np.ndarray) -> dict[str, Any]:
    """One prediction with the names of its labels."""
    if self._encoder.task_type == REGRESSION:
      return {"value": float(row[0])}
    named = {label: float(p) for label, p in zip(self._encoder.labels, row, strict=True)}
    if self._encoder.task_type == CLASSIFICATION:
      best = max(named, key=named.__getitem__)
      return {"label": best, "probability": named[best], "probabilities": named}
    return {"labels": [label for label, p in named.items() if p > 0.5], "probabilities": named}

  def _predict(
    self, path: str, count: int, batch_size: int, devices: DeviceOptions
  ) -> tuple[np.ndarray, np.ndarray, int]:
    """Logits [n, L] and losses [n] in the order of the file, and the global step."""
    from bert_tf.training import inference

    task = self._task()
    flags = self._flags
    model, step = inference.load_newest(task, self.weights_dir, flags.init_checkpoint, devices)
    return *task.predict_all(model, path, count, batch_size, os.path.basename(path)), step

  def _task(self, train_file: str | None = None):
    from bert_tf.tasks.classification.model import ClassificationTask

    task = ClassificationTask(
      self._config,
      self._encoder.num_outputs,
      self._encoder.task_type,
      record_spec(self._encoder, self._flags.max_seq_length),
      train_file,
      self._flags.pad_to_max_length,
    )
    task.allow_missing = (*task.allow_missing, *self._flags.allow_missing)
    task.settings = self._settings()
    return task

  def _settings(self) -> dict[str, Any]:
    """What makes a run another one if it changes, see `training.run_config`."""
    return {
      "task_name": self._flags.task_name.lower(),
      "task_type": self._encoder.task_type,
      "max_seq_length": self._flags.max_seq_length,
      "labels": self._encoder.labels,
    }

  def _write_records(self, split: str, path: str) -> None:
    write_records(
      path, self._splits[split], self._encoder, self._flags.max_seq_length, self._tokenizer
    )

  def _write_json(self, name: str, value: Any) -> None:
    with atomic_writer(self._output(name)) as file:
      json.dump(value, file, indent=2, ensure_ascii=False)
      file.write("\n")

  def _output(self, name: str) -> str:
    return os.path.join(self._flags.output_dir, name)


def _check_flags(flags: ClassifierRun) -> None:
  if not (flags.do_train or flags.do_eval or flags.do_predict):
    raise UserError("expected --do_train, --do_eval or --do_predict, found none; give at least one")
  if flags.max_seq_length < 3:
    raise UserError(
      f"--max_seq_length: expected at least 3 ([CLS], [SEP] and text), found {flags.max_seq_length}"
    )
  for name in ("eval_batch_size", "predict_batch_size"):
    if getattr(flags, name) < 1:
      raise UserError(f"--{name}: expected at least 1, found {getattr(flags, name)}")
