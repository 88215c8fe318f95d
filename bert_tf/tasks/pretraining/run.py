"""What run_pretraining.py does: check, train, evaluate. Imports TensorFlow only once it must."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from absl import logging

from bert_tf import model_dir
from bert_tf.data import checks, records
from bert_tf.data.corpora import BLOCK, Corpus, block_counts, corpora_of
from bert_tf.data.input_files import input_files
from bert_tf.errors import UserError
from bert_tf.model_dir import Description, Given
from bert_tf.model_dir.head_kinds import PRETRAINING
from bert_tf.model_dir.weight_files import holds_run
from bert_tf.tasks.results import write_eval_results
from bert_tf.tokenization import load_vocab
from bert_tf.tokenization.writing_systems import is_unspaced
from bert_tf.training import cluster, feasibility, run_config
from bert_tf.training.options import DeviceOptions, TrainingOptions

if TYPE_CHECKING:
  from bert_tf.tasks.pretraining.task import PretrainingTask

# Looked at for the script of the text.
_SAMPLED_RECORDS = 50


@dataclasses.dataclass(frozen=True)
class PretrainingFlags:
  """The flags of run_pretraining.py that are its own; see there."""

  bert_config_file: str | None
  input_file: str
  eval_input_file: str | None
  max_seq_length: int
  max_predictions_per_seq: int
  do_train: bool
  do_eval: bool
  eval_batch_size: int
  max_eval_steps: int
  allow_missing: tuple[str, ...] = ()
  vocab_file: str | None = None
  do_lower_case: bool | None = None
  dynamic_masking: bool = False
  masked_lm_prob: float = 0.15
  do_whole_word_mask: bool = False
  max_ngram: int = 1
  pack_sequences: bool = False
  input_weights: tuple[str, ...] = ()


def run(flags: PretrainingFlags, training: TrainingOptions, devices: DeviceOptions) -> None:
  """Trains and evaluates as the flags say.

  Raises:
    UserError: neither training nor evaluation is asked for, the config, the vocabulary or the
      records are wrong or do not fit each other.
  """
  about = _check(flags, training)
  config = about.config
  _check_packing(flags, training, devices)
  corpora = _corpora(flags)
  train_files = [path for corpus in corpora for path in corpus.files]
  train_files = train_files or input_files(flags.input_file)
  eval_files: Sequence[str] = train_files
  if flags.eval_input_file:
    eval_files = input_files(flags.eval_input_file, "`eval_input_file`")
  limits = {"vocab_size": config.vocab_size, "type_vocab_size": config.type_vocab_size}
  for files in {tuple(train_files), tuple(eval_files)}:
    checks.check_records(files, _spec(flags, files), limits=limits)
  for path in train_files:
    logging.info("Input: %s", path)
  settings = _settings(flags, about, train_files)
  if corpora:
    settings["input_weights"] = [corpus.weight for corpus in corpora]
  if flags.do_train:
    run_config.check(config, training, devices, settings)

  import tensorflow as tf

  try:
    _run(flags, about, (train_files, eval_files), corpora, settings, training, devices)
  except tf.errors.OpError as error:
    every = sorted({*train_files, *eval_files})
    if found := checks.find_record_error(every, _spec(flags, every), limits):
      raise found from error
    raise


def _check(flags: PretrainingFlags, training: TrainingOptions) -> Description:
  """Checks what can be checked without the records; returns what belongs to the
  weights."""
  if not flags.do_train and not flags.do_eval:
    raise UserError("expected `do_train` or `do_eval`, found neither; give at least one")
  if flags.dynamic_masking and not flags.vocab_file:
    raise UserError(
      "`dynamic_masking`: expected `vocab_file`, found none; give the vocabulary of the records"
    )
  if not 0 < flags.masked_lm_prob < 1 or flags.max_ngram < 1:
    raise UserError(
      "expected `masked_lm_prob` between 0 and 1 and `max_ngram` of at least 1, found"
      f" {flags.masked_lm_prob} and {flags.max_ngram}"
    )
  about = describe(flags, training)
  about.config.check_sequence_length(flags.max_seq_length)
  if flags.do_train:
    feasibility.check_memory(about.config)
  return about


def describe(flags: PretrainingFlags, training: TrainingOptions) -> Description:
  """What belongs to the weights of the run.

  The vocabulary is not needed, as records hold ids; where it is known, it is left beside the
  weights.

  Raises:
    UserError: there is no config, or what the flags say contradicts what lies beside the weights.
  """
  resumes = holds_run(training.output_dir)
  place = training.output_dir if resumes else training.init_checkpoint
  given = Given(flags.bert_config_file, flags.vocab_file, flags.do_lower_case)
  about = model_dir.describe(place, given)
  return dataclasses.replace(
    about, labels=(), head=PRETRAINING, pairs=True, max_seq_length=flags.max_seq_length, settings={}
  )


def _check_packing(
  flags: PretrainingFlags, training: TrainingOptions, devices: DeviceOptions
) -> None:
  if not flags.pack_sequences:
    return
  if training.gradient_accumulation_steps > 1:
    raise UserError(
      "`pack_sequences`: expected `tokens_per_batch`, found `gradient_accumulation_steps`; batches"
      " have different numbers of rows, which cannot be cut into equal pieces"
    )
  if devices.distribution_strategy == "tpu" or devices.tpu_name:
    raise UserError(
      "`pack_sequences`: expected CPUs or GPUs, found a TPU, which needs batches of one shape; make"
      " records with `short_seq_prob=0` instead"
    )


def _spec(flags: PretrainingFlags, files: Sequence[str]) -> records.FeatureSpec:
  """What the records of `files` hold."""
  return checks.pretraining_spec(
    files,
    flags.max_seq_length,
    flags.max_predictions_per_seq,
    dynamic_masking=flags.dynamic_masking,
  )


def warn_of_unknown_borders(
  files: Sequence[str], spec: records.FeatureSpec, tokens: Sequence[str]
) -> None:
  """Says so where whole words are to be masked, and records of text without spaces lack them.

  Args:
    files: records, of which the first ones are looked at.
    spec: what they hold; masks that were drawn before are no matter.
    tokens: the vocabulary.
  """
  if "word_continues" in spec:
    return
  found = itertools.islice(records.read_records(files[0]), _SAMPLED_RECORDS)
  ids = [index for data in found for index in records.decode_example(data)["input_ids"]]
  pieces = [tokens[index] for index in ids if index < len(tokens)]
  # Padding and special tokens are no text.
  if is_unspaced([piece.removeprefix("##") for piece in pieces if not piece.startswith("[")]):
    logging.warning(
      "`do_whole_word_mask`: the records hold text without spaces between words, and nothing says"
      " where words begin, so that ideographs are masked one by one; make them with `segmenter`,"
      " `words_file` or `segmented` of create_pretraining_data.py, and `dynamic_masking`"
    )


def _run(
  flags: PretrainingFlags,
  about: Description,
  files: tuple[Sequence[str], Sequence[str]],
  corpora: Sequence[Corpus],
  settings: dict[str, Any],
  training: TrainingOptions,
  devices: DeviceOptions,
) -> None:
  from bert_tf.tasks.pretraining.task import PretrainingTask, Source
  from bert_tf.training import loop

  train_files, eval_files = files
  masking = _masking(flags)
  train_spec = _spec(flags, train_files)
  if masking is not None and flags.do_whole_word_mask:
    warn_of_unknown_borders(train_files, train_spec, list(load_vocab(flags.vocab_file or "")))
  task = PretrainingTask(
    about.config,
    Source(train_files, train_spec, masking, flags.pack_sequences, corpora),
    Source(eval_files, _spec(flags, eval_files), masking),
    eval_batch_size=flags.eval_batch_size,
    max_eval_steps=flags.max_eval_steps,
    allow_missing=flags.allow_missing,
    settings=settings,
  )
  if flags.do_train:
    start = run_config.check(about.config, training, devices, settings)
    writes = cluster.is_chief(devices) and not training.dry_run
    if writes and (start.step or 0) < training.num_train_steps:
      model_dir.write(training.output_dir, about)
    loop.train(task, training, devices)
  if flags.do_eval and not training.dry_run and cluster.is_chief(devices):
    _evaluate(task, training, devices)


def _corpora(flags: PretrainingFlags) -> list[Corpus]:
  """The corpora that have weights; none where files count by their records."""
  if not flags.input_weights:
    return []
  corpora = corpora_of(flags.input_file, flags.input_weights)
  for corpus, count in zip(corpora, block_counts([c.weight for c in corpora]), strict=True):
    more = f" and {len(corpus.files) - 1} more" if len(corpus.files) > 1 else ""
    logging.info("%.1f%% of the examples are of %s%s", 100 * count / BLOCK, corpus.files[0], more)
  return corpora


def _settings(
  flags: PretrainingFlags, about: Description, train_files: Sequence[str]
) -> dict[str, Any]:
  """What makes a run another one if it changes, see `training.run_config`."""
  names = ["max_seq_length", "max_predictions_per_seq", "dynamic_masking", "pack_sequences"]
  if flags.dynamic_masking:
    names += ["masked_lm_prob", "do_whole_word_mask", "max_ngram"]
  settings = {name: getattr(flags, name) for name in names}
  if about.tokens:
    settings["vocabulary"] = run_config.digest(about.tokens)
    settings["do_lower_case"] = about.tokenizer.do_lower_case
  return {**settings, "input_data": run_config.data_identity(train_files)}


def _masking(flags: PretrainingFlags):
  if not flags.dynamic_masking:
    return None
  from bert_tf.data.dynamic_masking import DynamicMasking
  from bert_tf.data.masking import Vocabulary

  return DynamicMasking(
    Vocabulary.of(load_vocab(flags.vocab_file or "")),
    flags.masked_lm_prob,
    flags.max_predictions_per_seq,
    flags.do_whole_word_mask,
    flags.max_ngram,
  )


def _evaluate(task: PretrainingTask, training: TrainingOptions, devices: DeviceOptions) -> None:
  from bert_tf.training.inference import load_newest, progress

  model, step = load_newest(task, training.output_dir, training.init_checkpoint, devices)
  logging.info("Evaluating on %d batches of %d", task.max_eval_steps, task.eval_batch_size)
  results = task.evaluate(model, lambda batches: progress(batches, task.max_eval_steps, "eval"))
  write_eval_results(training.output_dir, {**results, "global_step": step})
