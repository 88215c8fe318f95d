"""How fast exports answer, and that a server keeps its head under load and under abuse.

  python benchmarks/serving.py load      # 64 clients for 60 s, batching on and off
  python benchmarks/serving.py fuzz      # 10,000 malformed requests
  python benchmarks/serving.py forward   # BERT-base, batch 8 of length 128, one core
  python benchmarks/serving.py lengths   # texts as long as SST-2's against padding to 128

The model of `load` and `fuzz` is a BERT-mini (4 layers, hidden 256) with random weights: what is
measured is the server. Texts are SST-2's from BERT_TF_DATA, or lines of the tests' corpus. `load`
compares every answer with the one that the model gave to the same text alone. Times are printed
as a table and written as JSON (--output).
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import http.client
import json
import os
import pathlib
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import serving_clients  # noqa: E402

DATA = pathlib.Path(os.environ.get("BERT_TF_DATA", ROOT.parent / "shared" / "data"))
GOLDEN = ROOT / "tests" / "golden"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Logits differ by the company in a batch, through the order of sums.
TOLERANCE = 1e-4
NAME = "bench"
PREDICT = f"/v1/models/{NAME}:predict"


def texts() -> list[str]:
  """Sentences of the lengths that users send."""
  path = DATA / "glue" / "SST-2" / "dev.tsv"
  if path.exists():
    lines = path.read_text(encoding="utf-8").splitlines()[1:]
    return [line.split("\t")[0] for line in lines]
  return [line for line in (GOLDEN / "corpus.txt").read_text("utf-8").splitlines() if line.strip()]


def vocabulary() -> str:
  """The released uncased vocabulary, or the tests' one."""
  path = DATA / "vocabs" / "bert-base-uncased-vocab.txt"
  found = sorted((DATA / "vocabs").glob("*uncased*")) if DATA.is_dir() else []
  return str(path if path.exists() else found[0] if found else GOLDEN / "vocab.txt")


