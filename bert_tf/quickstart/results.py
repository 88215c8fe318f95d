"""What the quickstart has achieved, read from the files that its steps wrote."""

from __future__ import annotations

import collections
import csv
import dataclasses
import itertools
import json
import os
from collections.abc import Iterable, Sequence
from typing import Any

from bert_tf.data import records
from bert_tf.errors import UserError
from bert_tf.quickstart.plan import EVAL_BATCH_SIZE, Layout
from bert_tf.quickstart.size import Scale
from bert_tf.tokenization import load_vocab


@dataclasses.dataclass(frozen=True)
class Baseline:
  """What always giving the same answer achieves.

  Attributes:
    answer: the most frequent one.
    accuracy: its share.
  """

  answer: str
  accuracy: float


@dataclasses.dataclass(frozen=True)
class Results:
  """Accuracies are shares from 0 to 1, on documents and modules that training has not seen.

  Attributes:
    masked_lm, next_sentence: accuracies of the pretrained model.
    areas_pretrained, areas_random: of the classifiers, from pretrained and from random weights.
    areas_longer: of the one that trains longer, None where there is none.
    *_baseline: what always giving the most frequent answer achieves.
    areas: answers of the exported model, {"text", "label", "probability"}.
    masks: answers of fill-mask, {"text", "masks", "filled"}.
  """

  masked_lm: float
  next_sentence: float
  areas_pretrained: float
  areas_random: float
  areas_longer: float | None
  masked_lm_baseline: Baseline
  next_sentence_baseline: Baseline
  areas_baseline: Baseline
  areas: list[dict[str, Any]]
  masks: list[dict[str, Any]]


def read(layout: Layout, scale: Scale) -> Results:
  """Reads the results of all steps."""
  pretraining = read_eval_results(layout.path("pretraining", "eval_results.txt"))
  masked_lm, next_sentence = pretraining_baselines(
    layout.path("records", "held_out.tfrecord"),
    layout.vocab_file,
    scale.eval_batches * EVAL_BATCH_SIZE,
  )
  names = ("pretrained", "random", *(["longer"] if scale.longer_epochs else []))
  accuracies = {
    name: read_eval_results(layout.path(f"classifier_{name}", "eval_results.txt"))["eval_accuracy"]
    for name in names
  }
  return Results(
    masked_lm=pretraining["masked_lm_accuracy"],
    next_sentence=pretraining["next_sentence_accuracy"],
    areas_pretrained=accuracies["pretrained"],
    areas_random=accuracies["random"],
    areas_longer=accuracies.get("longer"),
    masked_lm_baseline=masked_lm,
    next_sentence_baseline=next_sentence,
    areas_baseline=area_baseline(layout.path("task", "dev.tsv")),
    areas=json_lines(layout.path("answers", "areas.jsonl")),
    masks=json_lines(layout.path("answers", "masks.jsonl")),
  )


def read_eval_results(path: str) -> dict[str, float]:
  """The `key = value` lines of an eval_results.txt; values that are no numbers are left out."""
  results = {}
  with open(path, encoding="utf-8") as file:
    for line in file:
      key, _, value = line.partition(" = ")
      try:
        results[key] = float(value)
      except ValueError:
        continue
  return results


def pretraining_baselines(
  record_file: str, vocab_file: str, num_records: int
) -> tuple[Baseline, Baseline]:
  """Of masked LM and of next sentence, on the first `num_records` records of a file.

  The answer that is the most frequent on these very records is taken: no constant does better.
  """
  words: collections.Counter[int] = collections.Counter()
  labels: collections.Counter[int] = collections.Counter()
  for record in itertools.islice(records.read_records(record_file), num_records):
    features = records.decode_example(record)
    for word, weight in zip(features["masked_lm_ids"], features["masked_lm_weights"], strict=True):
      if weight:
        words[word] += 1
    labels[features["next_sentence_labels"][0]] += 1
  if not words:
    raise UserError(f"{record_file}: expected records with masked words, found none")
  vocabulary = list(load_vocab(vocab_file))
  names = {0: "follows", 1: "random"}
  return (
    _most_frequent(words, lambda word: vocabulary[word]),
    _most_frequent(labels, lambda label: names[label]),
  )


def area_baseline(task_file: str) -> Baseline:
  """Of the areas in a task file."""
  with open(task_file, encoding="utf-8", newline="") as file:
    rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
    return _most_frequent(collections.Counter(row["area"] for row in rows), str)


def _most_frequent(counts: collections.Counter, name) -> Baseline:
  answer, count = counts.most_common(1)[0]
  return Baseline(name(answer), count / counts.total())


def curve(metrics_file: str, kind: str, name: str) -> tuple[Sequence[int], Sequence[float]]:
  """Steps and values of one metric in a run's metrics.jsonl; empty where there are none."""
  points = [
    (line["step"], line[name])
    for line in (json_lines(metrics_file) if os.path.exists(metrics_file) else [])
    if line["kind"] == kind and line.get(name) is not None
  ]
  return [step for step, _ in points], [value for _, value in points]


def json_lines(path: str) -> list[dict[str, Any]]:
  """The objects of a file of JSON lines."""
  with open(path, encoding="utf-8") as file:
    return list(map(json.loads, _not_blank(file)))


def _not_blank(lines: Iterable[str]) -> Iterable[str]:
  return (line for line in lines if line.strip())
