"""Speed and memory of create_pretraining_data.py: records per second of processor time, peak RSS.

  python benchmarks/data_creation.py                 # WikiText-2 and Gutenberg from BERT_TF_DATA
  python benchmarks/data_creation.py --growth 8      # memory and time against corpus size
  python benchmarks/data_creation.py --reading       # batches for training, masks drawn or not
  python benchmarks/data_creation.py --text my.txt --vocab_file vocab.txt

Every run is a process of its own, start-up included.  Beside our figures stand those of
google-research/bert (commit eedf571) under TensorFlow 1.15.5 and Python 3.7, measured on one core
of an AMD Zen 5 machine on the same text (WikiText-2 valid, dupe_factor 5); they are constants here,
because TensorFlow 1 does not install any more.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile
import time

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
  """Memory and time of the scale mode for 1, 2, 4, ... times the text."""
  rows = []
  content = text.read_bytes()
  with tempfile.TemporaryDirectory() as directory:
    path = pathlib.Path(directory) / "text.txt"
    for times in (2**i for i in range(int(math.log2(largest)) + 1)):
      with open(path, "wb") as file:
        for _ in range(times):
          file.write(content + b"\n")
      run = measure(path, vocab, dupe_factor=1, num_workers=1)
      megabytes = path.stat().st_size / 1e6
      rows.append(
        {"text": f"{megabytes:.1f} MB", "mode": "scale, growth", "max_seq_length": 128, **run}
      )
      print_row(rows[-1])
  for name in ("user_s", "peak_rss_mb"):
    print(f"{name} grows with the size of the text to the power of {exponent(rows, name):.2f}")
  return rows


def plot(rows: list[dict], path: pathlib.Path) -> None:
  """Time and memory against the size of the text, both axes logarithmic."""
  import matplotlib

  matplotlib.use("Agg")
  from matplotlib import pyplot

  figure, axes = pyplot.subplots(1, 2, figsize=(8, 3))
  sizes = [float(row["text"].split()[0]) for row in rows]
  for axis, name in zip(axes, ("user_s", "peak_rss_mb"), strict=True):
    axis.loglog(sizes, [row[name] for row in rows], "o-")
    axis.set_xlabel("MB of text")
    axis.set_title(f"{name}: power {exponent(rows, name):.2f}")
  figure.tight_layout()
  figure.savefig(path)


def exponent(rows: list[dict], name: str) -> float:
  """Of the growth of a figure with the size of the text, which doubles from row to row."""
  return math.log2(rows[-1][name] / rows[0][name]) / (len(rows) - 1)


def reading(text: pathlib.Path, vocab: pathlib.Path) -> list[dict]:
  """Processor time of a batch of 8 x 128 for training, against 1.48 s for a step on one core."""
  os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
  sys.path.insert(0, str(ROOT))
  from bert_tf.data import creation, masking, pipelines, records
  from bert_tf.data.dynamic_masking import DynamicMasking
  from bert_tf.data.instances import InstanceOptions
  from bert_tf.tokenization import FullTokenizer

  tokenizer = FullTokenizer(vocab)
  vocabulary = masking.Vocabulary.of(tokenizer.vocab)
  rows = []
  for name, dynamic in (
    ("masked records", None),
    ("dynamic masking", DynamicMasking(vocabulary)),
    ("dynamic, whole words", DynamicMasking(vocabulary, whole_word=True)),
    ("dynamic, runs of words", DynamicMasking(vocabulary, whole_word=True, max_ngram=3)),
  ):
    with tempfile.TemporaryDirectory() as directory:
      options = InstanceOptions(dupe_factor=1, dynamic_masking=dynamic is not None)
      path = f"{directory}/records"
      creation.create_pretraining_data([str(text)], [path], tokenizer, options)
      spec = records.unmasked_pretraining(128) if dynamic else records.pretraining(128, 20)
      batches = iter(
        pipelines.pretraining_dataset([path], spec, pipelines.ReadOptions(8, True), dynamic)
      )
      next(batches)
      steps, start = 500, time.process_time()
      for _ in range(steps):
        next(batches)
      milliseconds = (time.process_time() - start) / steps * 1000
    rows.append({"mode": name, "ms_per_batch": milliseconds, "share_of_step": milliseconds / 1480})
    print(
      f"{name:24} {milliseconds:6.2f} ms of processor time, {milliseconds / 14.8:.2f}% of a step"
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
  if not args.growth:
    return [row for text in texts for row in speed(text, args.vocab_file, args.repeats)]
  if args.growth < 2:
    raise SystemExit(f"error: --growth: expected at least 2, found {args.growth}")
  rows = growth(texts[-1], args.vocab_file, args.growth)
  if args.plot:
    plot(rows, args.plot)
  return rows


if __name__ == "__main__":
  main()
