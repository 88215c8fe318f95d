"""What tokenization did to texts: how much of them is unknown to the vocabulary, and what was cut.

A model learns nothing from `[UNK]`, nor from what lies beyond `--max_seq_length`; both go unnoticed
unless someone counts.
"""

from __future__ import annotations

import collections
import dataclasses
import itertools
import logging
from collections.abc import Iterable, Mapping, Sequence

from bert_tf.data.documents import Document
from bert_tf.tokenization import FullTokenizer, unknown

UNKNOWN = "[UNK]"
# Text in the language and case of its vocabulary has less than 1% of unknown pieces.
_MUCH_UNKNOWN = 0.03
# Which share of lines or documents is a habit of the file, not an exception.
_MANY = 0.5
_PARAGRAPH_SENTENCES = 4
# Characters that the vocabulary lacks are counted until there are so many: it takes time.
_COUNTED_CHARACTERS = 20_000
_SAMPLED_LINES = 10_000
_ENDS = (".", "!", "?", "\u3002", "\uff01", "\uff1f")

_logger = logging.getLogger(__name__)


@dataclasses.dataclass
class TokenizationReport:
  """Counts over texts.

  Attributes:
    texts: how many there are.
    pieces: of all texts, before anything was cut off; without [CLS] and [SEP].
    unknown: how many of these are [UNK].
    empty: texts without any piece.
    cut: texts that lost pieces because they were too long.
    lost: how many pieces they lost.
    characters: those that the vocabulary lacks, with how often they were met in the first texts
      with unknown pieces.
  """

  texts: int = 0
  pieces: int = 0
  unknown: int = 0
  empty: int = 0
  cut: int = 0
  lost: int = 0
  characters: collections.Counter[str] = dataclasses.field(
    default_factory=collections.Counter, compare=False
  )

  def add(self, num_pieces: int, num_unknown: int = 0, num_lost: int = 0) -> None:
    """Counts one text of `num_pieces`, of which `num_lost` were then cut off."""
    self.texts += 1
    self.pieces += num_pieces
    self.unknown += num_unknown
    if not num_pieces:
      self.empty += 1
    if num_lost:
      self.cut += 1
      self.lost += num_lost

  def name_unknown(self, texts: Iterable[str], tokenizer: FullTokenizer) -> None:
    """Counts the characters of texts with unknown pieces that the vocabulary lacks."""
    if self.characters.total() < _COUNTED_CHARACTERS:
      self.characters.update(unknown.counted(texts, tokenizer))

  def add_tokens(self, texts: Iterable[Sequence[str]], num_kept: int) -> None:
    """Counts one example: the pieces of its texts, of which `num_kept` in all stay."""
    texts = list(texts)
    count = sum(map(len, texts))
    self.add(count, sum(tokens.count(UNKNOWN) for tokens in texts), count - num_kept)

  def __iadd__(self, other: TokenizationReport) -> TokenizationReport:
    """Takes in what another process counted."""
    for field in dataclasses.fields(self):
      setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))
    return self

  @property
  def unknown_share(self) -> float:
    """Unknown pieces, from 0 to 1 of all."""
    return self.unknown / max(self.pieces, 1)

  @property
  def lost_share(self) -> float:
    """Pieces that were cut off, from 0 to 1 of all."""
    return self.lost / max(self.pieces, 1)

  def summary(self, noun: str = "texts", limit: str = "", of_unknown: bool = True) -> str:
    """One line.

    Args:
      noun: what a text is called here, in the plural.
      limit: the flag that texts are cut at, such as "`max_seq_length=128`"; none if they are not.
      of_unknown: whether unknown pieces were counted.
    """
    parts = [f"{self.texts:,} {noun} of {self.pieces:,} pieces"]
    if of_unknown:
      found = f"{percent(self.unknown_share)} of the pieces are {UNKNOWN}"
      lacking = f", for lack of {unknown.named(self.characters)}" if self.characters else ""
      parts.append(found + lacking)
    if self.empty:
      parts.append(f"{self.empty:,} {noun} have no piece")
    if self.cut:
      parts.append(
        f"{self.cut:,} {noun} ({percent(self.cut / self.texts)}) were cut at {limit} and lost"
        f" {percent(self.lost_share)} of all pieces"
      )
    elif limit:
      parts.append(f"none was cut at {limit}")
    return "; ".join(parts)

  def log(self, what: str, noun: str = "texts", limit: str = "") -> None:
    """Logs the summary of `what`, a file for one, and warns of much that is unknown."""
    _logger.info("%s: %s", what, self.summary(noun, limit))
    self.warn_of_unknown(what)

  def warn_of_unknown(self, what: str) -> None:
    """Warns if more than a few percent of the pieces are [UNK]."""
    if self.unknown_share > _MUCH_UNKNOWN:
      _logger.warning(
        "%s: %s of the pieces are %s, of which a model learns nothing; are vocabulary and"
        " `do_lower_case` those of the text's language?",
        what,
        percent(self.unknown_share),
        UNKNOWN,
      )


