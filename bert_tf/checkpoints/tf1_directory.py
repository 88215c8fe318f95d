"""A directory like one of Google's releases: checkpoint, `bert_config.json` and `vocab.txt`."""

from __future__ import annotations

import os
from collections.abc import Mapping

from bert_tf import names
from bert_tf.checkpoints import huggingface, tf1
from bert_tf.checkpoints.reader import Weights
from bert_tf.model_dir import Description
from bert_tf.model_dir import write as write_beside

CHECKPOINT = "bert_model.ckpt"


def write(directory: str, weights: Weights, about: Description) -> dict[str, str]:
  """Writes `bert_model.ckpt`, `bert_config.json` and `vocab.txt`.

  Args:
    directory: an existing, empty directory.
    weights: the tensors by our names, with optimizer slots where they shall be kept.
    about: config and vocabulary.

  Returns:
    The names of weights that are not BERT's, with the reason that they are left out.
  """
  # The table of another format lists what a BERT has.
  left_out = {
    name: "not a weight of BERT"
    for name in weights
    if not huggingface.TABLE.to_theirs(name) and not names.is_slot(name)
  }
  tf1.write(os.path.join(directory, CHECKPOINT), _Without(weights, left_out))
  write_beside(directory, about)
  return left_out


class _Without(Mapping):
  """A mapping less some of its keys, still read one tensor at a time."""

  def __init__(self, weights: Weights, names: dict[str, str]):
    self._weights = weights
    self._names = names

  def __getitem__(self, name: str):
    return self._weights[name]

  def __iter__(self):
    return (name for name in self._weights if name not in self._names)

  def __len__(self) -> int:
    return sum(1 for _ in self)
