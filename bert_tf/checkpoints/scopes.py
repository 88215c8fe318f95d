"""Finds BERT in a checkpoint that keeps it under another name, such as `module/bert/`.

A model that was part of a larger one, or that was wrapped for several devices, has a prefix before
each name: `module/bert/embeddings/...` of TF-Hub, `bert_1/...` of a graph that built two,
`module.bert.embeddings...` of torch's DataParallel, `model.bert...` of trainers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from absl import logging

from bert_tf.checkpoints.reader import Reader, Shape
from bert_tf.errors import UserError
from bert_tf.names import is_slot


class Spelling(NamedTuple):
  """How a family of formats spells the names of an encoder, without its scope.

  Attributes:
    separator: what stands between the parts of a name.
    native: the scopes that need no search, the first that is there.
    anchor: the end of the name of the word embeddings.
    others: what must stand in the same scope for it to be a BERT's: prefixes of names.
  """

  separator: str
  native: tuple[str, ...]
  anchor: str
  others: tuple[str, ...]


TENSORFLOW = Spelling(
  "/",
  ("bert/",),
  "embeddings/word_embeddings",
  ("embeddings/position_embeddings", "embeddings/LayerNorm/", "encoder/layer_0/attention/self/"),
)
TORCH = Spelling(
  ".",
  ("bert.", ""),
  "embeddings.word_embeddings.weight",
  ("embeddings.position_embeddings.", "embeddings.LayerNorm.", "encoder.layer.0.attention.self."),
)


# Models whose weights have the names of BERT's and another meaning or place.
_OTHER_MODELS = frozenset({
  "albert", "camembert", "convbert", "deberta", "distilbert", "electra", "ernie", "layoutlm",
  "longformer", "mpnet", "roberta", "xlm_roberta",
})  # fmt: skip


class Scope(NamedTuple):
  """Where a BERT's weights stand in a checkpoint.

  Attributes:
    encoder: what stands before `embeddings/...`, with its separator: "module/bert/".
    heads: what stands before the names of heads: "module/".
  """

  encoder: str
  heads: str

  def native_name(self, name: str, encoder: str) -> str:
    """The name that a weight of this scope has where the encoder's is `encoder` ("bert/")."""
    if name.startswith(self.encoder):
      return encoder + name.removeprefix(self.encoder)
    return name.removeprefix(self.heads)


def find(path: str, names: Iterable[str], spelling: Spelling, prefix: str | None = None) -> Scope:
  """Returns the scope of the BERT among `names`; logs one that is not BERT's own.

  Args:
    path: names the checkpoint in messages.
    names: of all tensors.
    spelling: of the format.
    prefix: what the user says, with or without the last separator and the encoder's own scope.

  Raises:
    UserError: there are several, or none at the given prefix.
  """
  names = list(names)
  scopes = _scopes(names, spelling)
  if prefix is not None:
    return _scope(_given(path, scopes, spelling, prefix), spelling)
  native = [scope for scope in spelling.native if scope in scopes]
  if native or not scopes:
    # Of an incomplete model, what is missing is said when it is loaded.
    begun = [n for n in spelling.native if any(name.startswith(n) for name in names)]
    return _scope([*native, *begun, spelling.native[0]][0], spelling)
  if len(scopes) > 1:
    raise UserError(
      f"{path}: expected the weights of one BERT, found {len(scopes)}:"
      f" {', '.join(map(repr, scopes))}; say which with `checkpoint_prefix`"
    )
  logging.info("%s: the weights of BERT stand under %r here", path, scopes[0])
  return _scope(scopes[0], spelling)


def _scopes(names: list[str], spelling: Spelling) -> list[str]:
  """What stands before the names of each complete encoder."""
  candidates = [name.removesuffix(spelling.anchor) for name in names if _ends(name, spelling)]
  return [
    scope
    for scope in sorted(set(candidates))
    if re.sub(r"[\d_./]+$", "", scope).rpartition(spelling.separator)[2] not in _OTHER_MODELS
    and all(any(name.startswith(scope + other) for name in names) for other in spelling.others)
  ]


def _ends(name: str, spelling: Spelling) -> bool:
  before = name.removesuffix(spelling.anchor)
  return before != name and (not before or before.endswith(spelling.separator))


def _given(path: str, scopes: list[str], spelling: Spelling, prefix: str) -> str:
  wanted = prefix.rstrip("/.")
  spelled = {wanted, *(f"{wanted}{spelling.separator}{n}".rstrip("/.") for n in spelling.native)}
  if not wanted:
    spelled = {native.rstrip("/.") for native in spelling.native}
  for scope in scopes:
    if scope.rstrip("/.") in spelled:
      return scope
  raise UserError(
    f"{path}: expected the weights of a BERT under the prefix {prefix!r}, found them under"
    f" {', '.join(map(repr, scopes)) or 'none'}; correct `checkpoint_prefix` or leave it out"
  )


def _scope(encoder: str, spelling: Spelling) -> Scope:
  own = spelling.native[0]
  is_named = encoder == own or encoder.endswith(spelling.separator + own)
  if is_named:
    return Scope(encoder, encoder.removesuffix(own))
  # `bert_1/` is one scope beside its heads; `module.` may hold both.
  parent = encoder.removesuffix(spelling.separator).rpartition(spelling.separator)
  return Scope(encoder, encoder if spelling is TORCH else parent[0] + parent[1])


class ScopedReader:
  """A TensorFlow checkpoint by the original's names, where it has them behind another scope."""

  def __init__(self, reader: Reader, scope: Scope):
    """Args: `reader`, of the checkpoint as it is; `scope`, where its BERT is."""
    self.path = reader.path
    self.format = reader.format
    self.refused = reader.refused
    self._reader = reader
    native = TENSORFLOW.native[0]
    # Heads outside of the scope are of the other model where there is one.
    is_shared = any(name.startswith(native) for name in reader.shapes)
    self._names: dict[str, str] = {}
    for name in reader.shapes:
      ours = scope.native_name(name, native)
      if ours == name and is_shared and not is_slot(name):
        ours = f"outside of {scope.encoder}: {name}"
      self._names.setdefault(ours, name)
    self.shapes: dict[str, Shape] = {
      ours: reader.shapes[name] for ours, name in sorted(self._names.items())
    }

  def read(self, name: str) -> np.ndarray:
    """Returns a tensor; raises UserError where its bytes are missing or damaged."""
    return self._reader.read(self._names[name])


def open_scoped(reader: Reader, prefix: str | None = None) -> Reader:
  """Returns `reader`, or where its BERT stands in another scope, one with the original's names."""
  scope = find(reader.path, reader.shapes, TENSORFLOW, prefix)
  return reader if scope == Scope(TENSORFLOW.native[0], "") else ScopedReader(reader, scope)
