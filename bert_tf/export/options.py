"""What an export is to be, and whether it can be. Needs no TensorFlow."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import time
from collections.abc import Sequence
from typing import Any

from bert_tf.config import BertConfig
from bert_tf.errors import UserError
from bert_tf.files import scratch_directory
from bert_tf.model_dir import Description, head_kinds
from bert_tf.tasks.long_text import LongText
from bert_tf.tokenization import TokenizerSettings, require_special_tokens

# How many labels a model has at least; the others have none.
_FEWEST_LABELS = {head_kinds.CLASSIFICATION: 2, head_kinds.MULTILABEL: 1, head_kinds.TOKENS: 2}
# Types of the matrix products, and the Keras policies for them.
DTYPES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}
DEFAULT_MAX_SEQ_LENGTH = 128
# LiteRT files: weights as they are; as halves; as 8-bit integers with the activations quantised
# on the fly.
LITE_KINDS = ("float32", "float16", "int8")
# Of hidden directories beside the final one: servers ignore them, and renaming is atomic.
SCRATCH_PREFIX = ".exporting-"


@dataclasses.dataclass(frozen=True)
class TextOptions:
  """How text becomes ids; must be what the model was trained with.

  Attributes:
    tokens: the vocabulary in the order of ids, added tokens included.
    tokenizer: how text becomes words.
    max_seq_length: longest sequence in tokens, special tokens included; what is over is cut off.
    static_length: pad every batch to `max_seq_length`, for devices that want one fixed shape;
      otherwise a batch is padded to its own longest sequence.
    text_ops: "fast", or "compatible" for servers that lack the newest text operations.
    long_text: what is read of texts that are longer than a sequence.
  """

  tokens: tuple[str, ...]
  tokenizer: TokenizerSettings = dataclasses.field(default_factory=TokenizerSettings)
  max_seq_length: int = 128
  static_length: bool = False
  text_ops: str = "fast"
  long_text: LongText = dataclasses.field(default_factory=LongText)

  @property
  def most_ids(self) -> int:
    """The longest row of ids that a text becomes: a sequence, or a document of several windows."""
    return self.long_text.most_ids(self.max_seq_length)

  def check(self, config: BertConfig) -> None:
    """Raises UserError where length or vocabulary do not fit the model."""
    config.check_sequence_length(self.max_seq_length)
    if self.max_seq_length < 4:
      raise UserError(
        "expected `max_seq_length` of at least 4, which three special tokens and a word take,"
        f" found {self.max_seq_length}; take the length that the model was trained with"
      )
    if self.long_text.in_windows and self.static_length:
      raise UserError(
        "`long_text=windows`: expected batches of any shape, found `static_length`; leave it out"
      )
    if not self.tokens:
      raise UserError(
        "`vocab_file`: expected a vocabulary, which turns text into ids, found none beside the"
        " weights; name it"
      )
    require_special_tokens(dict.fromkeys(self.tokens, 0), path="of the model")
    if len(self.tokens) > config.vocab_size:
      config.check_vocabulary_size(len(self.tokens), "vocabulary")

  def facts(self) -> dict[str, Any]:
    """What serving.json says of it."""
    added = [token.content for token in self.tokenizer.added_tokens]
    return {
      **dataclasses.asdict(self.tokenizer),
      "added_tokens": added,
      "max_seq_length": self.max_seq_length,
      "static_length": self.static_length,
      "text_ops": self.text_ops,
      **self.long_text.settings(),
    }


@dataclasses.dataclass(frozen=True)
class GraphPlan:
  """What the graph of an export is to compute.

  Attributes:
    about: the model: its head, labels, longest sequence (None: 128, or as many as the model has
      positions), and settings are those that the export answers by.
    static_length: see `TextOptions`.
    text_ops: see `TextOptions`.
    dtype: type of the matrix products, of `DTYPES`; answers are float32 always.
    top_k: how many words a masked LM gives for every mask.
    layers: whose vectors an encoder gives for tokens, -1 for the last.
    allow_missing: names of weights, or patterns, that the checkpoint may lack and that then stay
      random.
    checkpoint_prefix: what stands before the names of the model in the checkpoint; default: found
      by itself.
  """

  about: Description
  static_length: bool = False
  text_ops: str = "fast"
  dtype: str = "float32"
  top_k: int = 10
  layers: tuple[int, ...] = (-1,)
  allow_missing: tuple[str, ...] = ()
  checkpoint_prefix: str | None = None

  def __post_init__(self) -> None:
    if self.dtype not in DTYPES:
      raise UserError(f"`dtype`: expected one of {', '.join(DTYPES)}, found {self.dtype!r}")

  @property
  def text(self) -> TextOptions:
    """How the graph reads."""
    about = self.about
    longest = min(DEFAULT_MAX_SEQ_LENGTH, about.config.max_position_embeddings)
    length = about.max_seq_length or longest
    long_text = LongText.of(about.settings)
    return TextOptions(
      about.tokens, about.tokenizer, length, self.static_length, self.text_ops, long_text
    )


@dataclasses.dataclass(frozen=True)
class ExportOptions:
  """Where and how an export is written.

  Attributes:
    export_dir: the model's directory; the bundle is the directory `<version>` in it.
    version: a positive number; default: seconds since 1970, so that a later export is served.
    check: load the bundle in a fresh process and compare its answers before it gets its name.
    lite: which LiteRT files to put beside the graph, of `LITE_KINDS`.
    lite_lengths: the lengths of sequences that these compute, the longest one always among them;
      empty: 16, twice that, and so on.
  """

  export_dir: str
  version: int | None = None
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
      raise UserError(f"expected no version {version} yet, found {path}; give another `version`")
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
      with scratch_directory(existing, SCRATCH_PREFIX):
        pass
    except OSError as error:
      raise self.cannot_write(error) from error

  def cannot_write(self, error: OSError) -> UserError:
    """What to say where the directory cannot be written."""
    return UserError(
      f"cannot write in {self.export_dir}: {error.strerror}; give a writable `export_dir`"
    )


def check_lite(kinds: Sequence[str]) -> None:
  """Raises UserError for an unknown kind, or where the extra `litert` is not installed."""
  for kind in kinds:
    if kind not in LITE_KINDS:
      raise UserError(f"expected `lite` to be of {', '.join(LITE_KINDS)}, found {kind!r}")
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
        f"`lite_lengths`: expected numbers from 1 to max_seq_length ({longest}), found {length}"
      )
  doubled = [16 << power for power in range(longest.bit_length()) if 16 << power < longest]
  return sorted({*(lengths or doubled), longest})


def _check_library(name: str, what: str, distribution: str) -> None:
  if importlib.util.find_spec(name) is None:
    raise UserError(f"expected {what}, found no {name}; pip install '{distribution}'")


def check_labels(labels: Sequence[str], head: str) -> None:
  """Raises UserError where a head cannot have such labels."""
  if head not in _FEWEST_LABELS:
    if labels:
      raise UserError(f"expected no labels for {head}, found {len(labels)}; leave them out")
    return
  fewest = _FEWEST_LABELS[head]
  if len(labels) < fewest or len(set(labels)) < len(labels):
    raise UserError(
      f"expected different labels, at least {fewest}, found {list(labels)}; give the names of"
      " the model's outputs in the order that it was trained with"
    )
