"""A fine-tuning run: check, make records, train, evaluate, predict.

The same for every task. What a task is (its examples, features, scores and result files) is its
`TaskData`; how it is learnt is its `training.task.Task`. TensorFlow is imported only once it must
be.
"""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from absl import logging

from bert_tf import model_dir, progress_bars
from bert_tf.data import records
from bert_tf.errors import UserError
from bert_tf.files import existing_checkpoint, refuse_overwriting
from bert_tf.model_dir import Description, Given, head_kinds, weight_files
from bert_tf.training import cluster, feasibility, run_config
from bert_tf.training.options import DeviceOptions, TrainingOptions

if TYPE_CHECKING:
  import keras

  from bert_tf.training.task import Task

TRAIN, DEV, TEST = "train", "dev", "test"
T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class FineTuningOptions:
  """What every fine-tuning run is told besides its data and its training.

  Attributes:
    output_dir: of the run: weights, what belongs to them, and results.
    init_checkpoint: weights to start from, or to predict with where `output_dir` has none.
    bert_config_file: default: the one beside the weights; so are the next two.
    vocab_file: likewise.
    do_lower_case: likewise; True where nothing says otherwise.
    max_seq_length: longest sequence, in pieces; default: that of the weights' own training, or the
      task's.
    do_train: whether to train.
    do_eval: whether to score the dev set.
    do_predict: whether to answer the test set.
    eval_batch_size: examples in a batch of the evaluation.
    predict_batch_size: examples in a batch of the prediction.
    pad_to_max_length: give all batches one shape, for XLA and TPUs.
    takes_best: answer with the best weights of a run that was evaluated on its way, not with the
      newest.
    allow_missing: names of weights that the initial checkpoint need not hold.
  """

  output_dir: str
  init_checkpoint: str | None = None
  bert_config_file: str | None = None
  vocab_file: str | None = None
  do_lower_case: bool | None = None
  max_seq_length: int | None = None
  do_train: bool = False
  do_eval: bool = False
  do_predict: bool = False
  eval_batch_size: int = 8
  predict_batch_size: int = 8
  pad_to_max_length: bool = False
  takes_best: bool = False
  allow_missing: tuple[str, ...] = ()

  def __post_init__(self) -> None:
    if not (self.do_train or self.do_eval or self.do_predict):
      raise UserError(
        "expected `do_train`, `do_eval` or `do_predict`, found none; give at least one"
      )
    for name in ("eval_batch_size", "predict_batch_size"):
      if getattr(self, name) < 1:
        raise UserError(f"`{name}`: expected at least 1, found {getattr(self, name)}")

  def wants(self, split: str) -> bool:
    """Whether the run was told to do something with a split."""
    return {TRAIN: self.do_train, DEV: self.do_eval, TEST: self.do_predict}[split]


