"""The result files that tasks leave in an output directory."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from absl import logging

from bert_tf.files import atomic_writer


def format_value(value: float | int) -> str:
  """The original's values are float32, and so is the number of digits that it writes."""
  return str(np.float32(value)) if isinstance(value, float) else str(value)


def write_eval_results(output_dir: str, results: Mapping[str, float | int]) -> None:
  """Writes eval_results.txt: lines `key = value`, sorted by key."""
  with atomic_writer(os.path.join(output_dir, "eval_results.txt")) as file:
    logging.info("***** Eval results *****")
    for key, value in sorted(results.items()):
      text = format_value(value)
      logging.info("  %s = %s", key, text)
      file.write(f"{key} = {text}\n")


def write_json(path: str, value: Any) -> None:
  """Writes JSON that people can read."""
  with atomic_writer(path) as file:
    json.dump(value, file, indent=2, ensure_ascii=False)
    file.write("\n")
