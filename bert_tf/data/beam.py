"""create_pretraining_data as an Apache Beam pipeline, for text on many machines (extra `[beam]`).

  python -m bert_tf.data.beam --input_file='gs://bucket/text/*' --output_file=gs://bucket/records \
    --vocab_file=vocab.txt --runner=DataflowRunner --project=... --region=... \
    --temp_location=gs://bucket/tmp --setup_file=./setup.py

Documents are dealt to groups by a hash of (seed, document); in a group they lend each other random
next sentences, so those come from the whole corpus.  A group is worked on by the functions of the
scale mode, with random numbers from (seed, group): the records do not depend on the runner, nor on
how it shares out the work, only their order does.  Documents that are equal are taken once each, as
often as they occur.
"""

from __future__ import annotations

import argparse
import array
import dataclasses
import hashlib
import logging
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from bert_tf.data import word_borders
from bert_tf.data.documents import Document
from bert_tf.data.in_memory_creation import ExampleMaker
from bert_tf.data.instances import InstanceOptions
from bert_tf.data.masking import Vocabulary, shuffle
from bert_tf.data.report import UNKNOWN
from bert_tf.data.shards import Piece, cut_file, read_blocks
from bert_tf.errors import UserError
from bert_tf.tokenization.case import validate_case_matches_checkpoint
from bert_tf.tokenization.segmenters import WordBorders
from bert_tf.tokenization.tokenizer import FullTokenizer
from bert_tf.tokenization.vocabulary import require_special_tokens

try:
  import apache_beam as beam
  import apache_beam.io.fileio
  import apache_beam.io.filesystems
  from apache_beam.io.filesystem import FileMetadata
  from apache_beam.options.pipeline_options import PipelineOptions
except ImportError as error:
  _MESSAGE = "expected Apache Beam, found no module apache_beam; pip install 'bert_tf[beam]'"
  if __name__ == "__main__":
    raise SystemExit(f"error: {_MESSAGE}") from error
  raise UserError(_MESSAGE) from error

_PIECE_BYTES = 4 << 20
_SAMPLE_BYTES = 1 << 18


class CutFiles(beam.DoFn):
  """A file to pieces of some megabytes that begin and end with documents."""

  def process(self, metadata: FileMetadata) -> Iterator[Piece]:
    """Reads a few lines of each piece, on any file system."""
    yield from cut_file(
      metadata.path, metadata.size_in_bytes, _PIECE_BYTES, beam.io.filesystems.FileSystems.open
    )


class ReadDocuments(beam.DoFn):
  """A piece of text to (group, packed document)."""

  def __init__(
    self,
    vocab_file: str,
    do_lower_case: bool,
    options: InstanceOptions,
    borders: WordBorders,
    num_groups: int,
  ):
    self._arguments = vocab_file, do_lower_case
    self._options = options
    self._borders = borders
    self._seed = options.random_seed
    self._num_groups = num_groups

  def setup(self) -> None:
    """Reads the vocabulary, once in each process."""
    tokenizer = FullTokenizer(*self._arguments)
    require_special_tokens(tokenizer.vocab, path=tokenizer.vocab_file)
    self._encode = word_borders.encoder(tokenizer, self._borders, self._options.uses_words)
    self._unknown = tokenizer.vocab.get(UNKNOWN, -1)
    self._size = len(tokenizer.vocab)

  def process(self, piece: Piece) -> Iterator[tuple[int, tuple[bytes, bytes]]]:
    """Raises UserError, naming file and line, if the text is not UTF-8."""
    opener = beam.io.filesystems.FileSystems.open
    for block in read_blocks([piece], self._encode, _PIECE_BYTES, opener):
      for document in block.documents:
        packed = _pack(document.ids), _pack(document.starts)
        digest = hashlib.sha256(b"%d/" % self._seed + packed[0]).digest()
        beam.metrics.Metrics.counter("bert_tf", "documents").inc()
        beam.metrics.Metrics.counter("bert_tf", "pieces").inc(len(document.ids))
        unknown = word_borders.count_of(document.ids, self._unknown, self._size)
        beam.metrics.Metrics.counter("bert_tf", "unknown_pieces").inc(unknown)
        yield int.from_bytes(digest[:8], "big") % self._num_groups, packed


class MakeExamples(beam.DoFn):
  """The documents of a group to serialized tf.Examples."""

  def __init__(
    self, vocab_file: str, do_lower_case: bool, options: InstanceOptions, knows_words: bool
  ):
    self._arguments = vocab_file, do_lower_case
    self._options = options
    self._knows_words = knows_words

  def setup(self) -> None:
    """Reads the vocabulary, once in each process."""
    vocabulary = Vocabulary.of(FullTokenizer(*self._arguments).vocab)
    self._maker = ExampleMaker(vocabulary, self._options, self._knows_words, original_draws=False)

  def process(self, group: tuple[int, Iterable[tuple[bytes, bytes]]]) -> Iterator[bytes]:
    """Sorts the documents, since they arrive in any order, and goes over them."""
    number, packed = group
    documents = [_unpack(*one) for one in sorted(packed)]
    rng = random.Random(f"{self._options.random_seed}/{number}")
    shuffle(rng, documents)
    if len(documents) == 1:
      beam.metrics.Metrics.counter("bert_tf", "lonely_documents").inc()
    for _ in range(self._options.dupe_factor):
      for index in range(len(documents)):
        for example in self._maker.examples(documents, index, rng):
          beam.metrics.Metrics.counter("bert_tf", "examples").inc()
          yield example


