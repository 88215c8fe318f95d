"""Learns a WordPiece vocabulary from text, with the normalisation that will tokenize it.

The learning itself is tensorflow_text's (the top-down algorithm of Wu et al., 2016, by count
threshold). Unlike merging pairs, it gives the same vocabulary for the same word counts in every
process, and a rerun of an experiment has to.
"""

from __future__ import annotations

import collections
import glob
import importlib.util
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import ModuleType
from typing import Any

from bert_tf.errors import UserError
from bert_tf.files import existing_file
from bert_tf.tokenization.basic import clean_words, split_word
from bert_tf.tokenization.settings import TokenizerSettings
from bert_tf.tokenization.vocabulary import SPECIAL_TOKENS, write_vocabulary
from bert_tf.tokenization.wordpiece import SUFFIX_INDICATOR
from bert_tf.tokenization.writing_systems import MUCH_ERASED, erased_share, is_unspaced

_logger = logging.getLogger(__name__)
_LEARNER = ("tools", "wordpiece_vocab", "wordpiece_tokenizer_learner_lib.py")
# Longer words and rarer ones than these many cost time and teach no piece.
_LONGEST_WORD = 50
_MOST_WORDS = 300_000
# Where spaces do not part words, what stands between them is a phrase: so much of it is a word.
_PART_OF_PHRASE = 25
# The least number of entries for text: a character may take two, c and ##c.
_FEWEST = 4
# Characters that are part of words may take this share of the entries that those which are words by
# themselves (ideographs, punctuation) leave over; and all together this one.
_SHARE_OF_LETTERS = 0.75
_SHARE_OF_CHARACTERS = 0.9
# Search stops at a threshold that gives at most this much too many; the least frequent go then.
_SURPLUS = 1.25


def learn_vocabulary(
  documents: Iterable[str], vocab_size: int, do_lower_case: bool | None = True
) -> list[str]:
  """Learns about `vocab_size` pieces that spell the words of `documents`.

  Args:
    documents: texts of any length, such as lines; read once.
    vocab_size: wanted number of entries, special tokens included; never exceeded, and missed by
      more than a few only where the text has too few different pieces.
    do_lower_case: as the FullTokenizer that will use the vocabulary. None: yes, unless that would
      take away what tells the words of these documents apart; the log says what was chosen.

  Returns:
    The special tokens, then single characters in code point order, then pieces by falling count.

  Raises:
    UserError: no words in `documents`, or `vocab_size` too small.
  """
  smallest = len(SPECIAL_TOKENS) + _FEWEST
  if vocab_size < smallest:
    raise UserError(f"expected a vocab_size of at least {smallest}, found {vocab_size}; raise it")
  counts = _count_parts(_count_raw(documents), do_lower_case)
  if not counts:
    raise UserError("expected text to learn a vocabulary from, found no word; check the input")
  learner = _learner()
  ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
  alphabet, inner = _alphabet(ranked, vocab_size - len(SPECIAL_TOKENS))
  words = learner.get_input_words(_parted(ranked), SPECIAL_TOKENS, _LONGEST_WORD)
  words = learner.filter_input_words(words, alphabet, _MOST_WORDS)
  if not words:
    raise UserError(
      f"expected words of up to {_LONGEST_WORD} characters, found only longer ones; is this text?"
    )
  # Characters that are met in rare or long words only are pieces, too.
  forms = alphabet | {SUFFIX_INDICATOR + char for char in inner}

  def learn(threshold: int) -> list[str]:
    return _with_characters(_learn(learner, words, vocab_size, threshold), forms)

  return _trim(_search(learn, words[0][1], vocab_size), vocab_size)


