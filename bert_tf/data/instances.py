"""Documents to pretraining instances: pairs of segments, as the original makes them.

BERT paper, section 3.1, task 2 and appendix A.2; google-research/bert
`create_instances_from_document`, whose random draws are followed one by one.
"""

from __future__ import annotations

import dataclasses
import itertools
import random
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from bert_tf.data.documents import Document, Sentence
from bert_tf.data.masking import below, truncate_pair
from bert_tf.errors import UserError


@dataclasses.dataclass(frozen=True)
class InstanceOptions:
  """The flags that decide what records hold, with the original's defaults.

  `dynamic_masking` is not the original's: records then carry whole sequences, which are masked when
  they are read.
  """

  max_seq_length: int = 128
  max_predictions_per_seq: int = 20
  random_seed: int = 12345
  dupe_factor: int = 10
  masked_lm_prob: float = 0.15
  short_seq_prob: float = 0.1
  do_whole_word_mask: bool = False
  dynamic_masking: bool = False

  def __post_init__(self) -> None:
    for name, least in (
      ("max_seq_length", 5),  # [CLS] a [SEP] b [SEP]
      ("max_predictions_per_seq", 1),
      ("dupe_factor", 1),
    ):
      if getattr(self, name) < least:
        raise UserError(f"--{name}: expected at least {least}, found {getattr(self, name)}")
    for name in ("masked_lm_prob", "short_seq_prob"):
      if not 0 <= getattr(self, name) <= 1:
        raise UserError(f"--{name}: expected a number from 0 to 1, found {getattr(self, name)}")

  @property
  def max_num_tokens(self) -> int:
    """Pieces besides [CLS], [SEP], [SEP]."""
    return self.max_seq_length - 3


class Pair(NamedTuple):
  """Two segments of text; `is_random_next`: the second is from elsewhere."""

  first: Sentence
  second: Sentence
  is_random_next: bool


def target_length(options: InstanceOptions, rng: random.Random) -> int:
  """Usually full sequences; with `short_seq_prob` anything from 2 pieces up."""
  if rng.random() < options.short_seq_prob:
    return 2 + below(rng, options.max_num_tokens - 1)
  return options.max_num_tokens


def pairs_of_document(
  documents: Sequence[Document], index: int, options: InstanceOptions, rng: random.Random
) -> Iterator[Pair]:
  """Cuts one document into pairs of segments of about the wanted length.

  Args:
    documents: all of them; random seconds are drawn from those.
    index: of the document to cut.
    options: `max_seq_length` and `short_seq_prob` count here.
    rng: the next numbers of it decide.
  """
  document = documents[index]
  target = target_length(options, rng)
  last = len(document) - 1
  chunk: list[Sentence] = []
  length = 0
  i = 0
  while i <= last:
    chunk.append(document[i])
    length += len(document[i])
    if i == last or length >= target:
      num_first = 1 + below(rng, len(chunk) - 1) if len(chunk) >= 2 else 1
      first = list(itertools.chain.from_iterable(chunk[:num_first]))
      is_random_next = len(chunk) == 1 or rng.random() < 0.5
      if is_random_next:
        second = _random_second(documents, index, target - len(first), rng)
        # The sentences that were not used are read again.
        i -= len(chunk) - num_first
      else:
        second = list(itertools.chain.from_iterable(chunk[num_first:]))
      keep_first, keep_second = truncate_pair(len(first), len(second), options.max_num_tokens, rng)
      yield Pair(first[keep_first], second[keep_second], is_random_next)
      chunk = []
      length = 0
    i += 1


def _random_second(
  documents: Sequence[Document], index: int, target: int, rng: random.Random
) -> Sentence:
  """Sentences from a random place of another document, until `target` pieces are reached.

  Ten draws that all hit the same document are accepted: a corpus of one document has no other.
  """
  for _ in range(10):
    other = below(rng, len(documents))
    if other != index:
      break
  document = documents[other]
  second: Sentence = []
  for sentence in document[below(rng, len(document)) :]:
    second += sentence
    if len(second) >= target:
      break
  return second
