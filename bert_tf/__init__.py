"""BERT (Devlin et al., 2018) on TensorFlow and Keras 3, drop-in for google-research/bert.

The package imports in milliseconds: TensorFlow is loaded when a name that needs it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
  from bert_tf import checkpoints, tokenization
  from bert_tf.config import BertConfig
  from bert_tf.errors import UserError
  from bert_tf.estimators import (
    BertClassifier,
    BertQuestionAnswerer,
    BertRegressor,
    BertTagger,
  )
  from bert_tf.modeling import BertModel
  from bert_tf.trained_model import TrainedModel, load

# Public name -> the module that holds it; None means that the name is that submodule itself.
_EXPORTS = {
  "BertClassifier": "bert_tf.estimators",
  "BertConfig": "bert_tf.config",
  "BertModel": "bert_tf.modeling",
  "BertQuestionAnswerer": "bert_tf.estimators",
  "BertRegressor": "bert_tf.estimators",
  "BertTagger": "bert_tf.estimators",
  "TrainedModel": "bert_tf.trained_model",
  "UserError": "bert_tf.errors",
  "checkpoints": None,
  "load": "bert_tf.trained_model",
  "tokenization": None,
}

__all__ = [
  "BertClassifier", "BertConfig", "BertModel", "BertQuestionAnswerer", "BertRegressor",
  "BertTagger", "TrainedModel", "UserError", "checkpoints", "load", "tokenization",
]  # fmt: skip


def __getattr__(name: str) -> Any:
  if name not in _EXPORTS:
    raise AttributeError(f"module 'bert_tf' has no attribute {name!r}")
  module = _EXPORTS[name]
  if module is None:
    return importlib.import_module(f"bert_tf.{name}")
  return getattr(importlib.import_module(module), name)


def __dir__() -> list[str]:
  return sorted([*globals(), *_EXPORTS])
