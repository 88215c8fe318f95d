"""What a training run is told, apart from its task. Needs no TensorFlow.

This is the one place of a training flag: `scripts/option_flags.py` makes flags of these fields,
and `run_config` compares those that are marked `another_run`.
"""

from __future__ import annotations

import dataclasses
import math

from bert_tf.errors import UserError
from bert_tf.training import settings
from bert_tf.training.settings import number, text

DTYPES = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}
STRATEGIES = ("auto", "one_device", "mirrored", "multi_worker_mirrored", "tpu")
RESOLVERS = ("auto", "tf_config", "slurm", "kubernetes")
OPTIMIZERS = ("adamw", "lamb")


@dataclasses.dataclass(frozen=True)
class DeviceOptions:
  """Where and in what precision to compute; every field says what it means.

  Raises:
    UserError: a value that is not allowed.
  """

  distribution_strategy: str = text(
    "Devices to use; auto: a TPU if one is named, workers if TF_CONFIG names them, else all GPUs.",
    "auto",
    choices=STRATEGIES,
  )
  dtype: str = text(
    "Type of activations and matrix products; weights, softmax, layer normalisation, losses and"
    " optimizer state are float32 always.",
    "float32",
    choices=tuple(DTYPES),
    another_run=True,
  )
  tpu_name: str | None = text("Name of the Cloud TPU, or its grpc:// address.")
  tpu_zone: str | None = text("Zone of the Cloud TPU, found by itself if not given.")
  gcp_project: str | None = text("Project of the Cloud TPU, found by itself likewise.")
  cluster_resolver: str = text(
    "Who names the workers: TF_CONFIG, Slurm or an indexed Job of Kubernetes; auto: TF_CONFIG.",
    "auto",
    choices=RESOLVERS,
  )
  worker_timeout: float = number("Seconds to wait for all workers at the start.", 600.0, 1, 1e6)

  def __post_init__(self) -> None:
    settings.check(self)


@dataclasses.dataclass(frozen=True)
class TrainingOptions:
  """How to train; every field says what it means.

  Raises:
    UserError: a value that is not allowed, or values that contradict each other.
  """

  output_dir: str = text(
    "Directory for checkpoints and results; a run found there is continued.",
    dataclasses.MISSING,
    shared=False,
  )
  num_train_steps: int = number(
    "Updates in all, those of earlier starts counted in.",
    dataclasses.MISSING,
    1,
    shared=False,
    another_run=True,
  )
  num_warmup_steps: int = number(
    "Updates over which the learning rate rises.",
    dataclasses.MISSING,
    0,
    shared=False,
    another_run=True,
  )
  train_batch_size: int = number("Examples in a batch, over all devices.", 32, 1, another_run=True)
  learning_rate: float = number("The peak learning rate.", 5e-5, 0, 1000, another_run=True)
  init_checkpoint: str | None = text(
    "Weights to start from, where `output_dir` holds no run.", shared=False
  )
  save_checkpoints_steps: int = number("How often to save a checkpoint.", 1000, 1)
  keep_checkpoint_max: int = number("How many checkpoints to keep.", 5, 1)
  steps_per_loop: int = number(
    "The most steps to run before looking at signals and losses.",
    1000,
    1,
    flag="iterations_per_loop",
  )
  log_steps: int = number("How often to log losses and speed.", 100, 1)
  seed: int = number(
    "Seed of initial weights, of dropout and of the order of the data.",
    12345,
    0,
    2**32 - 1,
    another_run=True,
  )
  weight_decay: float = number(
    "Rate of the decoupled weight decay.", 0.01, 0, 1000, another_run=True
  )
  max_grad_norm: float = number(
    "Global norm to clip gradients to; 0: do not clip.", 1.0, 0, another_run=True
  )
  gradient_accumulation_steps: int = number(
    "Compute a batch in so many pieces, to save memory.", 1, 1, another_run=True
  )
  tokens_per_batch: int = number(
    "Compute a batch in pieces of up to so many tokens, padding included, each of examples of"
    " similar length: even memory and little padding, and the same update. 0: do not.",
    0,
    0,
    another_run=True,
  )
  recompute_activations: bool = text(
    "Compute activations again in the backward pass instead of keeping them: slower, but it"
    " takes far less memory.",
    False,
  )
  enable_xla: bool = text("Whether to compile the step with XLA.", False)
  optimizer: str = text(
    "adamw, or lamb for very large batches.", "adamw", choices=OPTIMIZERS, another_run=True
  )
  adam_bias_correction: bool = text(
    "Correct the bias of AdamW's moments, as the original does not: better on few examples.",
    False,
    another_run=True,
  )
  layerwise_lr_decay: float = number(
    "Factor of the learning rate from each layer to the one below it.",
    1.0,
    1e-9,
    1,
    another_run=True,
  )
  reinit_layers: int = number(
    "Let so many of the top layers, and the pooler, start at random rather than with the initial"
    " checkpoint's weights, which know too well what they were pretrained for: steadier on few"
    " examples.",
    0,
    0,
    another_run=True,
  )
  eval_steps: int = number(
    "Evaluate after every so many steps, and keep the best weights in output_dir/best; 0: do not.",
    0,
    0,
  )
  best_metric: str | None = text(
    "Which result of the evaluations says which weights are best, such as macro_f1 or loss (of"
    " losses and errors less is better); default: the task's own.",
    another_run=True,
  )
  early_stopping_patience: int = number(
    "Stop after so many evaluations that brought nothing better; 0: do not.", 0, 0
  )
  total_training_time: float = number(
    "Seconds that training may take, over all starts; the learning rate then follows the clock"
    " where it is ahead of the steps. 0: no limit.",
    0.0,
    0,
    1e9,
    another_run=True,
  )
  stop_at: float = number(
    "End this start once such a share of all steps is done; the schedule is that of the whole, and"
    " a later start goes on as if there had been no end.",
    1.0,
    1e-6,
    1,
  )
  skip_nonfinite_steps: int = number(
    "Leave out up to so many batches whose loss or gradient is not finite, before giving up.", 0, 0
  )
  allow_config_change: bool = text(
    "Go on with the run in output_dir although settings differ.", False
  )
  deterministic: bool = text(
    "Use only operations that give the same bits every time; slower on GPUs.", False
  )
  dry_run: bool = text("Check everything and estimate memory and time, but train nothing.", False)
  profile_steps: tuple[int, int] | None = text(
    "First and last step to profile for TensorBoard: 10,20."
  )
  wandb_project: str | None = text("Report to this project of Weights & Biases.")

  @property
  def last_step(self) -> int:
    """The step that this start ends at."""
    return min(self.num_train_steps, math.ceil(self.stop_at * self.num_train_steps))

  def __post_init__(self) -> None:
    settings.check(self)
    if self.tokens_per_batch and self.gradient_accumulation_steps > 1:
      raise UserError(
        "expected `tokens_per_batch` or `gradient_accumulation_steps`, found both; the former cuts"
        " a batch into as many pieces as it takes"
      )
    if self.early_stopping_patience and not self.eval_steps:
      raise UserError(
        "`early_stopping_patience`: expected evaluations to judge by, found `eval_steps=0`; give"
        " `eval_steps`"
      )
    if self.best_metric and not self.eval_steps:
      raise UserError(
        "`best_metric`: expected evaluations to judge by, found `eval_steps=0`; give `eval_steps`"
      )
    if self.profile_steps and not 0 < self.profile_steps[0] <= self.profile_steps[1]:
      first, last = self.profile_steps
      raise UserError(f"`profile_steps`: expected first,last from 1 on, found {first},{last}")
