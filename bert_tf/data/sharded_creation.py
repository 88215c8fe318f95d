"""Text of any size to TFRecords: many processes, flat memory, restartable.

Each shard of the input becomes one output file.  Its random numbers come from (seed, shard, block),
so the records depend neither on how many workers there are nor on restarts.  The records are not
those of the original for the same seed (that would need the whole corpus in one shuffle), but they
are made by the same functions with the same probabilities; random next sentences come from the
other documents of the block and from a reservoir of documents that the shard held before.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import multiprocessing
import os
import random
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from typing import Any, NamedTuple

from bert_tf.data import word_borders
from bert_tf.data.documents import Document
from bert_tf.data.in_memory_creation import (
  ExampleMaker,
  name_unknown,
  progress_bar,
  warn_about_documents,
  warn_about_predictions,
)
from bert_tf.data.input_files import check_writable
from bert_tf.data.instances import InstanceOptions
from bert_tf.data.masking import Vocabulary, below, shuffle
from bert_tf.data.records import RecordWriter
from bert_tf.data.report import CorpusReport, LineCounter
from bert_tf.data.shard_plan import check_plan, lock, remove_leftovers, shard_path, shard_plan
from bert_tf.data.shards import Block, Shard, plan_shards, read_blocks, text_bytes
from bert_tf.errors import UserError
from bert_tf.files import refuse_overwriting
from bert_tf.tokenization.segmenters import WordBorders
from bert_tf.tokenization.tokenizer import FullTokenizer

_RESERVOIR_DOCUMENTS = 256
_RESERVOIR_SENTENCES = 200
_DOCUMENTS_PER_REPORT = 32
_POLL_SECONDS = 0.5


@dataclasses.dataclass(frozen=True)
class ScaleOptions:
  """How the work is shared out.

  Attributes:
    num_workers: processes; the result does not depend on it.
    shard_bytes: text per shard; the result does.
  """

  num_workers: int = 1
  shard_bytes: int = 4 << 20

  def __post_init__(self) -> None:
    if self.num_workers < 1:
      raise UserError(f"`num_workers`: expected at least 1, found {self.num_workers}")
    if self.shard_bytes < 1 << 16:
      raise UserError(f"shards: expected at least 64 kB of text, found {self.shard_bytes} bytes")


class Job(NamedTuple):
  """All that a worker has to know, picklable."""

  vocab_file: str
  do_lower_case: bool
  options: InstanceOptions
  block_bytes: int
  borders: WordBorders = WordBorders()


class Totals(NamedTuple):
  """What came of a shard."""

  records: int
  lonely_documents: int
  corpus: CorpusReport


class Stopped(Exception):
  """The parent asked its workers to stop."""


def create_shards(
  input_files: Sequence[str], output_file: str, job: Job, scale: ScaleOptions
) -> int:
  """Makes the shards that are not there yet.

  Args:
    input_files: one sentence a line, blank lines between documents; gzip if named `.gz`.
    output_file: see `shard_path`; a plan is kept beside the shards.
    job: what the records hold.
    scale: how the work is shared out.

  Returns:
    how many records were written by this call.

  Raises:
    UserError: bad text; an output that cannot be written, is being written by another run, or
      was begun with other flags or files; a worker that was killed.
  """
  logger = logging.getLogger(__name__)
  check_writable(output_file, "`output_file`")
  if not job.options.dynamic_masking:
    warn_about_predictions(job.options)
  shards = plan_shards(input_files, scale.shard_bytes)
  paths = [shard_path(output_file, i, len(shards)) for i in range(len(shards))]
  written = [*paths, f"{output_file}.plan.json", f"{output_file}.lock"]
  refuse_overwriting(
    {"`output_file`": written}, {"`input_file`": input_files, "`vocab_file`": [job.vocab_file]}
  )
  with lock(output_file):
    check_plan(
      output_file,
      shard_plan(input_files, job.vocab_file, _settings(job, scale, len(shards))),
    )
    todo = [i for i, path in enumerate(paths) if not os.path.exists(path)]
    logger.info("%d shards, %d of them complete", len(shards), len(shards) - len(todo))
    remove_leftovers([paths[i] for i in todo])
    tasks = [(i, shards[i], paths[i]) for i in todo]
    with progress_bar("creating", sum(map(text_bytes, shards)), "B") as bar:
      bar.update(sum(map(text_bytes, shards)) - sum(text_bytes(shards[i]) for i in todo))
      totals = _run(tasks, job, min(scale.num_workers, len(tasks)), bar.update)
    records = sum(total.records for total in totals)
    if len(todo) == len(shards) and not records:
      for path in paths:
        os.remove(path)
      raise UserError(
        f"expected one sentence a line, found no text in {', '.join(input_files[:3])}; give files "
        "with text"
      )
  _report(totals, job, input_files, all_of_it=len(todo) == len(shards))
  logger.info("Wrote %d instances to %s", records, shard_path(output_file, 0, len(shards)))
  return records


def _settings(job: Job, scale: ScaleOptions, num_shards: int) -> dict[str, Any]:
  """What decides what the shards hold, beside the text and the vocabulary."""
  return {
    "num_shards": num_shards,
    "shard_bytes": scale.shard_bytes,
    "block_bytes": job.block_bytes,
    "do_lower_case": job.do_lower_case,
    **dataclasses.asdict(job.options),
    **_plan_of_words(job.borders),
  }


def _plan_of_words(borders: WordBorders) -> dict[str, Any]:
  """Where words come from, if that was said."""
  if not borders:
    return {}
  plan: dict[str, Any] = {"word_borders": dataclasses.asdict(borders)}
  if borders.words_file:
    with open(borders.words_file, "rb") as file:
      plan["words_sha256"] = hashlib.sha256(file.read()).hexdigest()
  return plan


def _report(
  totals: Sequence[Totals], job: Job, input_files: Sequence[str], all_of_it: bool
) -> None:
  """Says what the text is like; `all_of_it`: no shard was there before."""
  corpus = CorpusReport()
  for total in totals:
    corpus += total.corpus
  if totals:
    name_unknown(corpus, input_files, FullTokenizer(job.vocab_file, job.do_lower_case))
    corpus.log(job.options.max_seq_length)
  lonely = sum(total.lonely_documents for total in totals)
  # A document that is cut to be worked on in parts lends itself "random" next sentences.
  if all_of_it and corpus.ended <= 1:
    warn_about_documents(1)
  if lonely:
    logging.getLogger(__name__).warning(
      "%d times no other document was at hand for random next sentences, so the next-sentence "
      "labels of their records are wrong; put blank lines between documents, or use larger shards",
      lonely,
    )


def _run(
  tasks: Sequence[tuple[int, Shard, str]],
  job: Job,
  num_workers: int,
  progress: Callable[[float], object],
) -> list[Totals]:
  """Works on the shards, here or in processes of their own."""
  if num_workers <= 1:
    work = ShardWorker(job, progress)
    return [work(*task) for task in tasks]
  # Processes are spawned, not forked: the caller may have threads (TensorFlow has).
  context = multiprocessing.get_context("spawn")
  done, stop = context.Value("d", 0.0), context.Event()
  with futures.ProcessPoolExecutor(
    num_workers, context, initializer=_start_worker, initargs=(job, done, stop)
  ) as pool:
    pending = {pool.submit(_work, *task) for task in tasks}
    totals, seen = [], 0.0
    try:
      while pending:
        finished, pending = futures.wait(
          pending, _POLL_SECONDS, return_when=futures.FIRST_EXCEPTION
        )
        totals += [future.result() for future in finished]
        progress(done.value - seen)
        seen = done.value
    except futures.process.BrokenProcessPool as error:
      raise UserError(
        "a worker process was killed, most likely for lack of memory; start again with fewer "
        "`num_workers`: complete shards are kept"
      ) from error
    finally:
      stop.set()
      pool.shutdown(cancel_futures=True)
  return totals


_worker: ShardWorker | None = None


def _start_worker(job: Job, done: Any, stop: Any) -> None:
  """Prepares a worker process: it leaves Ctrl-C to its parent and does not outlive it."""
  global _worker
  signal.signal(signal.SIGINT, signal.SIG_IGN)
  threading.Thread(target=_end_with_parent, daemon=True).start()

  def progress(num_bytes: float) -> None:
    if stop.is_set():
      raise Stopped
    with done.get_lock():
      done.value += num_bytes

  _worker = ShardWorker(job, progress)


def _end_with_parent() -> None:
  parent = multiprocessing.parent_process()
  if parent:
    parent.join()
    os._exit(1)


def _work(index: int, shard: Shard, path: str) -> Totals:
  assert _worker
  return _worker(index, shard, path)


class ShardWorker:
  """Turns shards into files, one after the other."""

  def __init__(self, job: Job, progress: Callable[[float], object]):
    """`progress` is called with the number of bytes of text dealt with since the last call."""
    tokenizer = FullTokenizer(job.vocab_file, job.do_lower_case)
    self._vocab = tokenizer.vocab
    self._encode = word_borders.encoder(tokenizer, job.borders, job.options.uses_words)
    self._maker = ExampleMaker(
      Vocabulary.of(tokenizer.vocab), job.options, bool(job.borders), original_draws=False
    )
    self._options = job.options
    self._block_bytes = job.block_bytes
    self._progress = progress

  def __call__(self, index: int, shard: Shard, path: str) -> Totals:
    """Writes shard number `index` to `path`, which appears when it is complete."""
    reservoir = Reservoir(_RESERVOIR_DOCUMENTS)
    counter = LineCounter(self._vocab, self._options.max_num_tokens)
    self._maker.sequences = counter.report.sequences
    lonely = reported = 0
    with RecordWriter(path) as writer:
      for number, block in enumerate(read_blocks(shard, self._encode, self._block_bytes)):
        # A string is hashed with SHA-512, which spreads neighbouring numbers.
        rng = random.Random(f"{self._options.random_seed}/{index}/{number}")
        documents = block.documents + reservoir.documents
        lonely += len(documents) == 1
        counter.report.ended += block.num_ended
        for document in block.documents:
          counter.add(document)
        records = list(self._records(block, documents, rng))
        shuffle(rng, records)
        for record in records:
          writer.write(record)
        for document in block.documents:
          reservoir.offer(document, rng)
        reported += block.num_bytes
    # The size of compressed text was a guess.
    self._progress(text_bytes(shard) - reported)
    return Totals(writer.num_written, lonely, counter.report)

  def _records(
    self, block: Block, documents: Sequence[Document], rng: random.Random
  ) -> Iterator[bytes]:
    count = len(block.documents)
    step = block.num_bytes * _DOCUMENTS_PER_REPORT / (count * self._options.dupe_factor or 1)
    since = 0
    for _ in range(self._options.dupe_factor):
      for index in range(count):
        yield from self._maker.examples(documents, index, rng)
        since += 1
        if since == _DOCUMENTS_PER_REPORT:
          self._progress(step)
          since = 0
    self._progress(step * since / _DOCUMENTS_PER_REPORT if count else block.num_bytes)


class Reservoir:
  """A uniform sample of all documents it was offered (Vitter, 1985, algorithm R)."""

  def __init__(self, capacity: int):
    self.documents: list[Document] = []
    self._capacity = capacity
    self._offered = 0

  def offer(self, document: Document, rng: random.Random) -> None:
    """Takes the document or not; of a long one a run of sentences, to bound memory."""
    self._offered += 1
    place = len(self.documents)
    if place >= self._capacity:
      place = below(rng, self._offered)
      if place >= self._capacity:
        return
    start = below(rng, max(1, len(document) - _RESERVOIR_SENTENCES + 1))
    part = Document(document.sentences(start, start + _RESERVOIR_SENTENCES))
    self.documents[place : place + 1] = [part]
