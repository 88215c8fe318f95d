"""Text to TFRecords in one go: the same records, in the same order, as the original's.

Like the original this holds all documents and all records in memory, as one shuffle of each is part
of what the seed stands for; `scale.py` is for text that does not fit.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import random
import sys
from collections.abc import Iterator, Sequence

from tqdm import tqdm

from bert_tf.data import word_borders
from bert_tf.data.documents import Document, Tokenizer, read_documents, sample_of
from bert_tf.data.instance_encoding import PretrainingEncoder
from bert_tf.data.instances import InstanceOptions, pairs_of_document
from bert_tf.data.masking import Masker, QuickMasker, Vocabulary, shuffle
from bert_tf.data.records import RecordWriter, decode_example
from bert_tf.data.report import CorpusReport, LineCounter, TokenizationReport
from bert_tf.data.word_borders import beginning, plain_and_continues
from bert_tf.tokenization.segmenters import WordBorders
from bert_tf.tokenization.tokenizer import FullTokenizer

_LOGGED_EXAMPLES = 20


def progress_bar(description: str, total: float, unit: str) -> tqdm:
  """A bar on stderr with rate and time left; a line every 30 s where there is no terminal."""
  interval = 0.5 if sys.stderr.isatty() else 30.0
  scale = unit == "B"
  return tqdm(
    desc=description, total=total, unit=unit, unit_scale=scale, mininterval=interval, leave=False
  )


def create_pretraining_data(
  input_files: Sequence[str],
  output_files: Sequence[str],
  tokenizer: Tokenizer,
  options: InstanceOptions,
  borders: WordBorders | None = None,
) -> int:
  """Reads text, writes masked-LM and next-sentence records; record i goes to output i mod n.

  Args:
    input_files: one sentence a line, blank lines between documents; gzip if named `.gz`.
    output_files: TFRecord files, gzip if named `.gz`; they appear when all are complete.
    tokenizer: a `FullTokenizer`.
    options: the original's flags.
    borders: where words begin in text without spaces, for whole words.

  Returns:
    how many records were written.

  Raises:
    UserError: text that cannot be read or is none; an output that cannot be written.
  """
  logger = logging.getLogger(__name__)
  warn_about_predictions(options)
  logger.info("*** Reading from input files ***")
  for path in input_files:
    logger.info("  %s", path)
  with progress_bar("reading", sum(map(os.path.getsize, input_files)), "B") as bar:
    encode = word_borders.encoder(tokenizer, borders or WordBorders(), options.uses_words)
    documents = read_documents(input_files, encode, bar.update)
  counter = LineCounter(tokenizer.vocab, options.max_num_tokens)
  for document in documents:
    counter.add(document)
  warn_about_documents(len(documents))
  rng = random.Random(options.random_seed)
  shuffle(rng, documents)
  maker = ExampleMaker(Vocabulary.of(tokenizer.vocab), options, bool(borders))
  records = list(_records(documents, maker, options.dupe_factor, rng))
  shuffle(rng, records)
  counter.report.sequences = maker.sequences
  name_unknown(counter.report, input_files, tokenizer)
  counter.report.log(options.max_seq_length)
  logger.info("*** Writing to output files ***")
  for path in output_files:
    logger.info("  %s", path)
  _write(records, output_files)
  _log_examples(records, list(tokenizer.vocab))
  logger.info("Wrote %d total instances", len(records))
  return len(records)


def name_unknown(report: CorpusReport, files: Sequence[str], tokenizer: Tokenizer) -> None:
  """Counts the characters that the vocabulary lacks in a sample of the text, if it lacks any."""
  if report.lines.unknown and isinstance(tokenizer, FullTokenizer):
    report.lines.name_unknown(sample_of(files), tokenizer)


class ExampleMaker:
  """Makes the serialized examples of one document.

  Attributes:
    sequences: counts what they hold and what was cut off.
  """

  def __init__(
    self,
    vocabulary: Vocabulary,
    options: InstanceOptions,
    knows_words: bool = False,
    *,
    original_draws: bool = True,
  ):
    """Args.

    vocabulary: of the ids.
    options: the original's flags.
    knows_words: the ids say which pieces go on with a word (`word_borders`), if that is of use.
    original_draws: make the original's records for the same seed, at twice the cost.
    """
    self._vocabulary = vocabulary
    self._knows_words = knows_words and options.uses_words
    self._options = options
    self.sequences = TokenizationReport()
    self._masker = (Masker if original_draws else QuickMasker)(
      vocabulary,
      options.masked_lm_prob,
      options.max_predictions_per_seq,
      options.do_whole_word_mask,
    )
    self._encoder = PretrainingEncoder(
      options.max_seq_length, options.max_predictions_per_seq, vocabulary.size
    )

  def examples(
    self, documents: Sequence[Document], index: int, rng: random.Random
  ) -> Iterator[bytes]:
    """Yields the examples of `documents[index]`; the others lend random next sentences."""
    cls, sep = self._vocabulary.cls, self._vocabulary.sep
    mask, encode = self._masker.mask, self._encoder.encode
    pairs = pairs_of_document(documents, index, self._options, rng)
    for first, second, is_random_next, num_lost in pairs:
      self.sequences.add(len(first) + len(second) + num_lost, num_lost=num_lost)
      num_first = len(first)
      continues = None
      if self._knows_words:
        begun = (beginning(part, self._vocabulary) for part in (first, second))
        ids, continues = plain_and_continues([cls, *next(begun), sep, *next(begun), sep],
                                             self._vocabulary)  # fmt: skip
      else:
        ids = [cls, *first, sep, *second, sep]
      if self._options.dynamic_masking:
        yield self._encoder.encode_unmasked(ids, num_first, is_random_next, continues)
      else:
        masked = mask(ids, num_first, rng, continues)
        yield encode(masked.ids, num_first, masked.positions, masked.labels, is_random_next)


def _records(
  documents: Sequence[Document], maker: ExampleMaker, dupe_factor: int, rng: random.Random
) -> Iterator[bytes]:
  """Serialized examples of all passes over all documents."""
  with progress_bar("creating instances", dupe_factor * len(documents), "doc") as bar:
    for _, index in itertools.product(range(dupe_factor), range(len(documents))):
      yield from maker.examples(documents, index, rng)
      bar.update()


def _write(records: Sequence[bytes], output_files: Sequence[str]) -> None:
  with contextlib.ExitStack() as stack:
    writers = [stack.enter_context(RecordWriter(path)) for path in output_files]
    bar = stack.enter_context(progress_bar("writing", len(records), "rec"))
    for writer, record in zip(itertools.cycle(writers), records):
      writer.write(record)
      bar.update()
    # Before the first file gets its name, there must have been room for all.
    for writer in writers:
      writer.complete()


def warn_about_predictions(options: InstanceOptions) -> None:
  """Says when `max_predictions_per_seq` does not go with length and probability."""
  wanted = round(options.max_seq_length * options.masked_lm_prob)
  found = options.max_predictions_per_seq
  if found < wanted:
    logging.getLogger(__name__).warning(
      "`max_predictions_per_seq`=%d cuts the %d predictions that %g of %d pieces would be; "
      "pass `max_predictions_per_seq`=%d to have them all",
      found,
      wanted,
      options.masked_lm_prob,
      options.max_seq_length,
      wanted,
    )


def warn_about_documents(count: int) -> None:
  """Says when there is no other document to take a random next sentence from."""
  if count == 1:
    logging.getLogger(__name__).warning(
      "the input is a single document, so every 'random' next sentence is from the same document "
      "and may even be the true next one: the next-sentence labels are wrong. Put a blank line "
      "between documents (articles, chapters) and create the records again"
    )


def _log_examples(records: Sequence[bytes], tokens: Sequence[str]) -> None:
  logger = logging.getLogger(__name__)
  for record in records[:_LOGGED_EXAMPLES]:
    example = decode_example(record)
    length = sum(example["input_mask"])
    logger.info("*** Example ***")
    logger.info("tokens: %s", " ".join(tokens[i] for i in example["input_ids"][:length]))
    for name, values in example.items():
      logger.info("%s: %s", name, " ".join(map(str, values)))
