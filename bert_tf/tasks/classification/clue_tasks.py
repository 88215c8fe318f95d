"""CLUE's tasks of sentences and pairs, in its JSON lines, and three that Chinese models report too.

What becomes of a line is what CLUE's own baseline for BERT makes of it (CLUEbenchmark/CLUE,
baselines/models/bert/run_classifier.py), labels in the order of its ids.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from absl import logging

from bert_tf.errors import UserError
from bert_tf.tasks.classification import tables
from bert_tf.tasks.classification.examples import InputExample
from bert_tf.tasks.classification.original_tasks import OriginalProcessor

# What annotators did not agree about.
_NO_LABEL = "-"


class ClueProcessor(OriginalProcessor):
  """A task whose files hold an object a line.

  Attributes:
    KEYS: of the first text, and of the second one if there is one.
    LABELS: in the order of their ids.
    FILES: split -> names of its file, of which the first that is there is read.
  """

  KEYS: ClassVar[tuple[str, str | None]] = ("sentence", None)
  LABELS: ClassVar[tuple[str, ...]] = ("0", "1")
  FILES: ClassVar[Mapping[str, tuple[str, ...]]] = {
    "train": ("train.json",), "dev": ("dev.json",), "test": ("test.json",)
  }  # fmt: skip

  def labels(self) -> list[str]:
    """See `DataProcessor`."""
    return list(self.LABELS)

  def _file_name(self, split: str) -> str:
    names = self.FILES[split]
    there = (n for n in names if os.path.exists(os.path.join(self._data_dir or "", n)))
    return next(there, names[0])

  def _read(self, split: str) -> list[InputExample]:
    path = os.path.join(self._data_dir or "", self._file_name(split))
    found = []
    for index, (number, line) in enumerate(tables.read_json_lines(path)):
      where = f"{path}: line {number}"
      first, second = self._texts(line, where)
      label = None if split == "test" else _word(_value(line, "label", where))
      # The test sets number their lines, and answers are expected in that order.
      guid = str(line.get("id", index)) if split == "test" else f"{split}-{index}"
      found.append(InputExample(guid, first, second, label, where))
    agreed = [example for example in found if example.label != _NO_LABEL]
    if len(agreed) < len(found):
      logging.info("%s: %d lines without a label left out", split, len(found) - len(agreed))
    return agreed

  def _texts(self, line: Mapping[str, Any], where: str) -> tuple[str, str | None]:
    """The one or two texts of a line."""
    first, second = self.KEYS
    return _text(line, first, where), None if second is None else _text(line, second, where)


def _value(line: Mapping[str, Any], key: str, where: str) -> Any:
  if key not in line:
    raise UserError(
      f"{where}: expected the key {key!r}, found {', '.join(line) or 'none'}; is it the file of"
      " another task or split?"
    )
  return line[key]


def _text(line: Mapping[str, Any], key: str, where: str) -> str:
  value = _value(line, key, where)
  if not isinstance(value, str):
    raise UserError(f"{where}: expected {key!r} to be a text, found {value!r:.60}")
  return value


def _word(label: Any) -> str:
  """A label as it is spelt in JSON, whether as a text, a number or true."""
  return str(label).lower() if isinstance(label, bool) else str(label)


class AfqmcProcessor(ClueProcessor):
  """Ant Financial question matching: do two questions mean the same (1)?"""

  KEYS = "sentence1", "sentence2"


class TnewsProcessor(ClueProcessor):
  """Headlines of news: which of 15 sections?"""

  LABELS = tuple(str(100 + n) for n in range(17) if n not in (5, 11))


class IflytekProcessor(ClueProcessor):
  """Long descriptions of apps: which of 119 kinds?"""

  LABELS = tuple(map(str, range(119)))


class CmnliProcessor(ClueProcessor):
  """MNLI and XNLI in Chinese."""

  KEYS = "sentence1", "sentence2"
  LABELS = "contradiction", "entailment", "neutral"


class OcnliProcessor(CmnliProcessor):
  """Inference that was written in Chinese; of its training sets the largest is read."""

  FILES: ClassVar = {**ClueProcessor.FILES, "train": ("train.50k.json", "train.json")}


class CslProcessor(ClueProcessor):
  """Keywords and an abstract: are these the keywords of the paper (1)?"""

  def _texts(self, line: Mapping[str, Any], where: str) -> tuple[str, str | None]:
    keywords = _value(line, "keyword", where)
    if not isinstance(keywords, list) or not all(isinstance(word, str) for word in keywords):
      raise UserError(f"{where}: expected 'keyword' to be a list of texts, found {keywords!r:.60}")
    return " ".join(keywords), _text(line, "abst", where)


class WscProcessor(ClueProcessor):
  """Winograd schemas: does the pronoun, set in [ ], mean the noun, set in _ _?"""

  LABELS = "true", "false"

  def _texts(self, line: Mapping[str, Any], where: str) -> tuple[str, str | None]:
    text, target = _text(line, "text", where), _value(line, "target", where)
    marked = []
    for number, marks in ((1, ("_", "_")), (2, ("[", "]"))):
      span = _value(target, f"span{number}_text", where)
      place = _value(target, f"span{number}_index", where)
      if not isinstance(place, int) or not text.startswith(str(span), max(place, 0)) or place < 0:
        raise UserError(f"{where}: expected {span!r} at character {place} of the text, found not")
      marked.append((place, place + len(span), marks))
    for start, end, (opening, closing) in sorted(marked, reverse=True):
      text = f"{text[:start]}{opening}{text[start:end]}{closing}{text[end:]}"
    return text, None


class TsvProcessor(OriginalProcessor):
  """A task in TSV files with labels 0 and 1, whose columns have names, or not.

  Attributes:
    COLUMNS: of both texts and the label, see `tables.Column`.
  """

  COLUMNS: ClassVar[tuple[str, str | None, str]]

  def labels(self) -> list[str]:
    """See `DataProcessor`."""
    return ["0", "1"]

  def _read(self, split: str) -> list[InputExample]:
    path = os.path.join(self._data_dir or "", self._file_name(split))
    text_a, text_b, label = self.COLUMNS
    rows = tables.read_table(path, [text_a, text_b, None if split == "test" else label])
    return [
      InputExample(f"{split}-{index}", a, b, gold, f"{path}: line {number}")
      for index, (number, (a, b, gold)) in enumerate(rows)
    ]


class ChnSentiCorpProcessor(TsvProcessor):
  """Reviews of hotels, books and computers: positive (1) or not?"""

  COLUMNS = "text_a,1", None, "label,0"


class MatchingProcessor(TsvProcessor):
  """LCQMC and BQ: do two questions ask the same (1)?"""

  COLUMNS = "text_a,sentence1,0", "text_b,sentence2,1", "label,2"


CLUE_PROCESSORS: dict[str, Callable[[str | None], OriginalProcessor]] = {
  "afqmc": AfqmcProcessor,
  "bq": MatchingProcessor,
  "chnsenticorp": ChnSentiCorpProcessor,
  "cluewsc2020": WscProcessor,
  "cmnli": CmnliProcessor,
  "csl": CslProcessor,
  "iflytek": IflytekProcessor,
  "lcqmc": MatchingProcessor,
  "ocnli": OcnliProcessor,
  "tnews": TnewsProcessor,
  "wsc": WscProcessor,
}