class TaskData(abc.ABC):
  """The examples of a task, and what is made of a model's answers. Needs no TensorFlow.

  Made from the run's options and from what binds it: `weights`, a description of the model in which
  labels, head and settings are those of the weights where these are only used, and empty where they
  are trained anew. To add a task, see CONTRIBUTING.md.

  Attributes:
    head: what the model's outputs are, of `model_dir.HEADS`.
    labels: names of the outputs in their order; empty where they have none.
    pairs: whether the examples are pairs of texts.
    settings: what later commands must know to answer as this run does, by flag; JSON values.
    run_settings: what else would make it another run if it changed; JSON values by flag.
    train_files: what it is trained on, to tell another start with other data.
    input_files: all files that it reads, by the flag that names them.
    num_train_examples: how many examples an epoch has.
  """

  default_max_seq_length: ClassVar[int] = 128
  # What examples are called in progress bars.
  unit: ClassVar[str] = "examples"
  # The split that is scored while training, and the record files in the output directory.
  scored_split: ClassVar[str] = DEV
  record_files: ClassVar[Mapping[str, str]] = {
    TRAIN: "train.tf_record", DEV: "eval.tf_record", TEST: "predict.tf_record"
  }  # fmt: skip

  # What `evaluate` and `predict` write, in the output directory.
  result_files: ClassVar[tuple[str, ...]] = ()

  head: str
  labels: tuple[str, ...] = ()
  pairs: bool = False
  settings: Mapping[str, Any] = {}
  run_settings: Mapping[str, Any] = {}
  train_files: Sequence[str] = ()
  input_files: Mapping[str, Sequence[str]] = {}

  @property
  @abc.abstractmethod
  def num_train_examples(self) -> int:
    """How many examples an epoch has."""

  @abc.abstractmethod
  def examples(self, split: str) -> Sequence[Any]:
    """The examples of a split, read when they are first asked for.

    Raises:
      UserError: there are none, or their file is wrong.
    """

  @abc.abstractmethod
  def records(self, split: str, examples: Iterable[Any]) -> Iterator[Mapping[str, Sequence]]:
    """Yields the records of `examples`, in their order: one or more, or none, for each."""

  @abc.abstractmethod
  def create_task(self, train_file: str | None, num_records: int | None, **options: Any) -> Task:
    """Returns what the engine trains.

    Args:
      train_file: records to train on; None: only predicts.
      num_records: how many these are.
      **options: those of `Task.__init__`.
    """

  @abc.abstractmethod
  def scores(self, answers: Answers) -> dict[str, float]:
    """Returns scores of answers to `scored_split`, the task's `best_metric` among them."""

  def log_training(self) -> None:
    """Logs what there is to train on."""
    logging.info("  Num %s = %d", self.unit, self.num_train_examples)

  def evaluate(self, answers: Answers, output_dir: str, step: int) -> None:
    """Writes the scores of the dev set.

    Args:
      answers: of the model to the dev set.
      output_dir: where to write.
      step: how many updates the model has had.
    """
    raise NotImplementedError(f"{type(self).__name__} has no dev set")

  @abc.abstractmethod
  def predict(self, answers: Answers, output_dir: str) -> None:
    """Writes the answers to the test set."""


@dataclasses.dataclass(frozen=True)
class Answers:
  """A model that is ready to answer the records of a split.

  Attributes:
    task: that the model is of.
    model: with its weights.
    path: of the records.
    num_records: how many these are.
    batch_size: examples at once.
    what: names a progress bar; None: no bar.
  """

  task: Any
  model: keras.Model
  path: str
  num_records: int
  batch_size: int
  what: str | None = None


