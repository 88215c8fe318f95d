"""Which files hold weights, and where what belongs to them lies."""

from __future__ import annotations

import glob
import os
import re

from bert_tf.errors import UserError

# Of Hugging Face, the preferred one first.
HUGGING_FACE = (
  "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin",
  "pytorch_model.bin.index.json", "tf_model.h5",
)  # fmt: skip
_HUGGING_FACE_ENDINGS = (".safetensors", ".bin", ".pt", ".pth", ".h5", ".index.json")
# Where in an output directory the best weights are kept.
BEST_DIRECTORY = "best"


def find_hugging_face(path: str) -> str | None:
  """Returns the file with the weights that `path` means, or None where it means none.

  `path` is a directory or one of the files of `HUGGING_FACE`, under whatever name.
  """
  if os.path.isdir(path):
    candidates = (os.path.join(path, name) for name in HUGGING_FACE)
    return next((file for file in candidates if os.path.isfile(file)), None)
  return path if path.endswith(_HUGGING_FACE_ENDINGS) and os.path.isfile(path) else None


def directory_of(path: str) -> str:
  """The directory of a checkpoint's prefix or file, or `path` itself where it is one."""
  return path if os.path.isdir(path) else os.path.dirname(path) or "."


def complete_checkpoints(directory: str) -> list[str]:
  """The prefixes `model.ckpt-N` whose files all exist, by rising N."""
  found = {}
  for path in glob.glob(os.path.join(glob.escape(directory), "model.ckpt-*.index")):
    prefix = path.removesuffix(".index")
    step = step_of(prefix)
    if step is not None and _has_all_shards(prefix):
      found[step] = prefix
  return [found[step] for step in sorted(found)]


def step_of(prefix: str) -> int | None:
  """N of a prefix `model.ckpt-N`."""
  match = re.search(r"-(\d+)$", prefix)
  return int(match.group(1)) if match else None


def _has_all_shards(prefix: str) -> bool:
  shards = glob.glob(glob.escape(prefix) + ".data-?????-of-?????")
  return bool(shards) and len(shards) == int(shards[0][-5:])


def holds_run(output_dir: str) -> bool:
  """Whether a directory holds a run that has made a step; one that failed before binds nobody."""
  found = complete_checkpoints(output_dir)
  return bool(found) and step_of(found[-1]) != 0


def run_directory(output_dir: str, takes_best: bool) -> str:
  """Where the weights of a run lie: the best if they are wanted and there are any, or all."""
  best = os.path.join(output_dir, BEST_DIRECTORY)
  return best if takes_best and complete_checkpoints(best) else output_dir


def newest(output_dir: str, takes_best: bool, init_checkpoint: str | None = None) -> str:
  """The weights of a run to answer with: the newest, or the best; else the initial ones.

  Raises:
    UserError: there are none at all.
  """
  found = complete_checkpoints(run_directory(output_dir, takes_best))
  if found:
    return found[-1]
  if init_checkpoint:
    return init_checkpoint
  raise UserError(
    f"expected a checkpoint in `output_dir` ({output_dir}), found none; train first, or give"
    " `init_checkpoint`"
  )
