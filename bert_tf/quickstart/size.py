"""How large the quickstart is: a full run, and a fast one that shows that all works together."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Scale:
  """How large the model is and how long it is trained.

  Attributes:
    seconds: most that pretraining may take, 0 for no limit; a slow machine then makes fewer steps.
    max_seq_length: of pretraining. Short sequences give the most updates for the time, and with
      them the model learns soonest what the words around a gap say of it.
    eval_steps: between two points of the curve of held-out accuracy.
    classifier_seq_length: most pieces of a docstring that the classifiers read.
    classifier_epochs: from pretrained and from random weights alike. So few that it shows what
      pretraining has brought; this task has labels enough to do without it in the end.
    classifier_learning_rate: likewise.
    classifier_seconds: as `seconds`, for each of the classifiers.
    classifier_eval_steps: as `eval_steps`, for the classifiers.
    longer_epochs: of a classifier to export, trained until it is good; 0 to export the first one.
    longer_learning_rate: of that classifier.
    eval_batches: batches of 32 held-out records to evaluate on.
    check_export: whether the export is compared with the Python pipeline in a fresh process.
  """

  vocab_size: int = 8000
  hidden_size: int = 128
  num_hidden_layers: int = 2
  num_attention_heads: int = 4
  max_seq_length: int = 32
  max_predictions_per_seq: int = 5
  dupe_factor: int = 10
  train_batch_size: int = 32
  num_train_steps: int = 5000
  num_warmup_steps: int = 250
  learning_rate: float = 1e-3
  seconds: float = 270.0
  save_checkpoints_steps: int = 1000
  eval_steps: int = 1000
  log_steps: int = 100
  eval_batches: int = 50
  classifier_seq_length: int = 64
  classifier_batch_size: int = 16
  classifier_epochs: float = 1.0
  classifier_learning_rate: float = 2e-4
  classifier_seconds: float = 30.0
  classifier_eval_steps: int = 70
  longer_epochs: float = 3.0
  longer_learning_rate: float = 3e-4
  check_export: bool = True


FULL = Scale()
# Shows that everything works together; too little training for the model to know anything.
FAST = Scale(
  hidden_size=32,
  num_attention_heads=2,
  dupe_factor=1,
  train_batch_size=16,
  num_train_steps=200,
  num_warmup_steps=20,
  learning_rate=2e-3,
  seconds=0,
  save_checkpoints_steps=100,
  eval_steps=100,
  log_steps=20,
  eval_batches=10,
  classifier_seq_length=32,
  classifier_epochs=0.5,
  classifier_learning_rate=1e-3,
  classifier_seconds=0,
  longer_epochs=0,
  check_export=False,
)
