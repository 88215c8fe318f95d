"""Tasks of your own for run_classifier.py, which finds them by the name they are registered under.

A processor is a subclass of this package's `DataProcessor`, or one that was written for
google-research/bert, unchanged but for where its base class is imported from:

    from bert_tf.tasks.classification import DataProcessor, InputExample, register

    class FilmProcessor(DataProcessor):
      def get_train_examples(self, data_dir): ...
      def get_dev_examples(self, data_dir): ...
      def get_test_examples(self, data_dir): ...
      def get_labels(self): ...

    register("film", FilmProcessor)
"""

from __future__ import annotations

import csv
import functools
import glob
import importlib.util
import os
import sys
from typing import Any, Protocol, cast

from bert_tf.errors import UserError
from bert_tf.files import existing_file
from bert_tf.tasks.classification import processor, processors
from bert_tf.tasks.classification.examples import InputExample


class DataProcessor:
  """The base class of processors in the original's run_classifier.py, name by name."""

  def get_train_examples(self, data_dir: str) -> list[InputExample]:
    """The examples to train on."""
    raise NotImplementedError

  def get_dev_examples(self, data_dir: str) -> list[InputExample]:
    """The examples to evaluate on."""
    raise NotImplementedError

  def get_test_examples(self, data_dir: str) -> list[InputExample]:
    """The examples to predict."""
    raise NotImplementedError

  def get_labels(self) -> list[str]:
    """The labels in the order of their ids."""
    raise NotImplementedError

  @classmethod
  def _read_tsv(cls, input_file: str, quotechar: str | None = None) -> list[list[str]]:
    """The rows of a TSV file, read as the original reads them: by Python's csv module."""
    path = existing_file(input_file, "a file of the task")
    with open(path, encoding="utf-8", newline="") as file:
      try:
        if quotechar:
          return list(csv.reader(file, delimiter="\t", quotechar=quotechar))
        return list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
      except UnicodeDecodeError as error:
        raise UserError(f"{path}: expected UTF-8, found {error}; save it as UTF-8") from error


class OriginalInterface(Protocol):
  """What a processor must have that was written for the original."""

  def get_train_examples(self, data_dir: str) -> list[Any]:
    """See `DataProcessor`."""

  def get_labels(self) -> list[str]:
    """See `DataProcessor`."""


def register(task_name: str, task: type[OriginalInterface] | type[processor.DataProcessor]) -> None:
  """Makes `--task_name=task_name` known; case does not matter, as in the original.

  Raises:
    UserError: there is another task of that name, or the class is no processor.
  """
  name = task_name.lower()
  if name in processors.PROCESSORS or name == processors.TABLE:
    raise UserError(f"`task_name`: expected a new name, found {name!r}, which exists; take another")
  if hasattr(task, "get_train_examples"):
    original = cast(type[OriginalInterface], task)
    processors.PROCESSORS[name] = functools.partial(AdaptedProcessor, original)
  elif isinstance(task, type) and issubclass(task, processor.DataProcessor):
    processors.PROCESSORS[name] = task
  else:
    raise UserError(
      f"expected a subclass of DataProcessor for the task {task_name!r}, found {task!r}"
    )


def load(path: str) -> None:
  """Runs a Python file that registers tasks.

  Raises:
    UserError: there is no such file, or it registers nothing.
  """
  existing_file(path, "`task_file`")
  name = os.path.splitext(os.path.basename(path))[0]
  spec = importlib.util.spec_from_file_location(name, path)
  if spec is None or spec.loader is None:
    raise UserError(f"`task_file`: expected a Python file such as my_task.py, found {path!r}")
  before = len(processors.PROCESSORS)
  module = importlib.util.module_from_spec(spec)
  sys.modules.setdefault(name, module)
  spec.loader.exec_module(module)
  if len(processors.PROCESSORS) == before:
    raise UserError(
      f"`task_file`: expected {path} to register a task, found none; end it with a line such as"
      ' bert_tf.tasks.classification.register("my_task", MyProcessor)'
    )


class AdaptedProcessor(processor.DataProcessor):
  """A processor of the original's kind, seen as one of ours."""

  def __init__(self, original: type[OriginalInterface], data_dir: str | None):
    """Args: `original`, its class, which needs no arguments."""
    super().__init__(data_dir)
    self._original = original()
    self._labels = [str(label) for label in self._original.get_labels()]
    if len(set(self._labels)) < max(2, len(self._labels)):
      raise UserError(
        f"{original.__name__}.get_labels: expected two or more labels, each once, found"
        f" {self._labels}"
      )

  def labels(self) -> list[str]:
    """See `DataProcessor`."""
    return self._labels

  def _read(self, split: str) -> list[InputExample]:
    what = f"{type(self._original).__name__}.get_{split}_examples"
    read = getattr(self._original, f"get_{split}_examples", None)
    try:
      found = None if read is None else read(self._data_dir)
    except NotImplementedError:
      found = None
    if found is None:
      raise UserError(f"{what}: expected a list of examples, found none; add this method")
    return [_example(example, f"{what}: example {n}") for n, example in enumerate(found, start=1)]

  def files(self, split: str) -> list[str]:
    """Those whose names say so: which files a processor reads, only its code knows."""
    pattern = os.path.join(glob.escape(self._data_dir or ""), f"*{split}*")
    return sorted(filter(os.path.isfile, glob.glob(pattern)))


def _example(example: Any, where: str) -> InputExample:
  """Any object with the attributes of the original's `InputExample`."""
  try:
    text_b, label = getattr(example, "text_b", None), getattr(example, "label", None)
    return InputExample(
      str(example.guid),
      _unicode(example.text_a),
      None if text_b is None else _unicode(text_b),
      None if label is None else str(label),
      where,
    )
  except AttributeError as error:
    raise UserError(f"{where}: expected guid, text_a, text_b and label, {error}") from error


def _unicode(text: str | bytes) -> str:
  """The original's processors may return bytes (`tokenization.convert_to_unicode`)."""
  return text.decode("utf-8", "ignore") if isinstance(text, bytes) else text
