"""What a training run is told, apart from its task."""

from __future__ import annotations

import dataclasses

from bert_tf.errors import UserError

DTYPES = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}
STRATEGIES = ("auto", "one_device", "mirrored", "multi_worker_mirrored", "tpu")


@dataclasses.dataclass(frozen=True)
class DeviceOptions:
  """Where and in what precision to compute.

  Attributes:
    distribution_strategy: one of `STRATEGIES`; "auto" picks by what it finds.
    dtype: one of `DTYPES`, the type of activations and matrix products; weights, softmax, layer
      normalisation, losses and optimizer state are float32 always.
    tpu_name: name or grpc:// address of a TPU.
    tpu_zone: its zone, where it must be looked up.
    gcp_project: its project, likewise.
  """

  distribution_strategy: str = "auto"
  dtype: str = "float32"
  tpu_name: str | None = None
  tpu_zone: str | None = None
  gcp_project: str | None = None

  def __post_init__(self) -> None:
    _check_choice("--distribution_strategy", self.distribution_strategy, STRATEGIES)
    _check_choice("--dtype", self.dtype, tuple(DTYPES))


@dataclasses.dataclass(frozen=True)
class TrainingOptions:
  """How to train.

  Attributes:
    output_dir: where checkpoints and logs go; a run found there is continued.
    num_train_steps: updates in all, those of earlier starts counted in.
    num_warmup_steps: updates over which the learning rate rises.
    train_batch_size: examples per update, over all devices.
    learning_rate: see `optimization.schedules`.
    init_checkpoint: weights to start from, where `output_dir` holds no run.
    save_checkpoints_steps: updates between checkpoints.
    keep_checkpoint_max: how many checkpoints to keep.
    steps_per_loop: most updates between two looks at the clock, signals and losses.
    log_steps: updates between two lines of log.
    seed: of initial weights, dropout and the order of the data.
    weight_decay: rate of the decoupled weight decay.
    max_grad_norm: global norm that gradients are clipped to; 0 for no clipping.
    gradient_accumulation_steps: pieces that a batch is computed in.
    recompute_activations: trade time for memory, see `BertModel`.
    enable_xla: compile the step with XLA.
  """

  output_dir: str
  num_train_steps: int
  num_warmup_steps: int
  train_batch_size: int
  learning_rate: float = 5e-5
  init_checkpoint: str | None = None
  save_checkpoints_steps: int = 1000
  keep_checkpoint_max: int = 5
  steps_per_loop: int = 1000
  log_steps: int = 100
  seed: int = 12345
  weight_decay: float = 0.01
  max_grad_norm: float = 1.0
  gradient_accumulation_steps: int = 1
  recompute_activations: bool = False
  enable_xla: bool = False

  def __post_init__(self) -> None:
    for name in (
      "num_train_steps", "train_batch_size", "save_checkpoints_steps", "keep_checkpoint_max",
      "steps_per_loop", "log_steps", "gradient_accumulation_steps",
    ):  # fmt: skip
      if getattr(self, name) < 1:
        raise UserError(f"--{name}: expected at least 1, found {getattr(self, name)}")
    if self.num_warmup_steps < 0:
      raise UserError(f"--num_warmup_steps: expected at least 0, found {self.num_warmup_steps}")
    if not self.learning_rate >= 0:
      raise UserError(f"--learning_rate: expected at least 0, found {self.learning_rate}")


def _check_choice(flag: str, value: str, choices: tuple[str, ...]) -> None:
  if value not in choices:
    raise UserError(f"{flag}: expected one of {', '.join(choices)}, found {value!r}")