def export_classifier(
  directory: str, layers: int, hidden: int, dtype: str = "float32", static: bool = False
) -> str:
  """Exports a classifier with random weights; returns the version's directory."""
  from bert_tf.config import BertConfig
  from bert_tf.heads import ClassifierModel
  from bert_tf.serving import export
  from bert_tf.tokenization import load_vocab

  vocab = vocabulary()
  heads = max(1, hidden // 64)
  config = BertConfig(len(load_vocab(vocab)), hidden, layers, heads, 4 * hidden, type_vocab_size=2)
  model = ClassifierModel(config, 2)
  text = export.TextOptions(vocab, True, 128, static)
  options = export.ExportOptions(directory, version=1, dtype=dtype, check=False)
  return export.export_classifier(model, config, text, ["negative", "positive"], options)


@contextlib.contextmanager
def running_server(model_dir: str, *flags: str) -> Iterator[tuple[subprocess.Popen, int]]:
  """`python -m bert_tf serve` as a process, and its port."""
  command = [sys.executable, "-m", "bert_tf", "serve", model_dir, "--name", NAME, "--port", "0"]
  process = subprocess.Popen(
    [*command, "--grpc_port", "-1", *flags],
    stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT,
  )  # fmt: skip
  try:
    for line in process.stdout:
      if match := re.search(r"REST\s+http://[^:]+:(\d+)", line):
        yield process, int(match.group(1))
        break
    else:
      raise RuntimeError("the server did not start")
  finally:
    process.terminate()
    if process.wait(120):
      print(f"the server ended with {process.returncode}", file=sys.stderr)


def resident_mib(process: subprocess.Popen) -> float:
  """Memory of a process."""
  status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
  return int(re.search(r"VmRSS:\s+(\d+)", status).group(1)) / 1024


def processor_seconds(process: subprocess.Popen) -> float:
  """Processor time that a process has used, which other work on the machine does not change."""
  fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
  return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


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


def malformed(draw: random.Random) -> bytes:
  """A body that is no proper request, or that asks for what the model lacks."""
  good = json.dumps({"instances": ["a good text"]}).encode()
  ids = {"input_ids": [[5, 6]], "input_mask": [[1, 1]], "segment_ids": [[0, 0]]}

  def with_ids(**change) -> bytes:
    return json.dumps({"signature_name": "tensors", "inputs": {**ids, **change}}).encode()

  kind = draw.randrange(12)
  if kind == 0:
    return bytes(draw.randrange(256) for _ in range(draw.randrange(200)))
  if kind == 1:
    return good[: draw.randrange(len(good))]
  if kind == 2:
    place = draw.randrange(len(good))
    return good[:place] + bytes([draw.choice(b'\x00"{}[]\\,:\xff')]) + good[place + 1 :]
  if kind == 3:
    depth = draw.randrange(1, 100_000)
    return draw.choice([b"[", b'{"instances":', b'{"inputs":[']) * (depth // 11)
  if kind == 4:
    return json.dumps({"instances": [draw.choice([None, 1, 1.5, True, [], {}, [[]]])]}).encode()
  if kind == 5:
    return with_ids(input_ids=[[draw.choice([-1, -(1 << 40), 10**6, 1 << 70, 1.5, "x", None]), 6]])
  if kind == 6:
    return with_ids(segment_ids=[[draw.choice([-1, 2, 99]), 0]])
  if kind == 7:
    return with_ids(input_ids=[[5] * draw.randrange(3, 2000)])
  if kind == 8:
    return with_ids(input_mask=draw.choice([[], [[]], [1], [[[1]]], "x", {"b64": "AA=="}]))
  if kind == 9:
    return json.dumps({"instances": ["x"] * draw.randrange(257, 2000)}).encode()
  if kind == 10:
    return json.dumps(
      {"signature_name": "examples", "inputs": ["\0" * draw.randrange(99)]}
    ).encode()
  return json.dumps({"instances": ["z\0" * draw.randrange(1 << 19, 1 << 20)]}).encode()


def fuzz(args: argparse.Namespace) -> dict[str, Any]:
  """Malformed requests: each must get an error in time, or be proper by chance."""
  good = json.dumps({"instances": ["a good text"]}).encode()
  statuses: dict[int, int] = {}
  slowest = 0.0
  with tempfile.TemporaryDirectory() as directory:
    export_classifier(directory, 4, 256)
    with running_server(directory) as (process, port):

      def ask(body: bytes) -> tuple[int, bytes, float]:
        started = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        try:
          connection.request("POST", PREDICT, body)
          response = connection.getresponse()
          return response.status, response.read(), time.monotonic() - started
        except (BrokenPipeError, ConnectionResetError):
          # A body over the limit is refused before it is read to its end.
          return 413, b'{"error": ""}', time.monotonic() - started
        finally:
          connection.close()

      _, before, _ = ask(good)
      memory = resident_mib(process)
      draws = [malformed(random.Random(seed)) for seed in range(args.requests)]
      with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for status, body, seconds in pool.map(ask, draws):
          statuses[status] = statuses.get(status, 0) + 1
          slowest = max(slowest, seconds)
          if status >= 400 and "error" not in json.loads(body):
            raise AssertionError(f"status {status} without a reason: {body[:200]!r}")
      _, after, _ = ask(good)
      grown = resident_mib(process) - memory
      if json.loads(before) != json.loads(after):
        raise AssertionError("the server answers otherwise than before")
  print(f"{args.requests} requests: statuses {dict(sorted(statuses.items()))}")
  print(f"slowest {slowest:.2f} s, memory grew by {grown:.0f} MiB; good ones answered as before")
  if set(statuses) - {200, 400, 413}:
    raise AssertionError(f"unexpected statuses: {statuses}")
  return {"statuses": statuses, "slowest_seconds": slowest, "mib_grown": grown}


def _best(run, repeats: int) -> float:
  """Least of several processor times in ms: on one core what the code takes when it is alone."""
  run()
  times = []
  for _ in range(repeats):
    started = time.process_time()
    run()
    times.append(time.process_time() - started)
  return min(times) * 1000


def _one_core() -> None:
  import tensorflow as tf

  tf.config.threading.set_intra_op_parallelism_threads(1)
  tf.config.threading.set_inter_op_parallelism_threads(1)


def _matrix_products(batch: int, length: int, layers: int, hidden: int, dtype) -> Any:
  """The matrix products of an encoder and nothing else."""
  import tensorflow as tf

  rows, heads = batch * length, hidden // 64
  x = tf.random.normal([rows, hidden])
  kernels = [
    tf.Variable(tf.cast(tf.random.normal([hidden, hidden]) * 0.02, dtype)) for _ in range(4)
  ]
  wide = tf.Variable(tf.cast(tf.random.normal([hidden, 4 * hidden]) * 0.02, dtype))
  narrow = tf.Variable(tf.cast(tf.random.normal([4 * hidden, hidden]) * 0.02, dtype))
  query = tf.cast(tf.random.normal([batch, heads, length, 64]), dtype)
  probs = tf.cast(tf.random.normal([batch, heads, length, length]), dtype)

  @tf.function(autograph=False)
  def products(x):
    x = tf.cast(x, dtype)
    total = 0.0
    for _ in range(layers):
      for kernel in kernels:
        x = tf.matmul(x, kernel)
      scores = tf.matmul(query, query, transpose_b=True)
      context = tf.matmul(probs + scores[..., :1] * 0, query)
      x = tf.matmul(tf.matmul(x, wide), narrow)
      total += tf.reduce_sum(tf.cast(context[0, 0, 0], tf.float32))
    return x, total

  return lambda: products(x)


def forward(args: argparse.Namespace) -> dict[str, Any]:
  """BERT-base, batch 8 of length 128: the export against its matrix products and others."""
  _one_core()
  import tensorflow as tf

  rng = np.random.default_rng(0)
  shape = (8, 128)
  features = {
    "input_ids": rng.integers(5, 1000, shape, np.int32),
    "input_mask": np.ones(shape, np.int32),
    "segment_ids": np.zeros(shape, np.int32),
  }
  results = {}
  for dtype in ("float32", "bfloat16"):
    with tempfile.TemporaryDirectory() as directory:
      path = export_classifier(directory, 12, 768, dtype)
      loaded = tf.saved_model.load(path)
      inputs = {name: tf.constant(value) for name, value in features.items()}
      signature = loaded.signatures["tensors"]
      results[f"export {dtype}"] = _best(lambda s=signature, i=inputs: s(**i), args.repeats)
      del loaded, signature
    products = _matrix_products(*shape, 12, 768, tf.as_dtype(dtype))
    results[f"matrix products {dtype}"] = _best(products, args.repeats)
  results |= _transformers(features, args.repeats)
  for name, value in results.items():
    print(f"{name:<28}{value:>8.0f} ms")
  for dtype in ("float32", "bfloat16"):
    ratio = results[f"export {dtype}"] / results[f"matrix products {dtype}"]
    print(f"{dtype}: {ratio:.2f} times the matrix products")
  return results


def _transformers(features: dict[str, np.ndarray], repeats: int) -> dict[str, float]:
  """The same model in transformers on torch, where they are installed."""
  try:
    import torch
    import transformers
  except ImportError:
    return {}
  torch.set_num_threads(1)
  model = transformers.BertForSequenceClassification(transformers.BertConfig()).eval()
  inputs = {
    ours: torch.from_numpy(features[theirs].astype(np.int64))
    for ours, theirs in (
      ("input_ids", "input_ids"), ("attention_mask", "input_mask"),
      ("token_type_ids", "segment_ids"),
    )
  }  # fmt: skip
  results = {}
  for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
    cast = model.to(dtype)
    with torch.inference_mode():
      results[f"transformers {name}"] = _best(lambda m=cast: m(**inputs), repeats)
  return results


def lengths(args: argparse.Namespace) -> dict[str, Any]:
  """Texts per second where a batch is as long as its longest text, and where it is 128 long."""
  _one_core()
  import tensorflow as tf

  sentences = texts()[: args.texts]
  results = {}
  for name, static in (("as long as needed", False), ("padded to 128", True)):
    with tempfile.TemporaryDirectory() as directory:
      path = export_classifier(directory, 12, 768, args.dtype, static)
      loaded = tf.saved_model.load(path)
      signature = loaded.signatures["serving_default"]

      def answer_all(signature=signature) -> None:
        for start in range(0, len(sentences), 8):
          signature(text=tf.constant(sentences[start : start + 8]))

      results[name] = len(sentences) / _best(answer_all, 1) * 1000
      print(f"{name:<20}{results[name]:>8.1f} texts/s", flush=True)
      del loaded, signature, answer_all
  ratio = results["as long as needed"] / results["padded to 128"]
  print(f"ratio {ratio:.2f}")
  return {**results, "ratio": ratio}


def main() -> None:
  """Runs one benchmark."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("what", choices=["load", "fuzz", "forward", "lengths"])
  parser.add_argument("--clients", type=int, default=64)
  parser.add_argument("--seconds", type=float, default=60)
  parser.add_argument("--warmup", type=float, default=30, help="seconds before those")
  parser.add_argument("--modes", default="on,off", help="batching on, off or both")
  parser.add_argument("--mixed", action="store_true", help="sentences and paragraphs")
  parser.add_argument("--layers", type=int, default=4)
  parser.add_argument("--hidden", type=int, default=256)
  parser.add_argument("--requests", type=int, default=10_000)
  parser.add_argument("--repeats", type=int, default=10)
  parser.add_argument("--texts", type=int, default=128)
  parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
  parser.add_argument("--output", help="JSON file for the result")
  args = parser.parse_args()
  run = {"load": load, "fuzz": fuzz, "forward": forward, "lengths": lengths}[args.what]
  result = run(args)
  if args.output:
    from bert_tf.files import atomic_writer

    with atomic_writer(args.output) as file:
      file.write(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
  main()
