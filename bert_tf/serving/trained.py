"""What a training left beside its weights, so that it need not be said again."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from typing import Any

from bert_tf.checkpoints import description
from bert_tf.config import BertConfig
from bert_tf.errors import UserError
from bert_tf.tokenization import case_of_vocabulary
from bert_tf.training.output_dir import BEST_DIRECTORY, complete_checkpoints, directories_of


def weights_dir(output_dir: str, takes_best: bool) -> str:
  """Where the weights of a run lie: the best if they are wanted and there are any, or all."""
  best = os.path.join(output_dir, BEST_DIRECTORY)
  return best if takes_best and complete_checkpoints(best) else output_dir


def weights(directory: str, init_checkpoint: str | None) -> str:
  """The newest weights in a directory, or the initial ones; raises UserError without either."""
  found = [*filter(None, [init_checkpoint]), *complete_checkpoints(directory)]
  if not found:
    raise UserError(
      f"expected a checkpoint in --output_dir ({directory}), found none; train first, or give"
      " --init_checkpoint"
    )
  return found[-1]


def config(checkpoint: str, given: str | None) -> BertConfig:
  """That of the file `given`, or the one beside the checkpoint.

  Raises:
    UserError: there is none, or it does not describe a BERT.
  """
  if given:
    return BertConfig.from_json_file(given)
  for directory in directories_of(checkpoint):
    if description.find_config(directory):
      return description.read_config(directory)
  raise _nothing_beside(checkpoint, "bert_config.json", "--bert_config_file")


def vocab_file(checkpoint: str, given: str | None) -> str:
  """`given`, or the vocabulary beside the checkpoint; raises UserError where there is none."""
  beside = map(description.find_vocabulary, directories_of(checkpoint))
  found = given or next(filter(None, beside), None)
  if not found:
    raise _nothing_beside(checkpoint, "vocab.txt", "--vocab_file")
  return found


def _nothing_beside(checkpoint: str, name: str, flag: str) -> UserError:
  directory = directories_of(checkpoint)[0]
  return UserError(
    f"expected {name} beside the checkpoint, found none in {directory!r}; give {flag}"
  )


def do_lower_case(checkpoint: str, given: bool | None, vocabulary: Iterable[str]) -> bool:
  """Whether the model reads lower-cased text.

  Args:
    checkpoint: the tokenizer_config.json beside it goes before the vocabulary.
    given: the flag; None where it was left out.
    vocabulary: the tokens, which have hardly any capitals where text is lower-cased.

  Raises:
    UserError: the flag and the file say different things.
  """
  stated = (description.stated_case(directory) for directory in directories_of(checkpoint))
  said = next((value for value in stated if value is not None), None)
  if said is None:
    return case_of_vocabulary(vocabulary) is not False if given is None else given
  if given not in (None, said):
    raise UserError(
      f"expected --do_lower_case={said}, as tokenizer_config.json beside the weights"
      f" ({directories_of(checkpoint)[-1]}) says, found {given}; leave the flag out, or correct"
      " the file"
    )
  return said


def labels(checkpoint: str) -> list[str]:
  """The labels that the training was for; none if they are not there."""
  named = _read(checkpoint, "label_map.json")
  if named:
    return [str(named[key]) for key in sorted(named, key=int)]
  found = map(description.find_labels, directories_of(checkpoint))
  return next(filter(None, found), [])


def max_seq_length(checkpoint: str, default: int) -> int:
  """The longest sequence of the training, or `default` where it is not known."""
  settings = _read(checkpoint, "run_config.json").get("hyperparameters", {})
  return settings.get("max_seq_length", default)


def _read(checkpoint: str, name: str) -> dict[str, Any]:
  candidates = (os.path.join(directory, name) for directory in directories_of(checkpoint))
  path = next(filter(os.path.exists, candidates), None)
  if path is None:
    return {}
  try:
    with open(path, encoding="utf-8") as file:
      content = json.load(file)
  except ValueError as error:
    raise UserError(f"{path}: expected JSON, found {error}; remove it") from error
  if not isinstance(content, dict):
    raise UserError(f"{path}: expected a JSON object; remove it and give flags instead")
  return content
