"""A model without its weights: all that a command must know of it, read once and written once."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

from absl import logging

from bert_tf.config import BertConfig
from bert_tf.errors import UserError
from bert_tf.files import existing_checkpoint
from bert_tf.model_dir import head_kinds, labels
from bert_tf.model_dir.beside import CONFIG_FILE, THEIR_CONFIG_FILE, Beside
from bert_tf.tokenization import (
  FullTokenizer,
  SavedTokenizer,
  StatedSettings,
  TokenizerSettings,
  case_of_vocabulary,
  load_vocab,
  require_special_tokens,
  validate_case_matches_checkpoint,
)


@dataclasses.dataclass(frozen=True)
class Description:
  """What belongs to a model's weights.

  Attributes:
    config: the architecture.
    tokens: the vocabulary in the order of ids; empty where there is none.
    vocab_file: a file that holds just these tokens, or None.
    tokenizer: how text becomes words.
    labels: names of the outputs in their order; empty where they have none.
    head: one of `head_kinds.HEADS`; None where it is not known.
    pairs: whether it was trained on two texts; None where it is not known.
    max_seq_length: the longest sequence that it was trained on; None where it is not known.
    settings: what else a run was told that later commands must know, by flag; JSON values.
  """

  config: BertConfig
  tokens: tuple[str, ...] = ()
  vocab_file: str | None = None
  tokenizer: TokenizerSettings = dataclasses.field(default_factory=TokenizerSettings)
  labels: tuple[str, ...] = ()
  head: str | None = None
  pairs: bool | None = None
  max_seq_length: int | None = None
  settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)

  def full_tokenizer(self) -> FullTokenizer:
    """The tokenizer; raises UserError where there is no vocabulary."""
    return FullTokenizer(self.vocab_file or self.tokens, settings=self.tokenizer)


@dataclasses.dataclass(frozen=True)
class Given:
  """What a user says of a model; None where nothing was said. The names are those of the flags.

  `default_lower_case` is taken where neither the user nor a file says anything; None: what the
  vocabulary suggests.
  """

  bert_config_file: str | None = None
  vocab_file: str | None = None
  do_lower_case: bool | None = None
  labels: Sequence[str] | None = None
  head: str | None = None
  default_lower_case: bool | None = None


def describe(
  path: str | None, given: Given | None = None, needs_vocabulary: bool = False
) -> Description:
  """Reads what lies beside the weights at `path`, and compares it with what a user says.

  Args:
    path: a checkpoint's prefix, file or directory, or `hf://organisation/name[@revision]`; None
      where there are no weights yet.
    given: goes before what is not there, and is refused where it contradicts what is.
    needs_vocabulary: whether a model without one is refused.

  Raises:
    UserError: there is no config, it describes another architecture than BERT, the vocabulary has
      more tokens than the model, or `given` contradicts a file.
  """
  given = given or Given()
  beside = Beside(path)
  config = read_config(beside, given.bert_config_file)
  tokenizer = read_tokenizer(beside, given, required=needs_vocabulary)
  if tokenizer:
    where = given.vocab_file or tokenizer.vocab_file or beside.directories[0]
    config.check_vocabulary_size(len(tokenizer.tokens), where)
    if needs_vocabulary:
      require_special_tokens(dict.fromkeys(tokenizer.tokens, 0), path=where)
    tokenizer = tokenizer._replace(stated=_with_case(tokenizer, beside, given))
  head = beside.head
  if given.head:
    head_kinds.check(given.head, head.head, head.path)
  return Description(
    config,
    tuple(tokenizer.tokens) if tokenizer else (),
    tokenizer.vocab_file if tokenizer else None,
    TokenizerSettings(**tokenizer.stated) if tokenizer else TokenizerSettings(),
    check_labels(beside, given.labels),
    given.head or head.head,
    head.pairs,
    head.max_seq_length,
    head.settings,
  )


def read_config(beside: Beside, given: str | None = None) -> BertConfig:
  """Returns the configuration in the file `given`, or the one beside the weights.

  Raises:
    UserError: there is none, or it does not describe a BERT.
  """
  if given:
    config = BertConfig.from_json_file(given)
    _compare_configs(config, beside, given)
    return config
  if beside.config is None:
    if beside.path:
      existing_checkpoint(beside.path)  # Where there is nothing at all, the path is to blame.
    raise _nothing_beside("bert_config_file", f"{CONFIG_FILE} or {THEIR_CONFIG_FILE}", beside)
  return beside.config


def _nothing_beside(flag: str, names: str, beside: Beside) -> UserError:
  looked = f" (looked for {names} in {beside.directories[0]!r})" if beside.directories else ""
  return UserError(
    f"`{flag}`: expected a file, or an `init_checkpoint` that has one beside it, found neither;"
    f" name it{looked}"
  )


def _compare_configs(config: BertConfig, beside: Beside, given: str) -> None:
  """Says where another config than that of the weights would give other outputs."""
  try:
    theirs = beside.config
  except UserError:
    return
  if theirs is None or beside.config_file is None:
    return
  for name in ("hidden_act", "layer_norm_eps", "num_attention_heads", "num_hidden_layers"):
    ours, other = getattr(config, name), getattr(theirs, name)
    if ours != other:
      logging.warning(
        "%s: %s is %s, but %s beside the weights says %s; going on with the former",
        given, name, ours, beside.config_file, other,
      )  # fmt: skip


def read_tokenizer(beside: Beside, given: Given, required: bool = True) -> SavedTokenizer | None:
  """Returns the vocabulary that is given, or the one beside the weights, and what files say of it.

  Raises:
    UserError: `required` and there is no vocabulary, or what is given contradicts what is there.
  """
  found = beside.tokenizer
  if given.vocab_file:
    tokens = list(load_vocab(given.vocab_file))
    if found:
      _compare_vocabularies(tokens, found, given.vocab_file, beside)
    found = SavedTokenizer(tokens, beside.stated, given.vocab_file)
  if found is None:
    if required:
      raise _nothing_beside("vocab_file", "vocab.txt or tokenizer.json", beside)
    return None
  return found


def _compare_vocabularies(
  tokens: list[str], found: SavedTokenizer, given: str, beside: Beside
) -> None:
  """Refuses another vocabulary than that of the weights.

  Entries `[unused...]` may have got a meaning: the original advises to put own words there.
  """
  where = found.vocab_file or beside.directories[0]
  if len(tokens) != len(found.tokens):
    raise UserError(
      f"`vocab_file={given}`: expected the {len(found.tokens)} tokens of the vocabulary beside"
      f" the weights ({where}), found {len(tokens)}; leave the flag out, or give the weights that"
      " belong to it"
    )
  replaced = 0
  for number, (ours, theirs) in enumerate(zip(tokens, found.tokens, strict=True)):
    if ours == theirs:
      continue
    if not re.fullmatch(r"\[unused\d+\]", theirs):
      raise UserError(
        f"`vocab_file={given}`: expected the vocabulary beside the weights ({where}), found"
        f" {ours!r} in place of {theirs!r} (id {number}); leave the flag out, or give the weights"
        " that belong to it"
      )
    replaced += 1
  if replaced:
    logging.info("%s: %d [unused] entries of %s have got a meaning", given, replaced, where)


def _with_case(found: SavedTokenizer, beside: Beside, given: Given) -> StatedSettings:
  """The settings with `do_lower_case` among them.

  What is stated beside the weights goes before the default; a flag must not contradict it. Flag and
  default must not contradict the vocabulary or the model's name.
  """
  said = found.stated.get("do_lower_case")
  if said is not None and given.do_lower_case not in (None, said):
    raise UserError(
      f"expected `do_lower_case={said}`, as tokenizer_config.json beside the weights"
      f" ({beside.directories[-1]}) says, found {given.do_lower_case}; leave the flag out, or"
      " correct the file"
    )
  if said is None:
    said = given.default_lower_case if given.do_lower_case is None else given.do_lower_case
    if said is not None:
      validate_case_matches_checkpoint(said, beside.path, dict.fromkeys(found.tokens, 0))
    else:
      said = case_of_vocabulary(found.tokens) is not False
  return StatedSettings(**{**found.stated, "do_lower_case": said})


def check_labels(beside: Beside, given: Sequence[str] | None) -> tuple[str, ...]:
  """Returns the labels that are given, or those beside the weights.

  Raises:
    UserError: both are there and differ, in names or in order.
  """
  if not given:
    return beside.labels
  if beside.labels and (found := labels.difference(given, beside.labels)):
    raise UserError(
      f"expected the labels of the weights ({beside.labels_file}), found {found}; leave the labels"
      " out, or train on these"
    )
  return tuple(given)
