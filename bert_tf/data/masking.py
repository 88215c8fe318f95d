"""Masked-LM targets and next-sentence truncation, draw for draw as the original.

BERT paper, section 3.1, task 1; google-research/bert `create_masked_lm_predictions`.  Whoever
passes the same `random.Random` gets the same masks as from the original, whose calls were
`shuffle`, `random` and `randint`: what these ask of the Mersenne Twister is written out here, so
that it stays the same under every version of Python, and costs half as much.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterable, Mapping, MutableSequence, Sequence
from typing import NamedTuple

from bert_tf.errors import UserError
from bert_tf.tokenization.wordpiece import SUFFIX_INDICATOR


def below(rng: random.Random, count: int) -> int:
  """A whole number in [0, count): `rng.randint(0, count - 1)`."""
  getrandbits = rng.getrandbits
  bits = count.bit_length()
  drawn = getrandbits(bits)
  while drawn >= count:
    drawn = getrandbits(bits)
  return drawn


def shuffle(rng: random.Random, items: MutableSequence) -> None:
  """Shuffles in place: `rng.shuffle(items)` (Fisher and Yates, from the end)."""
  getrandbits = rng.getrandbits
  count = len(items)
  while count > 1:
    # Counts from 2 ** (bits - 1) to 2 ** bits - 1 all draw the same number of bits.
    bits = count.bit_length()
    for last in range(count - 1, max((1 << (bits - 1)) - 2, 0), -1):
      drawn = getrandbits(bits)
      while drawn > last:
        drawn = getrandbits(bits)
      items[last], items[drawn] = items[drawn], items[last]
    count = (1 << (bits - 1)) - 1


class Masked(NamedTuple):
  """A sequence with some pieces replaced.

  Attributes:
    ids: what the model reads, with [MASK] or a random or the original piece at `positions`.
    positions: of the predictions, ascending.
    labels: the original ids at `positions`.
  """

  ids: list[int]
  positions: list[int]
  labels: list[int]


@dataclasses.dataclass(frozen=True)
class Vocabulary:
  """What masking has to know about the ids.

  Attributes:
    size: how many ids there are; random words are drawn from all of them.
    cls, sep, mask: ids of the special pieces.
    is_suffix: for each id 1 if the piece continues a word ("##ing"), else 0.
  """

  size: int
  cls: int
  sep: int
  mask: int
  is_suffix: bytes

  @classmethod
  def of(cls, vocab: Mapping[str, int]) -> Vocabulary:
    """From token -> id, ids in the order 0, 1, ...; raises UserError if a special one lacks."""
    missing = [token for token in ("[CLS]", "[SEP]", "[MASK]") if token not in vocab]
    if missing:
      raise UserError(
        f"expected a vocabulary with [CLS], [SEP] and [MASK], found none of {', '.join(missing)}; "
        "use the vocabulary of a BERT model"
      )
    return cls(
      size=len(vocab),
      cls=vocab["[CLS]"],
      sep=vocab["[SEP]"],
      mask=vocab["[MASK]"],
      is_suffix=bytes(token.startswith(SUFFIX_INDICATOR) for token in vocab),
    )


@dataclasses.dataclass(frozen=True)
class Masker:
  """Draws masked-LM targets.

  Attributes:
    vocabulary: see there.
    masked_lm_prob: share of the sequence (special pieces counted) to predict.
    max_predictions_per_seq: and no more than that.
    whole_word: mask all pieces of a word or none (`--do_whole_word_mask`).
  """

  vocabulary: Vocabulary
  masked_lm_prob: float
  max_predictions_per_seq: int
  whole_word: bool = False

  def num_to_predict(self, length: int) -> int:
    """At least one, whatever the probability."""
    return min(self.max_predictions_per_seq, max(1, round(length * self.masked_lm_prob)))

  def mask(
    self,
    ids: Sequence[int],
    num_a: int,
    rng: random.Random,
    continues: Sequence[int] | None = None,
  ) -> Masked:
    """Masks "[CLS] a [SEP] b [SEP]".

    Args:
      ids: the whole sequence.
      num_a: how many pieces there are in `a`.
      rng: the next numbers of it decide.
      continues: for each piece, whether it goes on with a word; None: those with "##" do.
    """
    positions = [*range(1, num_a + 1), *range(num_a + 2, len(ids) - 1)]
    count = self.num_to_predict(len(ids))
    if self.whole_word:
      words = self._words(ids, positions, continues)
      shuffle(rng, words)
      chosen = _fitting(words, count)
    else:
      shuffle(rng, positions)
      chosen = positions[:count]
    masked = self._replace(ids, chosen, rng)
    chosen.sort()
    return Masked(masked, chosen, [ids[position] for position in chosen])

  def _words(
    self, ids: Sequence[int], positions: Sequence[int], continues: Sequence[int] | None
  ) -> list[list[int]]:
    """Positions grouped by word; a suffix that begins `b` joins the last word of `a`."""
    if continues is None:
      continues = [self.vocabulary.is_suffix[index] for index in ids]
    words: list[list[int]] = []
    for position in positions:
      if continues[position] and words:
        words[-1].append(position)
      else:
        words.append([position])
    return words

  def _replace(self, ids: Sequence[int], chosen: Sequence[int], rng: random.Random) -> list[int]:
    """80% [MASK], 10% unchanged, 10% a random piece (which may be a special one)."""
    mask, size = self.vocabulary.mask, self.vocabulary.size
    uniform = rng.random
    result = list(ids)
    for position in chosen:
      if uniform() < 0.8:
        result[position] = mask
      elif uniform() >= 0.5:
        result[position] = below(rng, size)
    return result


@dataclasses.dataclass(frozen=True)
class QuickMasker(Masker):
  """The same distribution from fewer draws, so not the original's records for the same seed."""

  def mask(
    self,
    ids: Sequence[int],
    num_a: int,
    rng: random.Random,
    continues: Sequence[int] | None = None,
  ) -> Masked:
    """See `Masker`."""
    if self.whole_word:
      return super().mask(ids, num_a, rng, continues)
    uniform = rng.random
    mask, size = self.vocabulary.mask, self.vocabulary.size
    room, separator = len(ids) - 2, num_a + 1
    count = min(self.num_to_predict(len(ids)), room - 1)
    result = list(ids)
    labels: dict[int, int] = {}
    while len(labels) < count:
      position = 1 + int(uniform() * room)
      # Seldom drawn before, as few are needed.
      if position == separator or position in labels:
        continue
      labels[position] = ids[position]
      drawn = uniform()
      if drawn < 0.8:
        result[position] = mask
      elif drawn < 0.9:
        result[position] = int(uniform() * size)
    positions = sorted(labels)
    return Masked(result, positions, [labels[position] for position in positions])


def _fitting(words: Iterable[Sequence[int]], count: int) -> list[int]:
  """Positions of whole words, in order, skipping a word that would exceed `count`."""
  chosen: list[int] = []
  for word in words:
    if len(chosen) >= count:
      break
    if len(chosen) + len(word) <= count:
      chosen.extend(word)
  return chosen


def truncate_pair(
  num_a: int, num_b: int, max_num_tokens: int, rng: random.Random
) -> tuple[tuple[int, int], tuple[int, int]]:
  """How much to cut of a pair that is too long (original: `truncate_seq_pair`).

  The longer one (the second if equal) loses a piece, at its front or end with equal chances, until
  both fit.

  Returns:
    for each of both, how many pieces to cut at the front and at the end.
  """
  uniform = rng.random
  front_a = end_a = front_b = end_b = 0
  for _ in range(num_a + num_b - max_num_tokens):
    front = uniform() < 0.5
    if num_a > num_b:
      num_a -= 1
      if front:
        front_a += 1
      else:
        end_a += 1
    else:
      num_b -= 1
      if front:
        front_b += 1
      else:
        end_b += 1
  return (front_a, end_a), (front_b, end_b)
