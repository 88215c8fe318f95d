"""A server under the load of many clients, with batching and without. Run by serving.py."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import random
import subprocess
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


@dataclasses.dataclass
class _Server:
  """A running server and what was measured of it, all turns together."""

  process: subprocess.Popen
  port: int
  fresh_mib: float
  warm_mib: float = 0.0
  cpu: float = 0.0
  answers: list[tuple[int, int, float, str]] = dataclasses.field(default_factory=list)

  def turn(self, pool: list[str], args: argparse.Namespace) -> None:
    """Loads it for its share of the time."""
    cpu = processor_seconds(self.process)
    self.answers += _ask(self.port, pool, args, args.seconds / args.turns)
    self.cpu += processor_seconds(self.process) - cpu

  def figures(self, expected: dict[str, list[float]], seconds: float) -> dict[str, float]:
    """Rates, latencies, wrong answers, memory."""
    pool, wrong = list(expected), 0
    for number, status, _, text in self.answers:
      if status == 200:
        logits = json.loads(text)["predictions"][0]["logits"]
        wrong += np.abs(np.subtract(logits, expected[pool[number]])).max() > TOLERANCE
    latencies = [1000 * seconds for _, _, seconds, _ in self.answers]
    p50, p95, p99 = np.percentile(latencies, [50, 95, 99])
    return {
      "requests_per_second": len(latencies) / seconds,
      "cpu_ms": 1000 * self.cpu / len(latencies),
      "p50_ms": p50, "p95_ms": p95, "p99_ms": p99,
      "errors": sum(status != 200 for _, status, _, _ in self.answers),
      "mixed_up": int(wrong),
      "mib_fresh": self.fresh_mib, "mib_before": self.warm_mib,
      "mib_after": resident_mib(self.process),
    }  # fmt: skip


def load(args: argparse.Namespace) -> dict[str, Any]:
  """Many clients at once, each answer checked; a server with batching and one without in turns."""
  modes = args.modes.split(",")
  with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as stack:
    path = export_classifier(directory, args.layers, args.hidden)
    import tensorflow as tf

    signature = tf.saved_model.load(path).signatures["serving_default"]
    pool = mixed_texts() if args.mixed else texts()
    expected = {
      text: signature(text=tf.constant([text]))["logits"].numpy()[0].tolist() for text in pool
    }
    servers = {}
    for mode in modes:
      flags = ("--max_batch_size", "1" if mode == "off" else "32", "--max_queue", "4096")
      process, port = stack.enter_context(running_server(directory, *flags))
      servers[mode] = server = _Server(process, port, resident_mib(process))
      _ask(port, list(expected), args, args.warmup)
      server.warm_mib = resident_mib(process)
    for _ in range(args.turns):
      for server in servers.values():
        server.turn(list(expected), args)
    results: dict[str, Any] = {
      mode: server.figures(expected, args.seconds) for mode, server in servers.items()
    }
  for mode in modes:
    print(f"batching {mode}: ", end="")
    print(", ".join(f"{name} {value:.5g}" for name, value in results[mode].items()))
  if {"on", "off"} <= set(results):
    on, off = results["on"], results["off"]
    results["ratio"] = on["requests_per_second"] / off["requests_per_second"]
    results["cpu_ratio"] = off["cpu_ms"] / on["cpu_ms"]
    print(
      f"batching gives {results['ratio']:.2f} times the throughput,"
      f" {results['cpu_ratio']:.2f} times per processor time"
    )
  return results
