"""What an export is to be, and whether it can be. Needs no TensorFlow."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import tempfile
import time
from collections.abc import Sequence

from bert_tf.config import BertConfig
from bert_tf.errors import UserError
from bert_tf.tasks.squad.features import check_lengths
from bert_tf.tasks.squad.predictions import PredictionOptions

TASKS = (
  "classification", "multilabel", "regression", "tokens", "question_answering", "pretraining",
  "encoder",
)  # fmt: skip
# How many labels a task has at least; the others have none.
_FEWEST_LABELS = {"classification": 2, "multilabel": 1, "tokens": 2}
# LiteRT files: weights as they are; as halves; as 8-bit integers with the activations quantised
# on the fly.
LITE_KINDS = ("float32", "float16", "int8")
# Of hidden directories beside the final one: servers ignore them, and renaming is atomic.
SCRATCH_PREFIX = ".exporting-"


@dataclasses.dataclass(frozen=True)
class TextOptions:
  """How text becomes ids; must be what the model was trained with.

  Attributes:
    vocab_file: the vocabulary, one token a line.
    do_lower_case: whether text is lower-cased and stripped of accents.
    max_seq_length: longest sequence in tokens, special tokens included; what is over is cut off.
    static_length: pad every batch to `max_seq_length`, for devices that want one fixed shape;
      otherwise a batch is padded to its own longest sequence.
    text_ops: "fast", or "compatible" for servers that lack the newest text operations.
  """

  vocab_file: str
  do_lower_case: bool = True
  max_seq_length: int = 128
  static_length: bool = False
  text_ops: str = "fast"

  def check(self, config: BertConfig) -> None:
    """Raises UserError where the length fits neither the special tokens nor the model."""
    config.check_sequence_length(self.max_seq_length)
    if self.max_seq_length < 4:
      raise UserError(
        "expected --max_seq_length of at least 4, which three special tokens and a word take,"
        f" found {self.max_seq_length}; take the length that the model was trained with"
      )


@dataclasses.dataclass(frozen=True)
class QuestionOptions:
  """How contexts are read and answers chosen; flags of run_squad.py have the same names."""

  doc_stride: int = 128
  max_query_length: int = 64
  prediction: PredictionOptions = dataclasses.field(default_factory=PredictionOptions)

  def check(self, max_seq_length: int) -> None:
    """Raises UserError where windows of `max_seq_length` leave no room for the context."""
    check_lengths(max_seq_length, self.doc_stride, self.max_query_length)


@dataclasses.dataclass(frozen=True)
class ExportOptions:
  """Where and how an export is written.

  Attributes:
    export_dir: the model's directory; the bundle is the directory `<version>` in it.
    version: a positive number; default: seconds since 1970, so that a later export is served.
    dtype: type of the matrix products, "float32" or "bfloat16"; answers are float32 always.
    check: load the bundle in a fresh process and compare its answers before it gets its name.
    lite: which LiteRT files to put beside the graph, of `LITE_KINDS`.
    lite_lengths: the lengths of sequences that these compute, the longest one always among them;
      empty: 16, twice that, and so on.
  """

  export_dir: str
  version: int | None = None
  dtype: str = "float32"
  check: bool = True
  lite: tuple[str, ...] = ()
  lite_lengths: tuple[int, ...] = ()

  def target(self) -> str:
    """The directory to write; raises UserError where the version is taken or no version."""
    version = int(time.time()) if self.version is None else self.version
    if version < 1:
      raise UserError(f"expected a version of at least 1, found {version}; give a positive number")
    path = os.path.join(self.export_dir, str(version))
    if os.path.exists(path):
      raise UserError(f"expected no version {version} yet, found {path}; give another --version")
    return path

  def check_possible(self) -> None:
    """Finds out before any long work what would stop the writing at its end.

    Raises:
      UserError: the version is taken, the directory cannot be written, or a library is missing.
    """
    self.target()
    _check_library("tensorflow_text", "the library of text operations", "bert_tf")
    if self.lite:
      check_lite(self.lite)
    existing = os.path.abspath(self.export_dir)
    while not os.path.lexists(existing):
      existing = os.path.dirname(existing)
    try:
      # To be sure, something is written; it is gone at once, as the export may never come.
      with tempfile.TemporaryDirectory(prefix=SCRATCH_PREFIX, dir=existing):
        pass
    except OSError as error:
      raise self.cannot_write(error) from error

  def cannot_write(self, error: OSError) -> UserError:
    """What to say where the directory cannot be written."""
    return UserError(
      f"cannot write in {self.export_dir}: {error.strerror}; give a writable --export_dir"
    )


def check_lite(kinds: Sequence[str]) -> None:
  """Raises UserError for an unknown kind, or where the extra `litert` is not installed."""
  for kind in kinds:
    if kind not in LITE_KINDS:
      raise UserError(f"expected --lite to be of {', '.join(LITE_KINDS)}, found {kind!r}")
  _check_library("ai_edge_litert", "the LiteRT runtime", "bert_tf[litert]")


def signature_lengths(lengths: Sequence[int], longest: int) -> list[int]:
  """The lengths of the signatures of a LiteRT file, ascending, the last one `longest`.

  Args:
    lengths: those asked for; empty: 16, twice that, and so on.
    longest: the model's max_seq_length.

  Raises:
    UserError: a length is none.
  """
  for length in lengths:
    if not 1 <= length <= longest:
      raise UserError(
        f"--lite_lengths: expected numbers from 1 to max_seq_length ({longest}), found {length}"
      )
  doubled = [16 << power for power in range(longest.bit_length()) if 16 << power < longest]
  return sorted({*(lengths or doubled), longest})


def _check_library(name: str, what: str, distribution: str) -> None:
  if importlib.util.find_spec(name) is None:
    raise UserError(f"expected {what}, found no {name}; pip install '{distribution}'")


def check_labels(labels: Sequence[str], task: str) -> None:
  """Raises UserError where a task cannot have such labels."""
  if task not in _FEWEST_LABELS:
    if labels:
      raise UserError(f"expected no labels for {task}, found {len(labels)}; leave them out")
    return
  fewest = _FEWEST_LABELS[task]
  if len(labels) < fewest or len(set(labels)) < len(labels):
    raise UserError(
      f"expected different labels, at least {fewest}, found {list(labels)}; give the names of"
      " the model's outputs in the order that it was trained with"
    )