def learn_vocabulary_files(
  input_files: str | Sequence[str],
  output_file: str | os.PathLike[str],
  vocab_size: int,
  do_lower_case: bool | None = True,
) -> list[str]:
  """Learns a vocabulary from UTF-8 text files, writes it and returns it.

  Args:
    input_files: patterns such as `corpus/*.txt`, as a list or comma-separated.
    output_file: where the vocabulary goes; complete or absent.
    vocab_size: see `learn_vocabulary`.
    do_lower_case: see `learn_vocabulary`.

  Raises:
    UserError: as `learn_vocabulary`; no file matches, one is empty or not UTF-8; cannot write.
  """
  patterns = input_files.split(",") if isinstance(input_files, str) else input_files
  tokens = learn_vocabulary(_lines(_matching_files(patterns)), vocab_size, do_lower_case)
  write_vocabulary(tokens, output_file)
  return tokens


def count_words(documents: Iterable[str], do_lower_case: bool) -> collections.Counter[str]:
  """Counts the words of all documents as BasicTokenizer splits them."""
  return _count_parts(_count_raw(documents), do_lower_case)


def _count_raw(documents: Iterable[str]) -> collections.Counter[str]:
  raw: collections.Counter[str] = collections.Counter()
  for document in documents:
    raw.update(clean_words(document))
  return raw


def _count_parts(
  raw: collections.Counter[str], do_lower_case: bool | None
) -> collections.Counter[str]:
  share = erased_share(raw) if do_lower_case in (None, True) else 0.0
  if do_lower_case is None:
    do_lower_case = share <= MUCH_ERASED
    if not do_lower_case:
      _logger.warning(
        "marks, or syllables of Hangul, are %.0f%% of the characters, so case and marks are kept;"
        " pass `do_lower_case=False` wherever this vocabulary is used",
        100 * share,
      )
  elif share > MUCH_ERASED:
    _logger.warning(
      "`do_lower_case=True` strips marks that tell words apart from %.0f%% of the characters; a"
      " cased vocabulary (`do_lower_case=False`) keeps them",
      100 * share,
    )
  settings = TokenizerSettings(do_lower_case)
  counts: collections.Counter[str] = collections.Counter()
  for word, count in raw.items():
    for part in split_word(word, settings):
      counts[part] += count
  return counts


def _parted(words: list[tuple[str, int]]) -> list[tuple[str, int]]:
  """The words, the phrases of scripts without spaces among them cut into parts.

  A part begins with the last character of the one before, so that what follows is learnt as
  suffixes.
  """
  parts: collections.Counter[str] = collections.Counter()
  for word, count in words:
    if len(word) <= _LONGEST_WORD or not is_unspaced([word]):
      parts[word] += count
      continue
    for start in range(0, len(word) - 1, _PART_OF_PHRASE - 1):
      parts[word[start : start + _PART_OF_PHRASE]] += count
  return sorted(parts.items(), key=lambda item: (-item[1], item[0]))


def _alphabet(words: list[tuple[str, int]], places: int) -> tuple[set[str], set[str]]:
  """The characters that become pieces, and those of them that become suffixes, too.

  The most frequent ones are taken as long as there is room for longer pieces, too. What a character
  takes is what it needs: an ideograph, which is never part of a longer word, one entry.

  Args:
    words: with their counts.
    places: entries of the vocabulary besides special tokens.
  """
  counts: collections.Counter[str] = collections.Counter()
  inner: set[str] = set()
  letters: set[str] = set()
  for word, count in words:
    for char in word:
      counts[char] += count
    inner.update(word[1:])
    if len(word) > 1:
      letters.update(word)
  room_for_all = int(_SHARE_OF_CHARACTERS * places)
  num_alone = min(len(counts.keys() - letters), room_for_all)
  room_for_letters = max(int(_SHARE_OF_LETTERS * (places - num_alone)), 2)
  alphabet: set[str] = set()
  for char, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
    cost = 1 + (char in inner)
    if cost > room_for_all or (char in letters and cost > room_for_letters):
      continue
    alphabet.add(char)
    room_for_all -= cost
    room_for_letters -= cost if char in letters else 0
  return alphabet, inner & alphabet


