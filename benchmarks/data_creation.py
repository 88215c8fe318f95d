"""Speed and memory of create_pretraining_data.py: records per second of processor time, peak RSS.

  python benchmarks/data_creation.py                 # WikiText-2 and Gutenberg from BERT_TF_DATA
  python benchmarks/data_creation.py --growth 92     # memory and time against corpus size
  python benchmarks/data_creation.py --workers 10    # one worker against two
  python benchmarks/data_creation.py --reading       # batches for training, masks drawn or not
  python benchmarks/data_creation.py --text my.txt --vocab_file vocab.txt

Every run is a process of its own, start-up included.  Beside our figures stand those of
google-research/bert (commit eedf571) under TensorFlow 1.15.5 and Python 3.7, measured on one core
of an AMD Zen 5 machine on the same text (WikiText-2 valid, dupe_factor 5); they are constants here,
because TensorFlow 1 does not install any more.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

ROOT = pathlib.Path(__file__).resolve().parent.parent
DATA = pathlib.Path(os.environ.get("BERT_TF_DATA", ROOT.parent / "shared" / "data"))
VOCAB = DATA / "vocabs" / "bert-base-uncased-vocab.txt"
ORIGINAL = {128: 1690, 512: 501}  # records per second of user time
ORIGINAL_MEGABYTES = 259


def measure(text: pathlib.Path, vocab: pathlib.Path, **flags: object) -> dict[str, float]:
  """Runs the script once; times in seconds, memory of the largest process in MB."""
  with tempfile.TemporaryDirectory() as directory:
    command = [
      sys.executable,
      str(ROOT / "create_pretraining_data.py"),
      f"--input_file={text}",
      f"--output_file={directory}/out.tfrecord",
      f"--vocab_file={vocab}",
      *(f"--{name}={value}" for name, value in flags.items()),
    ]
    start = time.perf_counter()
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
      errors = process.stderr.read()
      _, status, usage = os.wait4(process.pid, 0)
      process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - start
  if process.returncode:
    raise SystemExit(f"{' '.join(command)} failed:\n{errors}")
  records = int(errors.rsplit("Wrote ", 1)[1].split()[0])
  return {
    "records": records,
    "user_s": usage.ru_utime,
    "system_s": usage.ru_stime,
    "wall_s": wall,
    "peak_rss_mb": usage.ru_maxrss / 1000,
    "records_per_user_s": records / usage.ru_utime,
  }


def best(repeats: int, *args: object, **flags: object) -> dict[str, float]:
  """The run with the least processor time: others on the machine only ever add to it."""
  return min((measure(*args, **flags) for _ in range(repeats)), key=lambda run: run["user_s"])


def speed(text: pathlib.Path, vocab: pathlib.Path, repeats: int) -> list[dict]:
  """Both modes at both lengths of the paper."""
  rows = []
  for length, predictions in ((128, 20), (512, 77)):
    for mode, flags in (
      ("same seed", {}),
      ("same seed, whole word", {"do_whole_word_mask": True}),
      ("scale, 1 worker", {"num_workers": 1}),
      ("scale, 2 workers", {"num_workers": 2, "shard_megabytes": 0.5}),
      ("scale, unmasked", {"num_workers": 1, "dynamic_masking": True}),
    ):
      run = best(
        repeats,
        text,
        vocab,
        dupe_factor=5,
        max_seq_length=length,
        max_predictions_per_seq=20 if length == 128 else predictions,
        **flags,
      )
      rows.append({"text": text.name, "mode": mode, "max_seq_length": length, **run})
      print_row(rows[-1])
  return rows


def growth(text: pathlib.Path, vocab: pathlib.Path, largest: int) -> list[dict]:
  """Memory and time of the scale mode for 1, 4, 16, ... and `largest` times the text."""
  rows = []
  for times in [*(4**i for i in range(largest.bit_length()) if 4 ** (i + 1) <= largest), largest]:
    with repeated(text, times) as path:
      run = measure(path, vocab, dupe_factor=1, num_workers=1)
      megabytes = path.stat().st_size / 1e6
    rows.append(
      {"text": f"{megabytes:.1f} MB", "mode": "scale, growth", "max_seq_length": 128, **run}
    )
    print_row(rows[-1])
  for name in ("user_s", "peak_rss_mb"):
    print(f"{name} grows with the size of the text to the power of {exponent(rows, name):.3f}")
  return rows


@contextlib.contextmanager
def repeated(text: pathlib.Path, times: int) -> Iterator[pathlib.Path]:
  """A temporary file that holds the text so many times."""
  content = text.read_bytes() + b"\n"
  with tempfile.TemporaryDirectory() as directory:
    path = pathlib.Path(directory) / "text.txt"
    with open(path, "wb") as file:
      for _ in range(times):
        file.write(content)
    yield path


def workers(text: pathlib.Path, vocab: pathlib.Path, times: int, repeats: int) -> list[dict]:
  """One worker against two, on the text so many times."""
  rows = []
  with repeated(text, times) as path:
    megabytes = path.stat().st_size / 1e6
    for _ in range(repeats):
      for number in (1, 2):
        run = measure(path, vocab, dupe_factor=1, num_workers=number)
        cpu = run["user_s"] + run["system_s"]
        rows.append({
          "text": f"{megabytes:.1f} MB", "mode": f"scale, {number} worker(s)",
          "max_seq_length": 128, "cpu_s_per_worker": cpu / number, **run,
        })  # fmt: skip
        print_row(rows[-1])
        print(f"{'':28} {cpu:.1f} s of processor time in all, {cpu / number:.1f} s a worker")
  return rows


def plot(rows: list[dict], path: pathlib.Path) -> None:
  """Time and memory against the size of the text."""
  import matplotlib

  matplotlib.use("Agg")
  from matplotlib import pyplot

  figure, axes = pyplot.subplots(1, 2, figsize=(8, 3))
  titles = {"user_s": "processor time, s", "peak_rss_mb": "peak memory, MB"}
  for axis, (name, title) in zip(axes, titles.items(), strict=True):
    values = [row[name] for row in rows]
    axis.plot(megabytes(rows), values, "o-")
    axis.set_xscale("log")
    axis.xaxis.set_major_formatter("{x:g}")
    axis.set_xlabel("text, MB")
    axis.set_title(f"{title}: power {exponent(rows, name):.2f}")
    axis.grid(alpha=0.3)
  axes[0].set_yscale("log")
  axes[0].yaxis.set_major_formatter("{x:g}")
  # From 0: memory that does not grow would fill the whole axis with its noise.
  axes[1].set_ylim(0, 2 * max(row["peak_rss_mb"] for row in rows))
  figure.tight_layout()
  figure.savefig(path)


def megabytes(rows: list[dict]) -> list[float]:
  """The sizes of the texts."""
  return [float(row["text"].split()[0]) for row in rows]


def exponent(rows: list[dict], name: str) -> float:
  """Of the growth of a figure with the size of the text: the slope of the logarithms' best line."""
  logs = [math.log(size) for size in megabytes(rows)]
  return statistics.linear_regression(logs, [math.log(row[name]) for row in rows]).slope