class FineTuning:
  """One start of a fine-tuning run.

  Attributes:
    data: of the task.
    about: the model that is trained, or used; what is left beside its weights, and exported.
  """

  def __init__(
    self,
    options: FineTuningOptions,
    make_data: Callable[[FineTuningOptions, Description], TaskData],
    default_max_seq_length: int = TaskData.default_max_seq_length,
  ):
    """Finds what belongs to the weights, and reads all examples that are needed.

    Args:
      options: of the run.
      make_data: makes the task's data from the options and from what binds them, see `TaskData`.
      default_max_seq_length: taken where neither the options nor the weights say.

    Raises:
      UserError: there are no weights, something is missing, or does not fit together.
    """
    self._options = options
    self._start = _weights(options)
    weights = self._start
    if options.do_train:
      # A training may have another head; whether it goes on with the same run, `run_config` tells.
      weights = Description(weights.config, weights.tokens, weights.vocab_file, weights.tokenizer)
    weights = _with_length(weights, options, default_max_seq_length)
    self.data = make_data(options, weights)
    for split in (TRAIN, DEV, TEST):
      if options.wants(split):
        self.data.examples(split)
    self._refuse_overwriting()
    self.about = dataclasses.replace(
      weights,
      labels=self.data.labels,
      head=self.data.head,
      pairs=self.data.pairs,
      settings=self.data.settings,
    )

  def _refuse_overwriting(self) -> None:
    """Raises UserError where a record or a result file would replace a file that is read."""
    names = (*self.data.record_files.values(), *self.data.result_files)
    written = [os.path.join(self._options.output_dir, name) for name in names]
    read = {f"`{flag}`": files for flag, files in self.data.input_files.items()}
    refuse_overwriting({"`output_dir`": written}, read)

  @property
  def num_train_examples(self) -> int:
    """How many examples an epoch has."""
    return self.data.num_train_examples

  @property
  def weights(self) -> str:
    """The weights to answer with; raises UserError where there are none."""
    options = self._options
    return weight_files.newest(options.output_dir, options.takes_best, options.init_checkpoint)

  def train(self, training: TrainingOptions, devices: DeviceOptions) -> None:
    """Writes records and what belongs to the weights, then trains.

    With `training.eval_steps` the scored split is evaluated on the way. With `training.dry_run`
    everything is checked and nothing is left in the output directory.

    Raises:
      UserError: the output directory holds another run, or see `loop.train`.
    """
    settings = self.run_settings()
    start = run_config.check(self.about.config, training, devices, settings)
    finished = start.step is not None and start.step >= training.num_train_steps
    feasibility.check_memory(self.about.config)
    if training.eval_steps:
      self.data.examples(self.data.scored_split)
    self._warn_of_another_head()
    logging.info("***** Running training *****")
    self.data.log_training()
    logging.info("  Batch size = %d", training.train_batch_size)
    logging.info("  Num steps = %d", training.num_train_steps)
    with contextlib.ExitStack() as stack:
      directory = training.output_dir
      if training.dry_run or finished or not cluster.is_chief(devices):
        # Nothing that lies in the output directory is touched.
        directory = stack.enter_context(tempfile.TemporaryDirectory())
      else:
        model_dir.write(directory, self.about)
      train_file, num_records = self._write_records(TRAIN, directory)
      task = self._task(
        train_file,
        num_records,
        settings=settings,
        scorer=self._scorer(directory, lambda: task) if training.eval_steps else None,
      )

      from bert_tf.training import loop

      loop.train(task, training, devices)

  def _warn_of_another_head(self) -> None:
    """Says where outputs of the initial checkpoint are taken on under other names."""
    known, labels = self._start.labels, self.about.labels
    if known and len(known) == len(labels) and known != labels:
      logging.warning(
        "The head of the initial checkpoint, trained on %s, is where training on %s starts from",
        ", ".join(known[:6]),
        ", ".join(labels[:6]),
      )

  def _scorer(
    self, directory: str, task: Callable[[], Task]
  ) -> Callable[[keras.Model], dict[str, float]]:
    """What evaluates a model on the way."""
    records_of_split = self._write_records(self.data.scored_split, directory)
    batch_size = self._batch_size(self.data.scored_split)
    return lambda model: self.data.scores(Answers(task(), model, *records_of_split, batch_size))

  def evaluate(self, devices: DeviceOptions) -> None:
    """Writes the scores of the dev set."""
    answers, step = self._answers(DEV, devices)
    self.data.evaluate(answers, self._options.output_dir, step)

  def predict(self, devices: DeviceOptions) -> None:
    """Writes the answers to the test set."""
    answers, _ = self._answers(TEST, devices)
    self.data.predict(answers, self._options.output_dir)
    # So that an export of this directory answers as these predictions do.
    model_dir.update_settings(self._options.output_dir, self.data.settings)

  def _answers(self, split: str, devices: DeviceOptions) -> tuple[Answers, int]:
    """The model that answers a split, and how many updates it has had."""
    path, num_records = self._write_records(split, self._options.output_dir)

    from bert_tf.training import inference

    task = self._task(None, None)
    options = self._options
    directory = weight_files.run_directory(options.output_dir, options.takes_best)
    model, step = inference.load_newest(task, directory, options.init_checkpoint, devices)
    what = os.path.basename(path)
    return Answers(task, model, path, num_records, self._batch_size(split), what), step

  def _batch_size(self, split: str) -> int:
    return self._options.predict_batch_size if split == TEST else self._options.eval_batch_size

  def _task(self, train_file: str | None, num_records: int | None, **options: Any) -> Task:
    allow_missing = self._options.allow_missing
    return self.data.create_task(train_file, num_records, allow_missing=allow_missing, **options)

  def run_settings(self) -> dict[str, Any]:
    """What makes a run another one if it changes, see `training.run_config`."""
    about = self.about
    return {
      **self.data.run_settings,
      "max_seq_length": about.max_seq_length,
      "do_lower_case": about.tokenizer.do_lower_case,
      "strip_accents": about.tokenizer.strips_accents,
      "tokenize_chinese_chars": about.tokenizer.tokenize_chinese_chars,
      "vocabulary": run_config.digest(about.tokens),
      "labels": list(about.labels),
      "pad_to_max_length": self._options.pad_to_max_length,
      "train_data": run_config.data_identity(self.data.train_files),
    }

  def _write_records(self, split: str, directory: str) -> tuple[str, int]:
    """Writes the records of a split; returns the file and their number."""
    path = os.path.join(directory, self.data.record_files[split])
    bar = progress_bars.bar(
      self.data.examples(split),
      desc=os.path.basename(path),
      unit=f" {self.data.unit}",
    )
    with records.RecordWriter(path) as writer:
      for record in self.data.records(split, bar):
        writer.write(records.encode_example(record))
    if not writer.num_written:
      raise UserError(
        f"{path}: expected at least one record, found texts without any that can be read; check the"
        f" {split} set"
      )
    return path, writer.num_written


