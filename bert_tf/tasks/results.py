"""What the scripts leave in an output directory: result files, and what belongs to the weights."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping

import numpy as np
from absl import logging

from bert_tf.config import BertConfig
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


def write_model_files(
  output_dir: str,
  config: BertConfig,
  vocab_file: str | None,
  do_lower_case: bool | None = None,
) -> None:
  """Puts the config beside the weights, and the vocabulary and its case where they are known.

  tokenizer_config.json is Hugging Face's, and so is the key in it.
  """
  with atomic_writer(os.path.join(output_dir, "bert_config.json")) as file:
    file.write(config.to_json_string())
  if vocab_file:
    target = os.path.join(output_dir, "vocab.txt")
    with atomic_writer(target, "wb") as file, open(vocab_file, "rb") as source:
      shutil.copyfileobj(source, file)
  if do_lower_case is not None:
    with atomic_writer(os.path.join(output_dir, "tokenizer_config.json")) as file:
      file.write(json.dumps({"do_lower_case": do_lower_case}, indent=2) + "\n")
