"""How many steps an amount of data makes."""

from __future__ import annotations

from bert_tf.errors import UserError


def steps_of_epochs(
  num_examples: int, batch_size: int, num_epochs: float, warmup_proportion: float
) -> tuple[int, int]:
  """Training steps and warmup steps, rounded down as in the original.

  Raises:
    UserError: not a single step, or a warmup_proportion outside [0, 1].
  """
  if batch_size < 1:
    raise UserError(f"--train_batch_size: expected at least 1, found {batch_size}")
  if not 0 <= warmup_proportion <= 1:
    raise UserError(f"--warmup_proportion: expected 0 to 1, found {warmup_proportion}")
  steps = int(num_examples / batch_size * num_epochs)
  if steps < 1:
    raise UserError(
      f"expected at least one training step, found {num_examples} examples x {num_epochs} epochs"
      f" / a batch of {batch_size}; lower --train_batch_size or raise --num_train_epochs"
    )
  return steps, int(steps * warmup_proportion)
