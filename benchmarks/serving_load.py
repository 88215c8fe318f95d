"""A server under the load of many clients, with batching and without. Run by serving.py."""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from typing import Any

import numpy as np
import serving_clients
from serving_tools import (
  PREDICT,
  export_classifier,
  processor_seconds,
  resident_mib,
  running_server,
  texts,
)

# Logits differ by the company in a batch, through the order of sums.
TOLERANCE = 1e-4


def mixed_texts() -> list[str]:
  """Sentences, and for every fourth one a paragraph of up to eight."""
  sentences = texts()
  draw = random.Random(0)
  for start in range(0, len(sentences), 4):
    count = draw.randint(2, 8)
    sentences[start] = " ".join(sentences[start : start + count])
  return sentences


def _ask(
  port: int, pool: list[str], args: argparse.Namespace, seconds: float
) -> list[tuple[int, int, float, str]]:
  """See `serving_clients.run`."""
  bodies = [json.dumps({"instances": [text]}) for text in pool]
  return serving_clients.run(
    {"port": port, "path": PREDICT, "bodies": bodies, "clients": args.clients, "seconds": seconds,
     "seed": 1}
  )  # fmt: skip


def _measure(
  directory: str, size: int, expected: dict[str, list[float]], args: argparse.Namespace
) -> dict[str, float]:
  """One server under load: rates, latencies, wrong answers, memory before and after."""
  pool = list(expected)
  flags = ("--max_batch_size", str(size), "--max_queue", "4096")
  with running_server(directory, *flags) as (process, port):
    fresh = resident_mib(process)
    _ask(port, pool, args, args.warmup)
    before, cpu = resident_mib(process), processor_seconds(process)
    answers = _ask(port, pool, args, args.seconds)
    after, cpu = resident_mib(process), processor_seconds(process) - cpu
  errors = [text for _, status, _, text in answers if status != 200]
  wrong = 0
  for number, status, _, text in answers:
    if status == 200:
      logits = json.loads(text)["predictions"][0]["logits"]
      wrong += np.abs(np.subtract(logits, expected[pool[number]])).max() > TOLERANCE
  p50, p95, p99 = np.percentile([seconds for _, _, seconds, _ in answers], [50, 95, 99]) * 1000
  return {
    "requests_per_second": len(answers) / args.seconds, "cpu_ms": cpu / len(answers) * 1000,
    "p50_ms": p50, "p95_ms": p95, "p99_ms": p99, "errors": len(errors), "mixed_up": int(wrong),
    "mib_fresh": fresh, "mib_before": before, "mib_after": after,
  }  # fmt: skip


def load(args: argparse.Namespace) -> dict[str, Any]:
  """Many clients at once, each answer checked."""
  results = {}
  with tempfile.TemporaryDirectory() as directory:
    path = export_classifier(directory, args.layers, args.hidden)
    import tensorflow as tf

    signature = tf.saved_model.load(path).signatures["serving_default"]
    pool = mixed_texts() if args.mixed else texts()
    expected = {
      text: signature(text=tf.constant([text]))["logits"].numpy()[0].tolist() for text in pool
    }
    for mode in args.modes.split(","):
      results[mode] = _measure(directory, 1 if mode == "off" else 32, expected, args)
      print(f"batching {mode}: ", end="")
      print(", ".join(f"{name} {value:.5g}" for name, value in results[mode].items()), flush=True)
  if {"on", "off"} <= set(results):
    on, off = results["on"], results["off"]
    results["ratio"] = on["requests_per_second"] / off["requests_per_second"]
    results["cpu_ratio"] = off["cpu_ms"] / on["cpu_ms"]
    print(
      f"batching gives {results['ratio']:.2f} times the throughput,"
      f" {results['cpu_ratio']:.2f} times per processor time"
    )
  return results