def _weights(options: FineTuningOptions) -> Description:
  """Describes the weights that the run goes on from.

  That is the run in the output directory where there is one, or else the initial checkpoint.
  """
  given = Given(
    options.bert_config_file, options.vocab_file, options.do_lower_case, default_lower_case=True
  )
  if options.init_checkpoint:
    existing_checkpoint(options.init_checkpoint)
  resumes = weight_files.holds_run(options.output_dir)
  if not resumes and not options.init_checkpoint and not options.do_train:
    weight_files.newest(options.output_dir, takes_best=False)
    resumes = True
  place = options.output_dir if resumes else options.init_checkpoint
  return model_dir.describe(place, given, needs_vocabulary=True)


def check_head(head: str, weights: Description) -> None:
  """Raises UserError where the weights are of another kind of task, and are not trained anew."""
  head_kinds.check(head, weights.head, "what lies beside them")


def _with_length(weights: Description, options: FineTuningOptions, default: int) -> Description:
  """The description with the length that the run uses."""
  length = setting("max_seq_length", options.max_seq_length, weights.max_seq_length, default)
  weights.config.check_sequence_length(length)
  return dataclasses.replace(weights, max_seq_length=length)


def setting(name: str, given: T | None, known: T | None, default: T) -> T:
  """The value of a flag: as it is given, else as the weights were trained with, else the default.

  Args:
    name: of the flag.
    given: its value; None where it was left out.
    known: the value beside the weights; None where it is not known.
    default: the flag's default.
  """
  if given is not None:
    if known not in (None, given):
      logging.warning("--%s=%s, where these weights were trained with %s", name, given, known)
    return given
  if known is None:
    return default
  if known != default:
    logging.info("--%s=%s, as beside the weights", name, known)
  return known


def steps_of_epochs(
  num_examples: int, batch_size: int, num_epochs: float, warmup_proportion: float
) -> tuple[int, int]:
  """Training steps and warmup steps, rounded down as in the original.

  Raises:
    UserError: not a single step, or a warmup_proportion outside [0, 1].
  """
  if batch_size < 1:
    raise UserError(f"`train_batch_size`: expected at least 1, found {batch_size}")
  if not 0 <= warmup_proportion <= 1:
    raise UserError(f"`warmup_proportion`: expected 0 to 1, found {warmup_proportion}")
  steps = int(num_examples / batch_size * num_epochs)
  if steps < 1:
    raise UserError(
      f"expected at least one training step, found {num_examples} examples x {num_epochs} epochs"
      f" / a batch of {batch_size}; lower `train_batch_size` or raise `num_train_epochs`"
    )
  return steps, int(steps * warmup_proportion)
