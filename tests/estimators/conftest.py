"""A BERT that is trained in seconds."""

from __future__ import annotations

import json

import pytest


@pytest.fixture(scope="session")
def small(golden, tmp_path_factory) -> dict:
  """Parameters of an estimator that starts from random weights of one layer."""
  config = json.loads((golden / "bert_config.json").read_text())
  path = tmp_path_factory.mktemp("small") / "bert_config.json"
  path.write_text(json.dumps({**config, "num_hidden_layers": 1}))
  return {
    "bert_config_file": str(path),
    "vocab_file": str(golden / "vocab.txt"),
    "do_lower_case": True,
    "max_seq_length": 16,
    "train_batch_size": 4,
  }
