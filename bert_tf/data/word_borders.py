"""Pieces of text without spaces, each with whether it goes on with a word.

From the text to the masks this travels in the ids themselves: `id`, as WordPiece has it ("##ing"
goes on); `id + size`, a piece that goes on all the same, such as the second ideograph of a word;
and `id + 2 * size`, a "##" that begins a word, as within a Thai phrase. Records hold plain ids.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence

from bert_tf.data.documents import Encode, Tokenizer, sentence_encoder
from bert_tf.data.masking import Vocabulary
from bert_tf.tokenization.basic import CHINESE_BLOCKS
from bert_tf.tokenization.memo import Memo
from bert_tf.tokenization.segmenters import WordBorders, begins_word, borders_of, joined
from bert_tf.tokenization.tokenizer import FullTokenizer
from bert_tf.tokenization.wordpiece import SUFFIX_INDICATOR
from bert_tf.tokenization.writing_systems import UNSPACED_SHARE, count_unspaced

_IDEOGRAPHS = "".join(f"{chr(first)}-{chr(last)}" for first, last in CHINESE_BLOCKS)
_parts = re.compile(f"[{_IDEOGRAPHS}]|[^{_IDEOGRAPHS}]+").finditer


def encoder(tokenizer: Tokenizer, borders: WordBorders, whole_words: bool) -> Encode:
  """`sentence_encoder` for text whose words are known.

  Args:
    tokenizer: a `FullTokenizer`.
    borders: where words begin; none: as `sentence_encoder`.
    whole_words: whether the ids say which pieces go on with a word; if not, they are plain.
  """
  plain = sentence_encoder(tokenizer)
  if not borders:
    return plain
  segment = borders.load()
  if not whole_words:
    return lambda line: plain(joined(segment(line))[0] if borders.segmented else line)
  assert isinstance(tokenizer, FullTokenizer)
  flagged = _flagged_encoder(tokenizer)

  def encode(line: str) -> list[int]:
    words = list(segment(line))
    return flagged(*(joined(words) if borders.segmented else (line, borders_of(line, words))))

  return encode


def _flagged_encoder(tokenizer: FullTokenizer):
  vocab, size = tokenizer.vocab, len(tokenizer.vocab)
  suffixes = {index for token, index in vocab.items() if token.startswith(SUFFIX_INDICATOR)}

  def placed(part: str) -> list[tuple[int, int]]:
    tokens, starts, _ = tokenizer.tokenize_with_offsets(part)
    return [(vocab[token], start) for token, start in zip(tokens, starts, strict=True)]

  # Ideographs are words for the tokenizer, so that what lies between them stands on its own.
  apart = tokenizer.settings.tokenize_chinese_chars and not tokenizer.settings.added_tokens
  placed_part = Memo(placed)

  def encode(text: str, borders: set[int]) -> list[int]:
    ids = []
    parts = ((m.group(), m.start()) for m in _parts(text)) if apart else [(text, 0)]
    for part, begin in parts:
      for index, start in placed_part[part]:
        is_suffix = index in suffixes
        begins = begins_word(text, begin + start, is_suffix, borders)
        ids.append(index + size * (0 if begins != is_suffix else 2 if begins else 1))
    return ids

  return encode


def plain_and_continues(ids: Sequence[int], vocabulary: Vocabulary) -> tuple[list[int], list[int]]:
  """The ids without what they say of words, and for each whether it goes on with one, 0 or 1."""
  size, is_suffix = vocabulary.size, vocabulary.is_suffix
  continues = [is_suffix[i] if i < size else int(i < 2 * size) for i in ids]
  return [i % size for i in ids], continues


def beginning(ids: Sequence[int], vocabulary: Vocabulary) -> list[int]:
  """The ids of a run that was cut out of a sentence: its first piece goes on with no ideograph."""
  size = vocabulary.size
  if ids and size <= ids[0] < 2 * size:
    return [ids[0] - size, *ids[1:]]
  return list(ids)


def count_of(ids: Sequence[int], index: int, size: int) -> int:
  """How often the piece `index` is among ids that may say whether it goes on with a word."""
  return sum(ids.count(index + size * times) for times in range(3))


def warn_of_unknown_borders(words: Iterable[str], borders: WordBorders, whole_words: bool) -> None:
  """Says so where whole words are to be masked in text whose words nothing tells apart.

  Args:
    words: a sample of the text, such as `documents.sample_of`.
    borders: where words begin.
    whole_words: whether they are to be masked.
  """
  if borders or not whole_words:
    return
  text = "".join(words)
  if count_unspaced(text) >= UNSPACED_SHARE * len(text) > 0:
    logging.getLogger(__name__).warning(
      "`do_whole_word_mask`: the text is written without spaces between words, and nothing says"
      " where words begin, so that ideographs are masked one by one; pass `segmenter=jieba`, a"
      " `words_file`, or text with spaces between words and `segmented`"
    )
