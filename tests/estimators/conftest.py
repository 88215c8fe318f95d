"""A BERT that is trained in seconds."""

from __future__ import annotations

import json

import pytest

from bert_tf.tokenization import SPECIAL_TOKENS, write_vocabulary

WORDS = (
  "good", "bad", "little", "some", "the", "film", "story", "day", "people", "it", "a", "is", "and",
  "so", "long", "what", "?",
)  # fmt: skip


@pytest.fixture(scope="session")
def small(golden, tmp_path_factory) -> dict:
  """Parameters of an estimator that starts from random weights of one layer."""
  config = json.loads((golden / "bert_config.json").read_text())
  path = tmp_path_factory.mktemp("small") / "bert_config.json"
  config |= {"num_hidden_layers": 1, "vocab_size": len(SPECIAL_TOKENS) + len(WORDS)}
  path.write_text(json.dumps(config))
  write_vocabulary([*SPECIAL_TOKENS, *WORDS], path.with_name("vocab.txt"))
  return {
    "bert_config_file": str(path),
    "vocab_file": str(path.with_name("vocab.txt")),
    "do_lower_case": True,
    "max_seq_length": 16,
    "train_batch_size": 4,
  }