# Seconds of a step of BERT-base in bfloat16 on one core, 8 x 128, from benchmarks/step.py.
STEP_SECONDS = 1.5


def reading(text: pathlib.Path, vocab: pathlib.Path) -> list[dict]:
  """Processor time of the input pipeline for a batch of 8 x 128 beside that of a step."""
  os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
  sys.path.insert(0, str(ROOT))
  from bert_tf.data import in_memory_creation, masking, pipelines, records
  from bert_tf.data.dynamic_masking import DynamicMasking
  from bert_tf.data.instances import InstanceOptions
  from bert_tf.tokenization import FullTokenizer

  tokenizer = FullTokenizer(vocab)
  vocabulary = masking.Vocabulary.of(tokenizer.vocab)
  rows = []
  for name, dynamic, pack in (
    ("masked records", None, False),
    ("masked records, .gz", None, False),
    ("packed", None, True),
    ("dynamic masking", DynamicMasking(vocabulary), False),
    ("dynamic, whole words", DynamicMasking(vocabulary, whole_word=True), False),
    ("dynamic, runs of words", DynamicMasking(vocabulary, whole_word=True, max_ngram=3), False),
  ):
    with tempfile.TemporaryDirectory() as directory:
      options = InstanceOptions(dupe_factor=1, dynamic_masking=dynamic is not None)
      path = f"{directory}/records" + (".gz" if name.endswith(".gz") else "")
      in_memory_creation.create_pretraining_data([str(text)], [path], tokenizer, options)
      spec = records.unmasked_pretraining(128) if dynamic else records.pretraining(128, 20)
      batches = iter(
        pipelines.pretraining_dataset([path], spec, pipelines.ReadOptions(8, True), dynamic, pack)
      )
      next(batches)
      steps, start, wall = 1000, time.process_time(), time.perf_counter()
      for _ in range(steps):
        next(batches)
      seconds = (time.process_time() - start) / steps
      wall = (time.perf_counter() - wall) / steps
    share = seconds / STEP_SECONDS
    rows.append(
      {"mode": name, "ms_per_batch": 1e3 * seconds, "wall_ms": 1e3 * wall, "share_of_step": share}
    )
    print(
      f"{name:24} {1e3 * seconds:6.2f} ms of processor time ({1e3 * wall:.2f} ms of the clock),"
      f" {share:.2%} of a step",
      flush=True,
    )
  return rows


