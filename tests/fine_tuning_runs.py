"""Fine-tuning runs from flags as the scripts have them, in one dictionary."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

from bert_tf.tasks.classification.data import ClassificationData, ClassificationOptions
from bert_tf.tasks.fine_tuning import FineTuning
from bert_tf.tasks.ner.data import NerData, NerOptions
from bert_tf.tasks.squad.data import SquadData, SquadOptions
from bert_tf.tasks.task_data import FineTuningOptions, TaskData

_SHARED = {field.name for field in dataclasses.fields(FineTuningOptions)}


def _run(data: type[TaskData], options: type, flags: dict[str, Any]) -> FineTuning:
  own = {name: value for name, value in flags.items() if name not in _SHARED}
  shared = {name: value for name, value in flags.items() if name in _SHARED}
  make_data = functools.partial(data, options(**own))
  return FineTuning(FineTuningOptions(**shared), make_data, data.default_max_seq_length)


def classifier(**flags: Any) -> FineTuning:
  return _run(ClassificationData, ClassificationOptions, flags)


def ner(**flags: Any) -> FineTuning:
  return _run(NerData, NerOptions, flags)


def squad(**flags: Any) -> FineTuning:
  return _run(SquadData, SquadOptions, flags)
