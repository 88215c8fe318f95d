"""The data of named entities and other labels of words (BERT paper, section 5.3)."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from absl import logging

from bert_tf.data.report import TokenizationReport
from bert_tf.errors import UserError
from bert_tf.files import atomic_writer
from bert_tf.model_dir import Description, head_kinds, labels
from bert_tf.tasks.ner import metrics, sentences
from bert_tf.tasks.ner.features import SentenceEncoder
from bert_tf.tasks.ner.sentences import Columns, Sentence
from bert_tf.tasks.results import write_eval_results, write_json
from bert_tf.tasks.task_data import (
  DEV,
  TEST,
  TRAIN,
  Answers,
  FineTuningOptions,
  TaskData,
  check_head,
  setting,
)

if TYPE_CHECKING:
  from bert_tf.tasks.ner.model import NerTask, WordLabels


@dataclasses.dataclass(frozen=True)
class NerOptions:
  """Where the sentences are, as flags of run_ner.py; `files` is split -> file.

  `sentences`, split -> sentences, stands for files where there are none.
  """

  data_dir: str | None = None
  files: dict[str, str] = dataclasses.field(default_factory=dict)
  columns: Columns = dataclasses.field(default_factory=Columns)
  labels_file: str | None = None
  doc_stride: int | None = None
  sentences: Mapping[str, Sequence[Sentence]] | None = None


class NerData(TaskData):
  """See `TaskData`."""

  unit = "sentences"
  result_files = (
    "eval_results.txt", "eval_metrics.json", "test_predictions.txt", "test_results.tsv",
  )  # fmt: skip
  head = head_kinds.TOKENS
  score_names = ("accuracy", "precision", "recall", "f1", "loss")

  def __init__(self, task: NerOptions, options: FineTuningOptions, weights: Description):
    """Finds the labels.

    Raises:
      UserError: files that are wrong, or labels that are not those of the weights.
    """
    check_head(self.head, weights)
    self._task, self._options, self._config = task, options, weights.config
    self._max_seq_length = weights.max_seq_length or self.default_max_seq_length
    self._read: dict[str, list[Sentence]] = {}
    self.labels, source = self._find_labels(weights.labels)
    sentences.check_tags(self.labels, source)
    doc_stride = setting("doc_stride", task.doc_stride, weights.settings.get("doc_stride"), None)
    self._encoder = SentenceEncoder(
      weights.full_tokenizer(), self.labels, self._max_seq_length, doc_stride
    )
    self.settings = {} if doc_stride is None else {"doc_stride": doc_stride}
    self.run_settings = {"doc_stride": doc_stride}
    wanted = [split for split in (TRAIN, DEV, TEST) if options.wants(split)]
    if task.sentences is None:
      self.input_files = {f"{split}_file": [self._file(split)] for split in wanted}
    if options.do_train and task.sentences is None:
      self.train_files = [self._file(TRAIN)]
    elif options.do_train:
      self.run_settings["train_examples"] = sentences.digest(self._sentences(TRAIN))

  def _file(self, split: str) -> str:
    return sentences.find_file(self._task.data_dir, split, self._task.files.get(split))

  def _sentences(self, split: str) -> list[Sentence]:
    """The sentences as they are in the file."""
    if self._task.sentences is not None:
      if split not in self._task.sentences:
        raise UserError(f"expected sentences of the {split} set, found none; give them")
      return list(self._task.sentences[split])
    if split not in self._read:
      self._read[split] = sentences.read_sentences(
        self._file(split), self._task.columns, labelled=split != TEST
      )
    return self._read[split]

  def _find_labels(self, known: Sequence[str]) -> tuple[tuple[str, ...], str]:
    """The labels in the order of their ids, and where they are from.

    Named in a file, or those of the weights; of the training data in a training, and where nothing
    lies beside the weights.
    """
    path = self._task.labels_file
    if path:
      given = labels.read_file(path)
      if known and (found := labels.difference(given, known)):
        raise UserError(
          f"`labels_file={path}`: expected the labels of the weights, found {found}; leave the flag"
          " out"
        )
      return given, f"`labels_file={path}`"
    if known:
      return tuple(known), "the labels beside the weights"
    train = self._sentences(TRAIN)
    return tuple(sentences.tags_of(train)), train[0].path

  @property
  def num_train_examples(self) -> int:
    """The number of windows."""
    return sum(1 for sentence in self.examples(TRAIN) for _ in self._encoder.windows(sentence))

  def log_training(self) -> None:
    """See `TaskData`."""
    logging.info("  Num sentences = %d", len(self.examples(TRAIN)))
    logging.info("  Num windows = %d", self.num_train_examples)

  def examples(self, split: str) -> list[Sentence]:
    """See `TaskData`; raises UserError for tags that the model lacks, or without a word."""
    found = self._sentences(split)
    # Tags of the test set are only copied.
    for sentence in found if split != TEST else ():
      self._encoder.check(sentence)
    if not any(self._encoder.is_scored(word) for s in found for word in s.words):
      raise UserError(f"{found[0].path}: expected words, found only characters without meaning")
    return found

  def records(self, split: str, examples: Iterable[Sentence]) -> Iterator[Mapping[str, Sequence]]:
    """See `TaskData`: one for each window."""
    report = TokenizationReport()
    for sentence in examples:
      self._encoder.count(sentence, report)
      for window in self._encoder.windows(sentence):
        yield window.to_record(self._max_seq_length)
    report.log(f"{split} set", self.unit)

  def create_task(self, train_file: str | None, num_records: int | None, **options: Any) -> NerTask:
    """See `TaskData`."""
    from bert_tf.tasks.ner.model import NerTask

    return NerTask(
      self._config,
      len(self.labels),
      self._max_seq_length,
      train_file,
      self._options.pad_to_max_length,
      **options,
    )

  def scores(self, answers: Answers) -> dict[str, float]:
    """See `TaskData`; those of `metrics.compute` over all types, and the mean `loss` of words."""
    return _numbers(self._scores(answers))

  def _scores(self, answers: Answers) -> dict[str, Any]:
    found = _predict(answers)
    predicted = [
      tags
      for tags, _ in self._encoder.tags_of(self._sentences(DEV), found.ids, found.probabilities)
    ]
    gold = [sentence.tags or [] for sentence in self.examples(DEV)]
    return {**metrics.compute(predicted, gold), "loss": float(np.mean(found.losses))}

  def evaluate(self, answers: Answers, output_dir: str, step: int) -> None:
    """Writes eval_results.txt, and eval_metrics.json with the scores of each type."""
    scores = self._scores(answers)
    for kind, values in scores["per_type"].items():
      numbers = ", ".join(f"{name} {values[name]:.4f}" for name in ("precision", "recall", "f1"))
      logging.info("  %s (%d): %s", kind, values["support"], numbers)
    results = {f"eval_{name}": value for name, value in _numbers(scores).items()}
    write_eval_results(output_dir, {**results, "global_step": step})
    write_json(os.path.join(output_dir, "eval_metrics.json"), scores)

  def predict(self, answers: Answers, output_dir: str) -> None:
    """Writes test_predictions.txt, line by line as the input, and test_results.tsv."""
    labelled = list(self._by_sentence(TEST, _predict(answers)))
    self._write_predictions(
      os.path.join(output_dir, "test_predictions.txt"), [tags for tags, _ in labelled]
    )
    self._write_entities(os.path.join(output_dir, "test_results.tsv"), labelled)

  def _write_predictions(self, path: str, predicted: Sequence[list[str]]) -> None:
    """A line for every line of the test file: word, tag of the file if any, predicted tag."""
    number = 1
    with atomic_writer(path) as file:
      for sentence, tags in zip(self.examples(TEST), predicted, strict=True):
        file.write("\n" * (sentence.first_line - number))
        columns = [sentence.words, *([sentence.tags] if sentence.tags else []), tags]
        file.writelines("\t".join(row) + "\n" for row in zip(*columns, strict=True))
        number = sentence.first_line + len(tags)

  def _write_entities(self, path: str, labelled: Sequence[tuple[list[str], list[float]]]) -> None:
    """A line for every entity found."""
    with atomic_writer(path) as file:
      file.write("sentence\tfirst_word\tlast_word\ttype\tprobability\ttext\n")
      for number, (sentence, (tags, probabilities)) in enumerate(
        zip(self.examples(TEST), labelled, strict=True)
      ):
        for kind, first, last in metrics.entities(tags):
          words = slice(first, last + 1)
          mean, text = np.mean(probabilities[words]), sentence.text(first, last)
          file.write(f"{number}\t{first}\t{last}\t{kind}\t{mean:.6f}\t{text}\n")

  def _by_sentence(self, split: str, found: WordLabels) -> Iterator[tuple[list[str], list[float]]]:
    """Yields (tags, their probabilities) of every sentence."""
    return self._encoder.tags_of(self._sentences(split), found.ids, found.probabilities)


def _predict(answers: Answers) -> WordLabels:
  return answers.task.predict(
    answers.model, answers.path, answers.num_records, answers.batch_size, answers.what
  )


def _numbers(scores: Mapping[str, Any]) -> dict[str, float]:
  return {name: value for name, value in scores.items() if name != "per_type"}
