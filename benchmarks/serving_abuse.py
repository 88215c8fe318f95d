"""A server among clients that behave badly, while others ask as they should. Run by serving.py.

Each kind of trouble lasts a share of `--seconds`; short texts are asked all along, and what they
get is compared with what they get in peace: no refusal, no answer lost or of another text.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import shutil
import socket
import tempfile
import threading
import time
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import serving_clients
from serving_load import TOLERANCE
from serving_tools import PREDICT, export_classifier, resident_mib, running_server, texts

# Word pieces of the long text: as many as a request may have.
LONG = 60_000
IDLE = 1000


def _post(port: int, body: bytes, **headers: str) -> int:
  """Asks once; 0 where the server has hung up."""
  connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
  try:
    connection.request("POST", PREDICT, body, headers)
    response = connection.getresponse()
    response.read()
    return response.status
  except (OSError, http.client.HTTPException):
    return 0
  finally:
    connection.close()


def _repeat(work: Callable[[], None], count: int = 1) -> Callable[[threading.Event], None]:
  """Does something again and again in threads until told to stop."""

  def run(stop: threading.Event) -> None:
    def loop() -> None:
      while not stop.is_set():
        work()

    threads = [threading.Thread(target=loop) for _ in range(count)]
    for thread in threads:
      thread.start()
    for thread in threads:
      thread.join()

  return run


def _troubles(port: int, directory: str) -> dict[str, Callable[[threading.Event], None]]:
  """What else happens, by name."""
  long = json.dumps({"instances": ["good " * LONG]}).encode()
  packer = zlib.compressobj(9, wbits=31)
  bomb = b"".join(packer.compress(bytes(1 << 24)) for _ in range(16)) + packer.flush()
  ask = json.dumps({"instances": ["a good film"] * 8}).encode()
  head = (
    f"POST {PREDICT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(ask)}\r\n\r\n".encode()
  )

  def hang_up() -> None:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)) as one:
      one.sendall(head + ask)
      time.sleep(0.01)

  def idle(stop: threading.Event) -> None:
    with contextlib.ExitStack() as stack:
      for _ in range(IDLE):
        with contextlib.suppress(OSError):
          stack.enter_context(socket.create_connection(("127.0.0.1", port)))
      stop.wait()

  def switch() -> None:
    """A version comes, and goes again."""
    shutil.copytree(os.path.join(directory, "1"), os.path.join(directory, ".new"))
    os.rename(os.path.join(directory, ".new"), os.path.join(directory, "2"))
    _until_served(port, "2")
    shutil.rmtree(os.path.join(directory, "2"))
    _until_served(port, "1")

  def slowly() -> None:
    _post(port, long)
    time.sleep(0.2)

  return {
    "peace": lambda stop: stop.wait() and None,
    "long texts": _repeat(slowly),
    "idle connections": idle,
    "clients that hang up": _repeat(hang_up, 8),
    "bombs": _repeat(lambda: _post(port, bomb, **{"Content-Encoding": "gzip"}) and None, 2),
    "versions": _repeat(switch),
  }


def _until_served(port: int, version: str) -> None:
  for _ in range(600):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", f"/v1/models/bench/versions/{version}")
    status = connection.getresponse().status
    connection.close()
    if status == 200:
      return
    time.sleep(0.1)
  raise AssertionError(f"version {version} is not served after a minute")


def _turn(job: dict[str, Any], trouble: Callable[[threading.Event], None]) -> list:
  """The answers to short texts while something else goes on."""
  stop = threading.Event()
  thread = threading.Thread(target=trouble, args=(stop,))
  thread.start()
  time.sleep(1)
  try:
    return serving_clients.run(job)
  finally:
    stop.set()
    thread.join()


def _figures(answers: list, pool: list[str], expected: dict[str, list[float]]) -> dict[str, float]:
  wrong = refused = 0
  for number, status, _, text in answers:
    if status != 200:
      refused += 1
      continue
    logits = json.loads(text)["predictions"][0]["logits"]
    wrong += bool(np.abs(np.subtract(logits, expected[pool[number]])).max() > TOLERANCE)
  p50, p99 = np.percentile([1000 * seconds for _, _, seconds, _ in answers], [50, 99])
  return {"answers": len(answers), "refused": refused, "wrong": wrong, "p50_ms": p50, "p99_ms": p99}


def abuse(args: argparse.Namespace) -> dict[str, Any]:
  """Short texts in peace and in each kind of trouble; raises where one is refused or mixed up."""
  results: dict[str, Any] = {}
  with tempfile.TemporaryDirectory() as directory:
    path = export_classifier(directory, args.layers, args.hidden)
    import tensorflow as tf

    signature = tf.saved_model.load(path).signatures["serving_default"]
    pool = texts()[:200]
    expected = {
      text: signature(text=tf.constant([text]))["logits"].numpy()[0].tolist() for text in pool
    }
    bodies = [json.dumps({"instances": [text]}) for text in pool]
    with running_server(directory, "--poll_seconds", "0.2") as (process, port):
      job = {"port": port, "path": PREDICT, "bodies": bodies, "clients": args.clients, "seed": 1}
      troubles = _troubles(port, directory)
      # What grows in the first minute is kernels for the shapes that come.
      for trouble in troubles.values():
        _turn({**job, "seconds": args.warmup / len(troubles)}, trouble)
      before = resident_mib(process)
      for name, trouble in troubles.items():
        answers = _turn({**job, "seconds": args.seconds / len(troubles)}, trouble)
        results[name] = {**_figures(answers, pool, expected), "mib": resident_mib(process)}
        print(
          f"{name:<22}", ", ".join(f"{k} {v:.5g}" for k, v in results[name].items()), flush=True
        )
      results["mib_before"] = before
      results["growth"] = resident_mib(process) / before - 1
  calm = results["peace"]["p99_ms"]
  for name in troubles:
    results[name]["p99_ratio"] = results[name]["p99_ms"] / calm
  print(f"memory {100 * results['growth']:+.1f}%; p99 beside that in peace:", end=" ")
  print(", ".join(f"{name} {results[name]['p99_ratio']:.2f}" for name in troubles))
  bad = {n: r for n, r in results.items() if isinstance(r, dict) and (r["refused"] or r["wrong"])}
  if bad:
    raise AssertionError(f"refused or mixed up: {bad}")
  return results
