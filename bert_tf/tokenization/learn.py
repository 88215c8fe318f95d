"""Learns a WordPiece vocabulary from text, with the normalisation that will tokenize it.

The learning itself is tensorflow_text's (the top-down algorithm of Wu et al., 2016, by count
threshold). Unlike merging pairs, it gives the same vocabulary for the same word counts in every
process, and a rerun of an experiment has to.
"""

from __future__ import annotations

import collections
import glob
import importlib.util
import os
from collections.abc import Iterable, Iterator, Sequence
from types import ModuleType
from typing import Any

from bert_tf.errors import UserError
from bert_tf.files import existing_file
from bert_tf.tokenization.basic import clean_words, split_word
from bert_tf.tokenization.settings import TokenizerSettings
from bert_tf.tokenization.vocabulary import SPECIAL_TOKENS, write_vocabulary
from bert_tf.tokenization.wordpiece import SUFFIX_INDICATOR

_LEARNER = ("tools", "wordpiece_vocab", "wordpiece_tokenizer_learner_lib.py")
# Longer words and rarer ones than these many cost time and teach no piece.
_LONGEST_WORD = 50
_MOST_WORDS = 300_000
# Every character may become two pieces, c and ##c: leave half of the vocabulary to longer ones.
_PIECES_PER_CHARACTER = 4
# Search stops at a threshold that gives at most this much too many; the least frequent go then.
_SURPLUS = 1.25


def learn_vocabulary(
  documents: Iterable[str], vocab_size: int, do_lower_case: bool = True
) -> list[str]:
  """Learns about `vocab_size` pieces that spell the words of `documents`.

  Args:
    documents: texts of any length, such as lines; read once.
    vocab_size: wanted number of entries, special tokens included; never exceeded, and missed by
      more than a few only where the text has too few different pieces.
    do_lower_case: as the FullTokenizer that will use the vocabulary.

  Returns:
    The special tokens, then single characters in code point order, then pieces by falling count.

  Raises:
    UserError: no words in `documents`, or `vocab_size` too small.
  """
  smallest = len(SPECIAL_TOKENS) + _PIECES_PER_CHARACTER
  if vocab_size < smallest:
    raise UserError(f"expected a vocab_size of at least {smallest}, found {vocab_size}; raise it")
  counts = count_words(documents, do_lower_case)
  if not counts:
    raise UserError("expected text to learn a vocabulary from, found no word; check the input")
  learner = _learner()
  budget = (vocab_size - len(SPECIAL_TOKENS)) // _PIECES_PER_CHARACTER
  ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
  words = learner.get_input_words(ranked, SPECIAL_TOKENS, _LONGEST_WORD)
  alphabet = learner.get_allowed_chars(words, budget)
  words = learner.filter_input_words(words, alphabet, _MOST_WORDS)
  if not words:
    raise UserError(
      f"expected words of up to {_LONGEST_WORD} characters, found only longer ones; is this text?"
    )
  inner = {char for word, _ in words for char in word[1:]}
  return _trim(_search(learner, words, inner, vocab_size), vocab_size)


def learn_vocabulary_files(
  input_files: str | Sequence[str],
  output_file: str | os.PathLike[str],
  vocab_size: int,
  do_lower_case: bool = True,
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
  raw: collections.Counter[str] = collections.Counter()
  for document in documents:
    raw.update(clean_words(document))
  settings = TokenizerSettings(do_lower_case)
  counts: collections.Counter[str] = collections.Counter()
  for word, count in raw.items():
    for part in split_word(word, settings):
      counts[part] += count
  return counts


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


def _search(
  learner: ModuleType, words: list[tuple[str, int]], inner: set[str], vocab_size: int
) -> list[str]:
  """Returns the vocabulary of the highest count threshold found that gives enough pieces."""
  import tqdm

  low, high = 1, words[0][1]
  best = None
  with tqdm.tqdm(desc="learning pieces", unit=" thresholds", disable=None) as progress:
    while low < high:
      # Sizes fall with the threshold as a power law does, so halve the range of its logarithm.
      threshold = max(low + 1, min(high, round((low * high) ** 0.5)))
      tokens = _learn(learner, words, inner, vocab_size, threshold)
      progress.set_postfix(threshold=threshold, pieces=len(tokens), refresh=False)
      progress.update()
      if len(tokens) < vocab_size:
        high = threshold - 1
        continue
      low, best = threshold, tokens
      if len(tokens) <= _SURPLUS * vocab_size:
        break
  return best or _learn(learner, words, inner, vocab_size, 1)


def _learn(
  learner: ModuleType,
  words: list[tuple[str, int]],
  inner: set[str],
  vocab_size: int,
  threshold: int,
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
  tokens = learner.learn_with_thresh(words, threshold, params)
  # The learner gives every character a suffix form; an ideograph or a comma never is a suffix.
  return [token for token in tokens if not _is_suffix_character(token) or token[-1] in inner]


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
