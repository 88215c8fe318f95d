"""Rewrites a checkpoint in another format and proves that it computes the same."""

from __future__ import annotations

import contextlib
import dataclasses
import fnmatch
import importlib
import os
from collections.abc import Iterator

import numpy as np

from bert_tf import names
from bert_tf.checkpoints import folded_scale, formats, loading
from bert_tf.checkpoints.reader import Reader, Weights
from bert_tf.errors import UserError, printable
from bert_tf.files import scratch_directory, sweep_scratch
from bert_tf.model_dir import Description, describe, head_kinds

# Name of a format -> the module of this package that writes it.
FORMATS = {
  "tf1": "tf1_directory",
  "huggingface": "huggingface",
  "model_garden": "model_garden",
  "keras_hub": "keras_hub",
}
TOLERANCE = 1e-5
_SCRATCH_PREFIX = ".converting-"

_PRETRAINING_OUTPUTS = {
  "cls/predictions/output_bias": "masked_lm_logits",
  "cls/seq_relationship/output_bias": "next_sentence_logits",
}
_HEADS = (*names.PRETRAINING_HEAD, *names.TASK_HEADS, *names.POOLER)


@dataclasses.dataclass(frozen=True)
class Conversion:
  """What `convert` did.

  Attributes:
    path: the directory that was written.
    differences: name of an output -> largest difference between both checkpoints' values.
    left_out: name of a weight that the format has no place for -> the reason.
  """

  path: str
  differences: dict[str, float]
  left_out: dict[str, str]

  def __str__(self) -> str:
    rows = [f"  {name:<24}{value:.1e}" for name, value in self.differences.items()]
    text = "\n".join([f"{self.path}: largest difference of each output", *rows])
    reasons: dict[str, list[str]] = {}
    for name, reason in self.left_out.items():
      reasons.setdefault(reason, []).append(name)
    for reason, left_out in reasons.items():
      text += f"\n  left out: {', '.join(left_out[:3])}"
      text += f" and {len(left_out) - 3} more" if len(left_out) > 3 else ""
      text += f": {reason}"
    return printable(text)


def convert(
  source: str, output: str, to: str, about: Description | None = None, prefix: str | None = None
) -> Conversion:
  """Writes the checkpoint at `source` into the directory `output` in the format `to`.

  The result is written under a temporary name, read again, run beside the source on the same
  input, and renamed only if every output agrees to 1e-5.

  Args:
    source: what `bert_tf.checkpoints.load` reads.
    output: a directory that does not exist or is empty.
    to: one of `FORMATS`.
    about: config, vocabulary and labels; default: those that lie beside the source.
    prefix: what stands before the names of the model in the source, as of `load`.

  Raises:
    UserError: the source is no checkpoint or damaged, a weight is NaN or infinite, the format
      cannot have such a model, the outputs differ, or `output` cannot be written.
  """
  reader = formats.open_checkpoint(source, prefix)
  about = about or describe(source)
  return write(output, to, reader, about)


def write(output: str, to: str, reader: Reader, about: Description) -> Conversion:
  """Does what `convert` does with a checkpoint that is open, or computed as it is read."""
  if to not in FORMATS:
    raise UserError(f"expected a format of {', '.join(FORMATS)}, found {to!r}")
  writer = importlib.import_module(f"bert_tf.checkpoints.{FORMATS[to]}")
  reader, about = folded_scale.fold(reader, about)
  weights = Weights(reader, slots=to == "tf1")
  with _new_directory(output) as temporary:
    left_out = writer.write(temporary, weights, about)
    written = formats.open_checkpoint(temporary)
    differences = output_differences(reader, written, about)
    wrong = {name: d for name, d in differences.items() if not d <= TOLERANCE}
    if wrong:
      name, difference = max(wrong.items(), key=lambda item: item[1])
      raise UserError(
        f"{output}: expected the outputs of {reader.path} to {TOLERANCE}, found {name} to differ by"
        f" {difference:.1e}; nothing was written"
      )
  return Conversion(output, differences, {**reader.refused, **left_out})