def print_row(row: dict) -> None:
  """One line of the table."""
  ratio = row["records_per_user_s"] / ORIGINAL[row["max_seq_length"]]
  print(
    f"{row['text']:28} {row['mode']:22} {row['max_seq_length']:4} {row['records']:9} "
    f"{row['records_per_user_s']:9.0f} {ratio:6.1f}x {row['user_s']:8.2f} {row['wall_s']:8.2f} "
    f"{row['peak_rss_mb']:7.0f}",
    flush=True,
  )


def main() -> None:
  """Prints the table; writes JSON with --json."""
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--text", type=pathlib.Path, action="append")
  parser.add_argument("--vocab_file", type=pathlib.Path, default=VOCAB)
  parser.add_argument("--repeats", type=int, default=3)
  parser.add_argument("--growth", type=int, default=0, help="up to this many times the last text")
  parser.add_argument("--workers", type=int, default=0, help="this many times the last text")
  parser.add_argument("--reading", action="store_true")
  parser.add_argument("--plot", type=pathlib.Path, help="picture of --growth")
  parser.add_argument("--json", type=pathlib.Path)
  args = parser.parse_args()
  texts = args.text or [DATA / "wikitext2" / "valid_sentences.txt"]
  missing = [str(path) for path in [*texts, args.vocab_file] if not path.exists()]
  if missing:
    raise SystemExit(
      f"error: no {', '.join(missing)}; set BERT_TF_DATA or pass --text, --vocab_file"
    )
  rows = reading(texts[-1], args.vocab_file) if args.reading else creating(args, texts)
  if args.json:
    args.json.write_text(json.dumps(rows, indent=1) + "\n")


def creating(args: argparse.Namespace, texts: list[pathlib.Path]) -> list[dict]:
  """The table of speed, or that of growth."""
  print(
    f"the original: {ORIGINAL[128]} records per user second at length 128, {ORIGINAL[512]} at 512, "
    f"{ORIGINAL_MEGABYTES} MB"
  )
  print(
    f"{'text':28} {'mode':22} {'len':>4} {'records':>9} {'rec/s':>9} {'ratio':>7} {'user s':>8} "
    f"{'wall s':>8} {'MB':>7}"
  )
  if args.workers:
    return workers(texts[-1], args.vocab_file, args.workers, args.repeats)
  if not args.growth:
    return [row for text in texts for row in speed(text, args.vocab_file, args.repeats)]
  if args.growth < 4:
    raise SystemExit(f"error: --growth: expected at least 4, found {args.growth}")
  rows = growth(texts[-1], args.vocab_file, args.growth)
  if args.plot:
    plot(rows, args.plot)
  return rows


if __name__ == "__main__":
  main()
