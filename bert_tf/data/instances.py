"""Documents to pretraining instances: pairs of segments, as the original makes them.

BERT paper, section 3.1, task 2 and appendix A.2; google-research/bert
`create_instances_from_document`, whose random draws are followed one by one.
"""

from __future__ import annotations

import bisect
import dataclasses
import random
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from bert_tf.data.documents import Document
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
        raise UserError(f"`{name}`: expected at least {least}, found {getattr(self, name)}")
    for name in ("masked_lm_prob", "short_seq_prob"):
      if not 0 <= getattr(self, name) <= 1:
        raise UserError(f"`{name}`: expected a number from 0 to 1, found {getattr(self, name)}")

  @property
  def uses_words(self) -> bool:
    """Whether it matters where words begin: they are masked as a whole, or may be in training."""
    return self.do_whole_word_mask or self.dynamic_masking

  @property
  def max_num_tokens(self) -> int:
    """Pieces besides [CLS], [SEP], [SEP]."""
    return self.max_seq_length - 3


class Pair(NamedTuple):
  """Two segments of text, from which `num_lost` pieces were cut.

  `is_random_next`: the second is from elsewhere.
  """

  first: list[int]
  second: list[int]
  is_random_next: bool
  num_lost: int


def target_length(options: InstanceOptions, rng: random.Random) -> int:
  """Usually full sequences; with `short_seq_prob` anything from 2 pieces up."""
  if rng.random() < options.short_seq_prob:
    return 2 + below(rng, options.max_num_tokens - 1)
  return options.max_num_tokens


class Run(NamedTuple):
  """Pieces [begin, end) of a document."""

  ids: list[int]
  begin: int
  end: int

  def cut(self, front: int, back: int) -> list[int]:
    """The pieces without some at both ends."""
    return self.ids[self.begin + front : self.end - back]


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
  ids, starts = documents[index].ids, documents[index].starts
  target = target_length(options, rng)
  last = len(starts) - 1
  begin = 0
  while begin < last:
    # As many sentences as reach the target, or all that are left.
    end = bisect.bisect_left(starts, starts[begin] + target, begin + 1, last)
    count = end - begin
    middle = begin + 1 + (below(rng, count - 1) if count >= 2 else 0)
    first = Run(ids, starts[begin], starts[middle])
    is_random_next = count == 1 or rng.random() < 0.5
    if is_random_next:
      second = _random_run(documents, index, target - (first.end - first.begin), rng)
      # The sentences that were not used are read again.
      begin = middle
    else:
      second = Run(ids, starts[middle], starts[end])
      begin = end
    cut_first, cut_second = truncate_pair(
      first.end - first.begin, second.end - second.begin, options.max_num_tokens, rng
    )
    num_lost = sum(cut_first) + sum(cut_second)
    yield Pair(first.cut(*cut_first), second.cut(*cut_second), is_random_next, num_lost)


def _random_run(documents: Sequence[Document], index: int, target: int, rng: random.Random) -> Run:
  """Sentences from a random place of another document, until `target` pieces are reached.

  Ten draws that all hit the same document are accepted: a corpus of one document has no other.
  """
  for _ in range(10):
    other = below(rng, len(documents))
    if other != index:
      break
  ids, starts = documents[other].ids, documents[other].starts
  sentence = below(rng, len(starts) - 1)
  begin = starts[sentence]
  end = bisect.bisect_left(starts, begin + target, sentence + 1, len(starts) - 1)
  return Run(ids, begin, starts[end])