@contextlib.contextmanager
def _new_directory(path: str) -> Iterator[str]:
  """A temporary directory that becomes `path` when the block ends well."""
  path = os.path.abspath(path)
  if os.path.isdir(path):
    sweep_scratch(path, _SCRATCH_PREFIX)
  if os.path.lexists(path) and (not os.path.isdir(path) or os.listdir(path)):
    raise UserError(f"{path}: expected a new or empty directory, found files; give another name")
  # Of a directory that is there, a link or the root of a disk among them, the files are moved into
  # it; it stays the same one for who looks at it, such as a shell.
  parent = path if os.path.isdir(path) else os.path.dirname(path)
  with contextlib.ExitStack() as stack:
    try:
      os.makedirs(parent, exist_ok=True)
      scratch = stack.enter_context(scratch_directory(parent, _SCRATCH_PREFIX))
    except OSError as error:
      raise UserError(f"cannot write {path}: {error.strerror}") from error
    temporary = os.path.join(scratch, "new")
    os.mkdir(temporary)
    yield temporary
    _follow_umask(temporary)
    try:
      if parent == path:
        _move_all(temporary, path)
      else:
        os.replace(temporary, path)
    except OSError as error:
      raise UserError(f"cannot write {path}: {error.strerror}; give another path") from error


def _move_all(source: str, target: str) -> None:
  """Moves the files of a directory into another; where that fails, none of them is left there."""
  moved = []
  try:
    for name in sorted(os.listdir(source)):
      os.replace(os.path.join(source, name), os.path.join(target, name))
      moved.append(name)
  except BaseException:
    for name in moved:
      os.replace(os.path.join(target, name), os.path.join(source, name))
    raise


def _follow_umask(directory: str) -> None:
  """Gives others the access that they have to what a shell writes; mkdtemp gives them none."""
  umask = os.umask(0)
  os.umask(umask)
  for folder, _, files in os.walk(directory):
    os.chmod(folder, 0o777 & ~umask)
    for name in files:
      os.chmod(os.path.join(folder, name), 0o666 & ~umask)


def output_differences(first: Reader, second: Reader, about: Description) -> dict[str, float]:
  """Runs a model with the weights of two checkpoints; returns each output's largest difference.

  Compared is what the weights of `second` determine: with a masked-LM head its logits, and so
  on. One model holds one after the other, so memory is that of one.
  """
  differences: dict[str, float] = {}
  for model, outputs in _models(second.shapes, about):
    values = [_run(model, reader, second.shapes, outputs) for reader in (first, second)]
    for name, one, other in zip(outputs, *values, strict=True):
      differences[name] = float(np.max(np.abs(one - other)))
  return differences


def _models(shapes: dict, about: Description) -> Iterator[tuple]:
  """Yields the models that have weights among `shapes`, each with the outputs they determine."""
  from bert_tf import heads
  from bert_tf.modeling import BertModel

  config = about.config
  encoder = ["sequence_output", *(["pooled_output"] if "bert/pooler/dense/bias" in shapes else [])]
  pretraining = [output for name, output in _PRETRAINING_OUTPUTS.items() if name in shapes]
  models = []
  if "output_weights" in shapes:
    kind = heads.TokenClassifierModel if about.head == head_kinds.TOKENS else heads.ClassifierModel
    models.append((lambda: kind(config, shapes["output_weights"][0]), ["logits"]))
  if "cls/squad/output_weights" in shapes:
    models.append((lambda: heads.SpanModel(config), ["start_logits", "end_logits"]))
  if pretraining:
    models.append((lambda: heads.PretrainingModel(config), pretraining))
  for make, outputs in models or [(lambda: BertModel(config), [])]:
    yield make(), [*encoder, *outputs]


def _run(model, reader: Reader, shapes: dict, outputs: list[str]) -> list[np.ndarray]:
  absent = [
    name
    for name in names.named_variables(model)
    if name not in shapes and any(fnmatch.fnmatchcase(name, pattern) for pattern in _HEADS)
  ]
  loading.load_from(model, reader, absent)
  result = model(_features(model.config))
  return [result[name].numpy() for name in outputs]


def _features(config) -> dict[str, np.ndarray]:
  """A batch of two sequences of random ids, the second one padded."""
  rng = np.random.RandomState(0)
  length = min(32, config.max_position_embeddings)
  mask = np.ones([2, length], np.int32)
  mask[1, length // 2 :] = 0
  return {
    "input_ids": rng.randint(0, config.vocab_size, [2, length]).astype(np.int32),
    "input_mask": mask,
    "segment_ids": rng.randint(0, config.type_vocab_size, [2, length]).astype(np.int32),
    "masked_lm_positions": rng.randint(0, length, [2, min(5, length)]).astype(np.int32),
  }
