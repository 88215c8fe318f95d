"""What a training run is told, apart from its task."""

from __future__ import annotations

import dataclasses

from bert_tf.errors import UserError

DTYPES = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}
STRATEGIES = ("auto", "one_device", "mirrored", "multi_worker_mirrored", "tpu")
RESOLVERS = ("auto", "tf_config", "slurm", "kubernetes")
OPTIMIZERS = ("adamw", "lamb")


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
    cluster_resolver: one of `RESOLVERS`, who names the workers, see `training.cluster`.
    worker_timeout: seconds to wait at the start for all workers.
  """

  distribution_strategy: str = "auto"
  dtype: str = "float32"
  tpu_name: str | None = None
  tpu_zone: str | None = None
  gcp_project: str | None = None
  cluster_resolver: str = "auto"
  worker_timeout: float = 600.0

  def __post_init__(self) -> None:
    _check_choice("--distribution_strategy", self.distribution_strategy, STRATEGIES)
    _check_choice("--dtype", self.dtype, tuple(DTYPES))
    _check_choice("--cluster_resolver", self.cluster_resolver, RESOLVERS)
    _check_least("--worker_timeout", self.worker_timeout, 1)


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
    tokens_per_batch: or: most tokens, padding included, that a device computes at once; a batch
      is computed in as many pieces of similar length as it takes. 0: do not.
    recompute_activations: trade time for memory, see `BertModel`.
    enable_xla: compile the step with XLA.
    optimizer: one of `OPTIMIZERS`.
    adam_bias_correction: whether AdamW corrects the bias of its moments.
    layerwise_lr_decay: factor of the learning rate from each layer to the one below it.
    eval_steps: updates between evaluations; 0 for none.
    early_stopping_patience: evaluations without a better result after which to stop; 0: never.
    total_training_time: seconds that training may take, over all starts; the learning rate then
      follows the clock where it is ahead of the steps. 0 for no limit.
    skip_nonfinite_steps: how many updates with a loss or gradient that is not finite to leave
      out before giving up.
    allow_config_change: continue a run although its settings have changed.
    deterministic: use only operations that give the same bits every time.
    dry_run: check everything, train nothing.
    profile_steps: the first and the last step to profile.
    wandb_project: project of Weights & Biases to report to.
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
  tokens_per_batch: int = 0
  recompute_activations: bool = False
  enable_xla: bool = False
  optimizer: str = "adamw"
  adam_bias_correction: bool = False
  layerwise_lr_decay: float = 1.0
  eval_steps: int = 0
  early_stopping_patience: int = 0
  total_training_time: float = 0.0
  skip_nonfinite_steps: int = 0
  allow_config_change: bool = False
  deterministic: bool = False
  dry_run: bool = False
  profile_steps: tuple[int, int] | None = None
  wandb_project: str | None = None

  def __post_init__(self) -> None:
    for name in (
      "num_train_steps", "train_batch_size", "save_checkpoints_steps", "keep_checkpoint_max",
      "steps_per_loop", "log_steps", "gradient_accumulation_steps",
    ):  # fmt: skip
      _check_least(f"--{name}", getattr(self, name), 1)
    for name in (
      "num_warmup_steps", "learning_rate", "weight_decay", "max_grad_norm", "eval_steps",
      "early_stopping_patience", "total_training_time", "skip_nonfinite_steps", "tokens_per_batch",
    ):  # fmt: skip
      _check_least(f"--{name}", getattr(self, name), 0)
    if self.tokens_per_batch and self.gradient_accumulation_steps > 1:
      raise UserError(
        "expected --tokens_per_batch or --gradient_accumulation_steps, found both; the former cuts"
        " a batch into as many pieces as it takes"
      )
    _check_choice("--optimizer", self.optimizer, OPTIMIZERS)
    if not 0 < self.layerwise_lr_decay <= 1:
      raise UserError(
        f"--layerwise_lr_decay: expected more than 0 and at most 1, found {self.layerwise_lr_decay}"
      )
    if self.early_stopping_patience and not self.eval_steps:
      raise UserError(
        "--early_stopping_patience: expected evaluations to judge by, found --eval_steps=0; give"
        " --eval_steps"
      )
    if self.profile_steps and not 0 < self.profile_steps[0] <= self.profile_steps[1]:
      first, last = self.profile_steps
      raise UserError(f"--profile_steps: expected first,last from 1 on, found {first},{last}")


def _check_choice(flag: str, value: str, choices: tuple[str, ...]) -> None:
  if value not in choices:
    raise UserError(f"{flag}: expected one of {', '.join(choices)}, found {value!r}")


def _check_least(flag: str, value: float, least: float) -> None:
  # Not `value < least`: that would let a NaN pass.
  if not value >= least:
    raise UserError(f"{flag}: expected at least {least}, found {value}")
