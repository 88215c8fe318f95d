"""BERT's optimizer: in the engine of the scripts, and as an optimizer of Keras."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
  from bert_tf.optimization.keras_optimizer import (
    AdamWeightDecayOptimizer,
    LinearWarmupAndDecay,
    create_optimizer,
  )

__all__ = ["AdamWeightDecayOptimizer", "LinearWarmupAndDecay", "create_optimizer"]


def __getattr__(name: str) -> Any:
  if name not in __all__:
    raise AttributeError(f"module 'bert_tf.optimization' has no attribute {name!r}")
  return getattr(importlib.import_module("bert_tf.optimization.keras_optimizer"), name)
