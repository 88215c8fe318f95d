"""The name of every weight: the one that google-research/bert gave it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
  import keras

# The scope of layers whose variables the original creates outside of any scope.
TASK_SCOPE = "task/"

GLOBAL_STEP = "global_step"
ADAM_M = "/adam_m"
ADAM_V = "/adam_v"
# What the original does not know of a run (loss scale, time spent ...) is saved under this.
OWN_PREFIX = "bert_tf/"

# Variables of the heads. They may be absent from a checkpoint that a model is initialised from.
PRETRAINING_HEAD = "cls/predictions/*", "cls/seq_relationship/*"
TASK_HEADS = "output_weights", "output_bias", "cls/squad/*", "window_attention/*"
POOLER = ("bert/pooler/*",)


def original_name(path: str) -> str:
  """Turns the path of a Keras variable into the variable's name in the original."""
  return path.removeprefix(TASK_SCOPE)


def named_variables(model: keras.Model) -> dict[str, keras.Variable]:
  """Maps the original's names to the model's variables."""
  return {original_name(variable.path): variable for variable in model.variables}


def get_assignment_map_from_checkpoint(
  tvars: Iterable[keras.Variable], init_checkpoint: str
) -> tuple[dict[str, keras.Variable], dict[str, int]]:
  """Which of some variables a TensorFlow checkpoint holds (original: `modeling`, same name).

  `checkpoints.load` does more: it reads every format, says what is missing, and refuses what does
  not fit. This is for code that goes through a checkpoint by itself.

  Args:
    tvars: variables such as `model.trainable_variables`, whose names are the original's.
    init_checkpoint: the prefix of a TensorFlow checkpoint.

  Returns:
    The variables that the checkpoint holds, by their names in it (the original has the names of
    graph variables for values), and these names, with and without ":0", each with a 1.
  """
  import tensorflow as tf

  held = {name for name, _ in tf.train.list_variables(init_checkpoint)}
  named = {original_name(variable.path): variable for variable in tvars}
  assignment_map = {name: variable for name, variable in named.items() if name in held}
  return assignment_map, {key: 1 for name in assignment_map for key in (name, f"{name}:0")}


def is_slot(name: str) -> bool:
  """Whether a checkpoint entry belongs to an optimizer or to the state of a run, not to a model."""
  return name.endswith((ADAM_M, ADAM_V)) or name == GLOBAL_STEP or name.startswith(OWN_PREFIX)


def uses_weight_decay(name: str) -> bool:
  """Whether AdamW decays a variable: all but biases and layer normalisations.

  The original tests for "LayerNorm", "layer_norm" and "bias" anywhere in the name; what the
  last part of a name says of the variable's role selects the same ones.
  """
  return name.rsplit("/", 1)[-1] not in {"bias", "output_bias", "beta", "gamma"}
