"""Tokens per second and core, and lines tokenized otherwise than by the original, side by side.

  python benchmarks/tokenization.py                      # English and mixed text from BERT_TF_DATA
  python benchmarks/tokenization.py --text my.txt --vocab_file vocab.txt --output result.json

Every contender gets the same lines in batches of 1,024, on one core, and is timed by the processor
time of its best of several runs, the first one (tracing, caches) left out. "cold" is the first run
of the Python tokenizer, which remembers no word yet. The reference for "differ" is FullTokenizer,
which equals google-research/bert on every code point (tests/tokenization). The original itself,
measured at 0.31 million tokens/s on English prose on one core of an AMD Zen 5 machine under
Python 3.11, is a constant here.
"""

from __future__ import annotations

import os

# Before the libraries start their threads.
os.environ["TF_NUM_INTRAOP_THREADS"] = os.environ["TF_NUM_INTEROP_THREADS"] = "1"
os.environ["RAYON_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import json
import pathlib
import platform
import sys
import time
from collections.abc import Callable, Iterator

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import tensorflow as tf
import tensorflow_text as tf_text

from bert_tf.files import atomic_writer
from bert_tf.tokenization import FullTokenizer, InGraphTokenizer

ROOT = pathlib.Path(__file__).resolve().parent.parent
DATA = pathlib.Path(os.environ.get("BERT_TF_DATA", ROOT.parent / "shared" / "data"))
ORIGINAL = 0.31
BATCH = 1024

# Takes a list of lines, gives the ids of each.
Tokenize = Callable[[list[str]], list[list[int]]]


def python_tokenizer(tokenizer: FullTokenizer) -> Tokenize:
  """FullTokenizer."""
  return lambda lines: [tokenizer.convert_tokens_to_ids(tokenizer.tokenize(x)) for x in lines]


def in_tensorflow(tokenize: Callable[[tf.Tensor], tf.RaggedTensor]) -> Tokenize:
  """Batches as tensors both ways; strings become a tensor before, lists after the clock runs."""
  graph = tf.function(tokenize, [tf.TensorSpec([None], tf.string)], autograph=False)
  return lambda lines: graph(lines)


def huggingface_tokenizer(vocab_file: str, do_lower_case: bool) -> Tokenize:
  """The Rust tokenizer of Hugging Face."""
  from tokenizers import BertWordPieceTokenizer

  tokenizer = BertWordPieceTokenizer(vocab_file, lowercase=do_lower_case)
  tokenizer.no_padding()
  return lambda lines: [
    encoding.ids for encoding in tokenizer.encode_batch(lines, add_special_tokens=False)
  ]


def contenders(vocab_file: str, do_lower_case: bool) -> Iterator[tuple[str, Tokenize]]:
  """Yields the name and function of every tokenizer, FullTokenizer first."""
  reference = FullTokenizer(vocab_file, do_lower_case)
  tokens = list(reference.vocab)
  yield "FullTokenizer", python_tokenizer(reference)
  for text_ops in ("fast", "compatible"):
    tokenizer = InGraphTokenizer(vocab_file, do_lower_case, text_ops)
    yield f"InGraphTokenizer, {text_ops}", in_tensorflow(tokenizer)
  fast = tf_text.FastBertTokenizer(
    tokens, token_out_type=tf.int32, lower_case_nfd_strip_accents=do_lower_case
  )
  yield "tensorflow_text FastBertTokenizer", in_tensorflow(fast.tokenize)
  table = tf.lookup.StaticVocabularyTable(
    tf.lookup.KeyValueTensorInitializer(tokens, tf.range(len(tokens), dtype=tf.int64)), 1
  )
  slow = tf_text.BertTokenizer(table, lower_case=do_lower_case)
  yield (
    "tensorflow_text BertTokenizer",
    in_tensorflow(lambda lines: slow.tokenize(lines).merge_dims(-2, -1)),
  )
  try:
    yield (
      "tokenizers BertWordPieceTokenizer",
      huggingface_tokenizer(vocab_file, do_lower_case),
    )
  except ImportError:
    print("(tokenizers is not installed)")


def measure(tokenize: Tokenize, lines: list[str], repeats: int) -> tuple[list[float], list]:
  """Processor seconds of each run, and the ids of all lines."""
  batches: list = [lines[start : start + BATCH] for start in range(0, len(lines), BATCH)]
  if isinstance(tokenize(batches[0][:1]), tf.RaggedTensor):
    batches = [tf.constant(batch) for batch in batches]
  seconds = []
  for _ in range(repeats + 1):
    start = time.process_time()
    results = [tokenize(batch) for batch in batches]
    seconds.append(time.process_time() - start)
  ids: list = []
  for result in results:
    ids += result.to_list() if isinstance(result, tf.RaggedTensor) else result
  return seconds, ids


def compare(
  name: str, lines: list[str], vocab_file: str, do_lower_case: bool, repeats: int
) -> dict[str, object]:
  """Prints a table for one text; returns its rows."""
  rows, expected, tokens = [], None, 0
  print(f"\n{name}: {len(lines):,} lines, {pathlib.Path(vocab_file).name}")
  print(f"{'':36}{'M tokens/s':>12}{'x original':>12}{'lines that differ':>20}")
  for label, tokenize in contenders(vocab_file, do_lower_case):
    seconds, ids = measure(tokenize, lines, repeats)
    if expected is None:
      expected, tokens = ids, sum(map(len, ids))
    differ = sum(a != b for a, b in zip(ids, expected, strict=True))
    runs = {label: min(seconds[1:])}
    if label == "FullTokenizer":
      runs = {f"{label}, cold": seconds[0], **runs}
    for run, best in runs.items():
      rate = tokens / best / 1e6
      print(f"{run:36}{rate:12.2f}{rate / ORIGINAL:12.1f}{differ:20,}", flush=True)
      rows.append({"tokenizer": run, "million_tokens_per_s": rate, "lines_that_differ": differ})
  return {"text": name, "lines": len(lines), "tokens": tokens, "rows": rows}


def main() -> None:
  """Parses the arguments, compares on every text."""
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--text", help="UTF-8 lines (default: English prose and mixed scripts)")
  vocab = DATA / "vocabs" / "bert-base-uncased-vocab.txt"
  parser.add_argument("--vocab_file", default=str(vocab), help="default: the released uncased one")
  parser.add_argument("--do_lower_case", default=True, action=argparse.BooleanOptionalAction)
  parser.add_argument("--lines", type=int, default=40_000, help="of each text at most")
  parser.add_argument("--repeats", type=int, default=3)
  parser.add_argument("--output", help="also write the figures to this JSON file")
  args = parser.parse_args()
  multilingual = str(DATA / "vocabs" / "bert-base-multilingual-cased-vocab.txt")
  if args.text:
    texts = [(args.text, args.text, args.vocab_file, args.do_lower_case)]
  else:
    prose, mixed = (
      str(DATA / name) for name in ("gutenberg/gutenberg_en_sentences.txt", "parity/lines.json")
    )
    texts = [
      ("English prose", prose, args.vocab_file, True),
      ("mixed scripts", mixed, args.vocab_file, True),
      ("mixed scripts, cased", mixed, multilingual, False),
    ]
  results = []
  for name, path, vocab_file, do_lower_case in texts:
    content = pathlib.Path(path).read_text(encoding="utf-8")
    lines = json.loads(content) if path.endswith(".json") else content.split("\n")
    results.append(compare(name, lines[: args.lines], vocab_file, do_lower_case, args.repeats))
  if args.output:
    machine = {"processor": platform.processor() or platform.machine(), "python": sys.version}
    with atomic_writer(args.output) as file:
      json.dump({"machine": machine, "tensorflow": tf.__version__, "results": results}, file)


if __name__ == "__main__":
  main()
