"""What run_ner.py does: check, make windows, train, evaluate, predict.

Imports TensorFlow only once it must.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from absl import logging

from bert_tf.errors import UserError
from bert_tf.files import atomic_writer
from bert_tf.model_dir import description
from bert_tf.model_dir.description import directories_of
from bert_tf.tasks.model_files import read_model_files
from bert_tf.tasks.ner import metrics, sentences
from bert_tf.tasks.ner.features import SentenceEncoder, write_records
from bert_tf.tasks.ner.sentences import Columns, Sentence
from bert_tf.tasks.results import write_eval_results, write_model_files
from bert_tf.training import run_config
from bert_tf.training.options import DeviceOptions, TrainingOptions

if TYPE_CHECKING:
  import keras

  from bert_tf.tasks.ner.model import NerTask, WordLabels


@dataclasses.dataclass(frozen=True)
class NerRun:
  """The flags of run_ner.py that are its own; see there. `files` is split -> file."""

  bert_config_file: str
  vocab_file: str
  output_dir: str
  data_dir: str | None = None
  files: dict[str, str] = dataclasses.field(default_factory=dict)
  columns: Columns = dataclasses.field(default_factory=Columns)
  labels_file: str | None = None
  init_checkpoint: str | None = None
  do_lower_case: bool = True
  max_seq_length: int = 128
  doc_stride: int | None = None
  do_train: bool = False
  do_eval: bool = False
  do_predict: bool = False
  eval_batch_size: int = 8
  predict_batch_size: int = 8
  pad_to_max_length: bool = False
  allow_missing: tuple[str, ...] = ()


class NerRunner:
  """One start of run_ner.py.

  Attributes:
    weights_dir: evaluation and prediction take the newest weights in it; --output_dir at first.
  """

  def __init__(self, flags: NerRun):
    """Checks flags and files and reads all sentences.

    Raises:
      UserError: nothing to do, or files that are wrong or do not fit together.
    """
    _check_flags(flags)
    self._flags = flags
    self.weights_dir = flags.output_dir
    self._config, tokenizer = read_model_files(flags)
    self._splits = {
      split: self._read(split)
      for split, wanted in (
        ("train", flags.do_train), ("dev", flags.do_eval), ("test", flags.do_predict)
      )
      if wanted
    }  # fmt: skip
    labels, source = self._find_labels()
    sentences.check_tags(labels, source)
    self._encoder = SentenceEncoder(tokenizer, labels, flags.max_seq_length, flags.doc_stride)
    for split in self._splits:
      self._check(split)
    self.num_train_examples = sum(
      1 for sentence in self._splits.get("train", ()) for _ in self._encoder.windows(sentence)
    )

  def _read(self, split: str) -> list[Sentence]:
    path = sentences.find_file(self._flags.data_dir, split, self._flags.files.get(split))
    return sentences.read_sentences(path, self._flags.columns, labelled=split != "test")

  def _find_labels(self) -> tuple[list[str], str]:
    """The labels in the order of their ids, and where they are from.

    Named in a file, or those of the weights; of the training data in a training, and where
    nothing lies beside the weights.
    """
    flags = self._flags
    if flags.labels_file:
      return description.read_labels(flags.labels_file), f"--labels_file={flags.labels_file}"
    if not flags.do_train:
      # With a slash it is a directory even if it is not there yet.
      for place in filter(None, (os.path.join(flags.output_dir, ""), flags.init_checkpoint)):
        for directory in directories_of(place):
          found = description.find_labels(os.path.join(directory, ""))
          if found:
            return found, f"the labels in {directory}"
    train = self._splits.get("train") or self._read("train")
    return sentences.tags_of(train), train[0].path

  def _check(self, split: str) -> None:
    """Raises UserError for tags that the model lacks, or without a word to label."""
    checked = self._splits[split]
    # Tags of the test set are only copied.
    for sentence in checked if split != "test" else ():
      self._encoder.check(sentence)
    if not any(self._encoder.is_scored(word) for s in checked for word in s.words):
      raise UserError(f"{checked[0].path}: expected words, found only characters without meaning")

  @property
  def labels(self) -> tuple[str, ...]:
    """Names of the model's outputs in their order."""
    return tuple(self._encoder.labels)

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
      self._check("dev")
    logging.info("***** Running training *****")
    logging.info("  Num sentences = %d", len(self._splits["train"]))
    logging.info("  Num windows = %d", self.num_train_examples)
    logging.info("  Batch size = %d", training.train_batch_size)
    logging.info("  Num steps = %d", training.num_train_steps)
    with contextlib.ExitStack() as stack:
      directory = self._flags.output_dir
      if training.dry_run:
        directory = stack.enter_context(tempfile.TemporaryDirectory())
      else:
        self._describe()
      path, _ = self._write_records("train", directory, "train.tf_record")
      task = self._task(path)
      if training.eval_steps:
        windows = self._write_records("dev", directory, "eval.tf_record")
        task.scorer = lambda model: _numbers(self._score(task, model, *windows))

      from bert_tf.training import loop

      loop.train(task, training, devices)

  def _describe(self) -> None:
    """Writes what belongs to the weights: the config, the vocabulary and the labels."""
    flags = self._flags
    write_model_files(flags.output_dir, self._config, flags.vocab_file, flags.do_lower_case)
    with atomic_writer(self._output(description.LABELS_FILE)) as file:
      file.writelines(f"{label}\n" for label in self.labels)

  def _score(
    self, task: NerTask, model: keras.Model, path: str, count: int, what: str | None = None
  ) -> dict[str, Any]:
    """The scores of `metrics.compute` on the dev set, and the mean `loss` of its words."""
    found = task.predict(model, path, count, self._flags.eval_batch_size, what)
    predicted = [tags for tags, _ in self._by_sentence("dev", found)]
    gold = [sentence.tags for sentence in self._splits["dev"]]
    return {**metrics.compute(predicted, gold), "loss": float(np.mean(found.losses))}

  def evaluate(self, devices: DeviceOptions) -> None:
    """Writes eval_results.txt, and eval_metrics.json with the scores of each type."""
    windows = self._write_records("dev", self._flags.output_dir, "eval.tf_record")
    task, model, step = self._load(devices)
    scores = self._score(task, model, *windows, "eval")
    for kind, values in scores["per_type"].items():
      numbers = ", ".join(f"{name} {values[name]:.4f}" for name in ("precision", "recall", "f1"))
      logging.info("  %s (%d): %s", kind, values["support"], numbers)
    results = {f"eval_{name}": value for name, value in _numbers(scores).items()}
    write_eval_results(self._flags.output_dir, {**results, "global_step": step})
    with atomic_writer(self._output("eval_metrics.json")) as file:
      json.dump(scores, file, indent=2, ensure_ascii=False)
      file.write("\n")

  def predict(self, devices: DeviceOptions) -> None:
    """Writes test_predictions.txt, line by line as the input, and test_results.tsv."""
    windows = self._write_records("test", self._flags.output_dir, "predict.tf_record")
    task, model, _ = self._load(devices)
    found = task.predict(model, *windows, self._flags.predict_batch_size, "predict")
    labelled = list(self._by_sentence("test", found))
    self._write_predictions([tags for tags, _ in labelled])
    self._write_entities(labelled)

  def _write_predictions(self, predicted: Sequence[list[str]]) -> None:
    """A line for every line of the test file: word, tag of the file if any, predicted tag."""
    number = 1
    with atomic_writer(self._output("test_predictions.txt")) as file:
      for sentence, tags in zip(self._splits["test"], predicted, strict=True):
        file.write("\n" * (sentence.first_line - number))
        columns = [sentence.words, *([sentence.tags] if sentence.tags else []), tags]
        file.writelines("\t".join(row) + "\n" for row in zip(*columns, strict=True))
        number = sentence.first_line + len(tags)

  def _write_entities(self, labelled: Sequence[tuple[list[str], list[float]]]) -> None:
    """A line for every entity found."""
    with atomic_writer(self._output("test_results.tsv")) as file:
      file.write("sentence\tfirst_word\tlast_word\ttype\tprobability\ttext\n")
      for number, (sentence, (tags, probabilities)) in enumerate(
        zip(self._splits["test"], labelled, strict=True)
      ):
        for kind, first, last in metrics.entities(tags):
          words = slice(first, last + 1)
          mean, text = np.mean(probabilities[words]), " ".join(sentence.words[words])
          file.write(f"{number}\t{first}\t{last}\t{kind}\t{mean:.6f}\t{text}\n")

  def _by_sentence(self, split: str, found: WordLabels) -> Iterator[tuple[list[str], list[float]]]:
    """Yields (tags, their probabilities) of every sentence; a word without pieces is outside."""
    place = 0
    for sentence in self._splits[split]:
      tags, probabilities = [], []
      for word in sentence.words:
        scored = self._encoder.is_scored(word)
        tags.append(self._encoder.labels[found.ids[place]] if scored else sentences.OUTSIDE)
        probabilities.append(float(found.probabilities[place]) if scored else 1.0)
        place += scored
      yield tags, probabilities

  def _load(self, devices: DeviceOptions) -> tuple[NerTask, keras.Model, int]:
    from bert_tf.training import inference

    task = self._task()
    checkpoint = self._flags.init_checkpoint
    return task, *inference.load_newest(task, self.weights_dir, checkpoint, devices)

  def _task(self, train_file: str | None = None) -> NerTask:
    from bert_tf.tasks.ner.model import NerTask

    flags = self._flags
    task = NerTask(
      self._config, len(self.labels), flags.max_seq_length, train_file, flags.pad_to_max_length
    )
    task.allow_missing = (*task.allow_missing, *flags.allow_missing)
    task.settings = self._settings()
    return task

  def _settings(self) -> dict[str, Any]:
    """What makes a run another one if it changes, see `training.run_config`."""
    return {
      "max_seq_length": self._flags.max_seq_length,
      "doc_stride": self._flags.doc_stride,
      "labels": list(self.labels),
    }

  def _write_records(self, split: str, directory: str, name: str) -> tuple[str, int]:
    """Writes the windows of a split; returns the file and how many there are."""
    path = os.path.join(directory, name)
    return path, write_records(path, self._splits[split], self._encoder)

  def _output(self, name: str) -> str:
    return os.path.join(self._flags.output_dir, name)


def _numbers(scores: dict[str, Any]) -> dict[str, float]:
  return {name: value for name, value in scores.items() if name != "per_type"}


def _check_flags(flags: NerRun) -> None:
  if not (flags.do_train or flags.do_eval or flags.do_predict):
    raise UserError("expected --do_train, --do_eval or --do_predict, found none; give at least one")
  for name in ("eval_batch_size", "predict_batch_size"):
    if getattr(flags, name) < 1:
      raise UserError(f"--{name}: expected at least 1, found {getattr(flags, name)}")
