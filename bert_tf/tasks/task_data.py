"""What a fine-tuning run is told, and what it must know of a task. Needs no TensorFlow."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from absl import logging

from bert_tf.errors import UserError
from bert_tf.model_dir import Description, head_kinds

if TYPE_CHECKING:
  import keras

  from bert_tf.training.options import TrainingOptions
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

  # What `scores` returns; empty where that depends on the data.
  score_names: Sequence[str] = ()

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

  def check_training(self, training: TrainingOptions) -> None:  # noqa: B027
    """Raises UserError where the task cannot be trained as the options say."""

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


def check_head(head: str, weights: Description) -> None:
  """Raises UserError where the weights are of another kind of task, and are not trained anew."""
  head_kinds.check(head, weights.head, "what lies beside them")


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
      logging.warning("`%s=%s`, where these weights were trained with %s", name, given, known)
    return given
  if known is None:
    return default
  if known != default:
    logging.info("`%s=%s`, as beside the weights", name, known)
  return known