def percent(share: float) -> str:
  """A share from 0 to 1 for readers; what is not nothing is not called 0%."""
  if 0 < share < 0.0001:
    return "less than 0.01%"
  return f"{share:.2%}" if share < 0.01 else f"{share:.1%}"


class LineCounter:
  """Counts the lines of documents, and how they are laid out."""

  def __init__(self, vocab: Mapping[str, int], max_num_tokens: int):
    """Args: `max_num_tokens`, how many pieces of text a sequence takes."""
    # Ids may say where words begin (`word_borders`).
    self._unknown = [vocab[UNKNOWN] + t * len(vocab) for t in range(3) if UNKNOWN in vocab]
    self._ends = frozenset(vocab[mark] for mark in _ENDS if mark in vocab)
    self._max_num_tokens = max_num_tokens
    self.report = CorpusReport()

  def add(self, document: Document) -> None:
    """Counts a document's lines."""
    report = self.report
    lengths = [end - start for start, end in itertools.pairwise(document.starts)]
    report.lines.texts += len(lengths)
    report.lines.pieces += len(document.ids)
    report.lines.unknown += sum(map(document.ids.count, self._unknown))
    report.documents += 1
    report.single_lines += len(lengths) == 1
    report.long_lines += sum(length > self._max_num_tokens for length in lengths)
    if report.sampled < _SAMPLED_LINES:
      report.sampled += len(lengths)
      report.paragraphs += sum(map(self._is_paragraph, document.sentences()))

  def _is_paragraph(self, line: Sequence[int]) -> bool:
    """Whether a line goes on after several full stops; abbreviations make one or two."""
    return sum(map(self._ends.__contains__, line[:-1])) >= _PARAGRAPH_SENTENCES - 1


@dataclasses.dataclass
class CorpusReport:
  """What a corpus looks like, line by line.

  Attributes:
    lines: the lines with text, which should be sentences.
    documents: runs of lines between blank ones, as they are worked on.
    ended: how many documents a blank line or the end of a file ends; fewer than `documents` where
      long ones were cut to be worked on in parts.
    single_lines: documents of one line.
    long_lines: lines that no sequence can hold.
    sampled: how many lines were looked at for
    paragraphs: lines of several sentences.
    sequences: what records hold, before it was cut to the length.
  """

  lines: TokenizationReport = dataclasses.field(default_factory=TokenizationReport)
  documents: int = 0
  ended: int = 0
  single_lines: int = 0
  long_lines: int = 0
  sampled: int = 0
  paragraphs: int = 0
  sequences: TokenizationReport = dataclasses.field(default_factory=TokenizationReport)

  def __iadd__(self, other: CorpusReport) -> CorpusReport:
    """Takes in what another process counted."""
    for field in dataclasses.fields(self):
      value = getattr(self, field.name)
      value += getattr(other, field.name)
      setattr(self, field.name, value)
    return self

  def log(self, max_seq_length: int) -> None:
    """Says what was read and cut, and warns of layouts that make poor records."""
    _logger.info("Read %d documents: %s", self.documents, self.lines.summary("lines"))
    limit = f"`max_seq_length={max_seq_length}`"
    _logger.info("Made %s", self.sequences.summary("sequences", limit, of_unknown=False))
    self.lines.warn_of_unknown("the text")
    lines = max(self.lines.texts, 1)
    if self.documents > 1 and self.single_lines > _MANY * self.documents:
      _logger.warning(
        "%s of the documents are a single line, so nothing follows it and the next sentence is"
        " a random one: put blank lines between documents (articles, chapters), not between"
        " sentences",
        percent(self.single_lines / self.documents),
      )
    if self.paragraphs > _MANY * self.sampled:
      _logger.warning(
        "%s of the lines hold several sentences, as paragraphs do: pairs are made of whole lines"
        " and cut to the length, so write one sentence a line",
        percent(self.paragraphs / self.sampled),
      )
    elif self.long_lines > _MANY * lines:
      _logger.warning(
        "%s of the lines have more pieces than a sequence of `max_seq_length`=%d takes: write one"
        " sentence a line",
        percent(self.long_lines / lines),
        max_seq_length,
      )