def _pack(values: Sequence[int]) -> bytes:
  return array.array("I", values).tobytes()


def _unpack(ids: bytes, starts: bytes) -> Document:
  document = Document()
  document.ids = list(array.array("I", ids))
  document.starts = list(array.array("I", starts))
  return document


@dataclasses.dataclass(frozen=True)
class BeamOptions:
  """What to read and write, by the names of the flags.

  Attributes:
    num_groups: into how many groups the documents are dealt; some thousand documents each is
      good: fewer give poorer random sentences, more take more memory.
    num_output_files: 0: the runner decides.
    segmented: see `WordBorders`.
    words_file: likewise; the workers must be able to read it.
    segmenter: likewise; the workers must have it.
  """

  input_file: str
  output_file: str
  vocab_file: str
  do_lower_case: bool = True
  num_groups: int = 100
  num_output_files: int = 0
  segmented: bool = False
  words_file: str = ""
  segmenter: str = ""

  @property
  def borders(self) -> WordBorders:
    """Where words begin in text without spaces."""
    return WordBorders(self.segmented, self.words_file, self.segmenter)


def _patterns(files: BeamOptions) -> list[str]:
  return [pattern.strip() for pattern in files.input_file.split(",")]


def _sample(files: BeamOptions) -> Iterator[str]:
  """Words of the beginning of the first file, on any file system."""
  file_systems = beam.io.filesystems.FileSystems
  for found in file_systems.match(_patterns(files)[:1], limits=[1])[0].metadata_list:
    with file_systems.open(found.path) as file:
      yield from file.read(_SAMPLE_BYTES).decode("utf-8", "ignore").split()


def build(pipeline: beam.Pipeline, files: BeamOptions, options: InstanceOptions) -> None:
  """Adds all steps to `pipeline`.

  Args:
    pipeline: of any runner.
    files: the paths may be of any file system that Beam knows; the vocabulary must be readable by
      the workers, or be remote.
    options: what the records hold.
  """
  coder = beam.coders.BytesCoder()
  tokenizer = files.vocab_file, files.do_lower_case
  _ = (
    pipeline
    | "Patterns" >> beam.Create(_patterns(files))
    | "Find" >> beam.io.fileio.MatchAll(beam.io.fileio.EmptyMatchTreatment.DISALLOW)
    | "Cut" >> beam.ParDo(CutFiles())
    | "Share out" >> beam.Reshuffle()
    | "Tokenize" >> beam.ParDo(ReadDocuments(*tokenizer, options, files.borders, files.num_groups))
    | "Group" >> beam.GroupByKey()
    | "Make" >> beam.ParDo(MakeExamples(*tokenizer, options, bool(files.borders)))
    | "Mix" >> beam.Reshuffle()
    | "Write"
    >> beam.io.WriteToTFRecord(
      files.output_file,
      coder=coder,
      file_name_suffix=".tfrecord",
      num_shards=files.num_output_files,
    )
  )


def _parser() -> argparse.ArgumentParser:
  """The flags of create_pretraining_data.py, and those of BeamOptions."""
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  for field in (*dataclasses.fields(BeamOptions), *dataclasses.fields(InstanceOptions)):
    required = field.default is dataclasses.MISSING
    kind: Callable[[str], Any] = str if required else type(field.default)
    if kind is bool:
      kind = _boolean
    parser.add_argument(
      f"--{field.name}", required=required, default=None if required else field.default, type=kind
    )
  return parser


def _boolean(text: str) -> bool:
  if text.lower() not in ("true", "false"):
    raise argparse.ArgumentTypeError(f"expected True or False, found {text!r}")
  return text.lower() == "true"


def main(arguments: Sequence[str] | None = None) -> None:
  """Runs the pipeline; flags that are not ours go to Beam."""
  logging.getLogger().setLevel(logging.INFO)
  flags, rest = _parser().parse_known_args(arguments)

  def given(kind: type) -> dict[str, Any]:
    return {field.name: getattr(flags, field.name) for field in dataclasses.fields(kind)}

  files, options = BeamOptions(**given(BeamOptions)), InstanceOptions(**given(InstanceOptions))
  vocab = FullTokenizer(files.vocab_file, files.do_lower_case).vocab
  validate_case_matches_checkpoint(files.do_lower_case, None, vocab)
  if files.borders:
    files.borders.load()
  word_borders.warn_of_unknown_borders(_sample(files), files.borders, options.do_whole_word_mask)
  pipeline_options = PipelineOptions(rest)
  for pattern in _patterns(files):
    if not beam.io.filesystems.FileSystems.match([pattern], limits=[1])[0].metadata_list:
      raise UserError(f"--input_file: expected files that match {pattern!r}, found nothing")
  with beam.Pipeline(options=pipeline_options) as pipeline:
    build(pipeline, files, options)


if __name__ == "__main__":
  # Workers find the steps by the module's name, which is another one here.
  from bert_tf import script
  from bert_tf.data import beam as module

  script.call(module.main)
