"""What a run starts from: a checkpoint, but for layers that start at random."""

from __future__ import annotations

import re
from collections.abc import Iterable

import keras
import numpy as np
from absl import logging

from bert_tf import checkpoints, names
from bert_tf.errors import UserError
from bert_tf.training.options import TrainingOptions

_LAYER = re.compile(r"bert/encoder/layer_(\d+)/")


def load(model: keras.Model, options: TrainingOptions, allow_missing: Iterable[str]) -> None:
  """Reads the initial checkpoint, if there is one, into a model that was just made.

  Args:
    model: at its random weights.
    options: names the checkpoint, and how many layers keep these (`reinit_layers`).
    allow_missing: see `checkpoints.load`.

  Raises:
    UserError: the model has fewer layers, or as `checkpoints.load`.
  """
  if not options.init_checkpoint:
    logging.info("Starting from random weights")
    if options.reinit_layers:
      logging.warning("`reinit_layers`: all layers start at random, without `init_checkpoint`")
    return
  kept = _top_layers(model, options.reinit_layers)
  report = checkpoints.load(model, options.init_checkpoint, allow_missing)
  logging.info("Starting from the weights of %s", report)
  if kept:
    variables = names.named_variables(model)
    for name, value in kept.items():
      variables[name].assign(value)
    logging.info("The pooler and %d layers start at random", options.reinit_layers)


def _top_layers(model: keras.Model, num_layers: int) -> dict[str, np.ndarray]:
  """The values of the pooler and of the top layers, by name; of no layers: nothing.

  These are what Zhang et al. 2021 (arXiv:2006.05987, section 5) start at random.
  """
  if not num_layers:
    return {}
  variables = names.named_variables(model)
  layers = {name: int(found[1]) for name in variables if (found := _LAYER.match(name))}
  count = max(layers.values(), default=-1) + 1
  if num_layers > count:
    raise UserError(f"`reinit_layers`: expected at most the {count} layers, found {num_layers}")
  return {
    name: variable.numpy()
    for name, variable in variables.items()
    if name.startswith("bert/pooler/") or layers.get(name, -1) >= count - num_layers
  }
