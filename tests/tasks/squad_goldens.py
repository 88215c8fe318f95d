"""Reads tests/golden/squad, for several test modules."""

from __future__ import annotations

import gzip
import json

from bert_tf.tasks.squad.examples import read_squad_examples
from bert_tf.tasks.squad.features import convert_examples_to_features
from bert_tf.tokenization import FullTokenizer


def golden_lines(golden, name):
  with gzip.open(golden / "squad" / f"features_{name}.jsonl.gz", "rt", encoding="utf-8") as file:
    return [json.loads(line) for line in file]


def tokenizer_of(golden, name):
  if name == "cased":
    return FullTokenizer(golden / "vocab_cased.txt", do_lower_case=False)
  return FullTokenizer(golden / "vocab.txt", do_lower_case=True)


def read(golden, args):
  return read_squad_examples(
    str(golden / args["file"]), args["is_training"], args["version_2_with_negative"]
  )


def convert(golden, args):
  return convert_examples_to_features(
    read(golden, args),
    tokenizer_of(golden, args["vocab"]),
    args["max_seq_length"],
    args["doc_stride"],
    args["max_query_length"],
    args["is_training"],
  )