def _learner() -> ModuleType:
  """Loads tensorflow_text's learner, which is plain Python, without TensorFlow, which is slow."""
  package = importlib.util.find_spec("tensorflow_text")
  if package is None or not package.submodule_search_locations:
    raise UserError("expected the package tensorflow-text, found none; pip install tensorflow-text")
  path = os.path.join(package.submodule_search_locations[0], *_LEARNER)
  spec = importlib.util.spec_from_file_location("wordpiece_tokenizer_learner_lib", path)
  assert spec is not None and spec.loader is not None
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


def _search(learn: Callable[[int], list[str]], highest_count: int, vocab_size: int) -> list[str]:
  """Returns the vocabulary of the highest count threshold found that gives enough pieces."""
  import tqdm

  low, high = 1, highest_count
  best = None
  with tqdm.tqdm(desc="learning pieces", unit=" thresholds", disable=None) as progress:
    while low < high:
      # Sizes fall with the threshold as a power law does, so halve the range of its logarithm.
      threshold = max(low + 1, min(high, round((low * high) ** 0.5)))
      tokens = learn(threshold)
      progress.set_postfix(threshold=threshold, pieces=len(tokens), refresh=False)
      progress.update()
      if len(tokens) < vocab_size:
        high = threshold - 1
        continue
      low, best = threshold, tokens
      if len(tokens) <= _SURPLUS * vocab_size:
        break
  return best or learn(1)


def _learn(
  learner: ModuleType, words: list[tuple[str, int]], vocab_size: int, threshold: int
) -> list[str]:
  params: Any = learner.Params(
    upper_thresh=None,
    lower_thresh=None,
    num_iterations=4,
    max_input_tokens=-1,
    max_token_length=_LONGEST_WORD,
    max_unique_chars=-1,
    vocab_size=vocab_size,
    slack_ratio=0,
    include_joiner_token=True,
    joiner=SUFFIX_INDICATOR,
    reserved_tokens=list(SPECIAL_TOKENS),
  )
  return learner.learn_with_thresh(words, threshold, params)


def _with_characters(tokens: list[str], forms: set[str]) -> list[str]:
  """The tokens with exactly those of single characters that text needs.

  The learner gives every character a suffix form; an ideograph or a comma never is a suffix.
  """
  single = sorted(form for form in forms if not _is_suffix_character(form))
  longer = [
    token
    for token in tokens[len(SPECIAL_TOKENS) :]
    if len(token) > 1 and (token in forms or not _is_suffix_character(token))
  ]
  return [*SPECIAL_TOKENS, *single, *longer, *sorted(forms - {*single, *longer})]


def _is_suffix_character(token: str) -> bool:
  return len(token) == len(SUFFIX_INDICATOR) + 1 and token.startswith(SUFFIX_INDICATOR)


def _trim(tokens: list[str], vocab_size: int) -> list[str]:
  """Drops the rarest pieces of several characters, which the single ones can spell."""
  surplus = len(tokens) - vocab_size
  kept: list[str] = []
  for token in reversed(tokens):
    single = len(token) == 1 or _is_suffix_character(token)
    if surplus > 0 and not single and token not in SPECIAL_TOKENS:
      surplus -= 1
    else:
      kept.append(token)
  return kept[::-1]


def _matching_files(patterns: Sequence[str]) -> list[str]:
  files: list[str] = []
  for pattern in patterns:
    matches = sorted(glob.glob(pattern)) or [pattern]
    files += [existing_file(path, "input_file") for path in matches]
  return files


def _lines(files: Sequence[str]) -> Iterator[str]:
  """Yields the lines of all files, with a progress bar by bytes on a terminal."""
  import tqdm

  total = sum(map(os.path.getsize, files))
  with tqdm.tqdm(
    total=total, unit="B", unit_scale=True, desc="counting words", disable=None, mininterval=1
  ) as progress:
    for path in files:
      with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
          try:
            yield line.decode("utf-8")
          except UnicodeDecodeError as error:
            raise UserError(
              f"{path}, line {number}: expected UTF-8, found byte {line[error.start]:#04x};"
              " convert the file to UTF-8"
            ) from error
          progress.update(len(line))
