"""A forward pass of BERT-base beside the matrix products, transformers and ONNX Runtime.

python benchmarks/inference.py shape [--peers PYTHON]     # batch 8 of length 128
python benchmarks/inference.py lengths [--peers PYTHON]   # sentences of SST-2, batches of 8

One core: every contender is a process of its own with one thread, and what is printed is processor
time, the least of several turns, which is fair where other work is going on. Ours is the exported
model; its matrix products run in turns with it in the same process. `lengths` takes the lengths of
real sentences from --texts (SST-2's dev.tsv, or a header and a sentence a line), batch after batch
in the order of the file, every batch as long as its longest sentence, and once all padded to 128.
Ours gets the sentences themselves and tokenizes them, except where they are padded.
`--peers` names a Python that has benchmarks/peers-requirements.txt.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
BATCH, LENGTH, LAYERS, HIDDEN = 8, 128, 12, 768
# Ids that every vocabulary has; how many rows there are to look up makes no difference.
LIMIT = 1000
OURS = ("ours float32", "ours bfloat16", "litert float32", "litert int8")
PEERS = (
  "transformers float32",
  "transformers bfloat16",
  "onnxruntime float32",
  "onnxruntime int8",
)
Batches = list[dict[str, np.ndarray]]


def fixed_batches() -> Batches:
  """One batch of full rows."""
  ids = np.random.default_rng(0).integers(5, LIMIT, (BATCH, LENGTH)).astype(np.int32)
  return [{"input_ids": ids, "input_mask": np.ones_like(ids), "segment_ids": np.zeros_like(ids)}]


def sentence_batches(args: argparse.Namespace, padded: bool) -> Batches:
  """Batches of real lengths; the ids are random, as is the model."""
  random = np.random.default_rng(0)
  texts, lengths = json.loads(pathlib.Path(args.sentences_file).read_text())
  batches = []
  for start in range(0, len(lengths) - BATCH + 1, BATCH):
    part = np.array(lengths[start : start + BATCH])
    width = LENGTH if padded else part.max()
    mask = (np.arange(width) < part[:, None]).astype(np.int32)
    ids = random.integers(5, LIMIT, mask.shape).astype(np.int32) * mask
    batch = {"input_ids": ids, "input_mask": mask, "segment_ids": np.zeros_like(ids)}
    batches.append(batch if padded else {**batch, "text": np.array(texts[start : start + BATCH])})
  return batches


def write_sentences(args: argparse.Namespace, path: str) -> None:
  """The first --sentences texts and how many tokens they have, [CLS] and [SEP] included."""
  from bert_tf.tokenization import FullTokenizer

  lines = pathlib.Path(args.texts).read_text(encoding="utf-8").splitlines()
  sentences = [line.split("\t")[0] for line in lines[1 : args.sentences + 1]]
  tokenizer = FullTokenizer(args.vocab_file, True)
  lengths = [min(LENGTH, len(tokenizer.tokenize(text)) + 2) for text in sentences]
  pathlib.Path(path).write_text(json.dumps([sentences, lengths]))


def least_times(runs: Mapping[str, Callable[[], object]], repeat: int) -> dict[str, float]:
  """Least processor time of everything, in turns, in ms; the first turn warms up."""
  best: dict[str, float] = {}
  for turn in range(repeat + 1):
    for name, run in runs.items():
      start = time.process_time()
      run()
      spent = 1000 * (time.process_time() - start)
      if turn:
        best[name] = min(best.get(name, spent), spent)
  return best


def measure(
  args: argparse.Namespace, answer: Callable[[dict], object], pads: bool = True, **more
) -> dict:
  """Times of a function of one batch, on the batches that were asked for."""
  if args.what == "shape":
    [batch] = fixed_batches()
    return least_times({"forward": lambda: answer(batch), **more}, args.repeat)
  runs = {}
  for name, padded in (("as long as needed", False), ("padded to 128", True))[: 1 + pads]:
    batches = sentence_batches(args, padded)
    runs[name] = lambda batches=batches: [answer(batch) for batch in batches]
  return least_times(runs, args.repeat)


def measure_ours(args: argparse.Namespace, dtype: str) -> dict:
  """The signature `tensors` of an exported classifier."""
  tf = one_thread()
  from bert_tf.export.options import ExportOptions

  with tempfile.TemporaryDirectory() as directory:
    options = ExportOptions(directory, version=1, check=False)
    loaded = tf.saved_model.load(export_classifier(args, options, dtype))
    signature, of_text = loaded.signatures["tensors"], loaded.signatures["serving_default"]

    def answer(batch: dict) -> object:
      if "text" in batch:
        return of_text(text=tf.constant(batch["text"]))
      return signature(**{name: tf.constant(value) for name, value in batch.items()})

    return measure(args, answer, **{"matrix products": matrix_products(tf, dtype)})


def one_thread():
  """TensorFlow, on one thread."""
  import tensorflow as tf

  tf.config.threading.set_intra_op_parallelism_threads(1)
  tf.config.threading.set_inter_op_parallelism_threads(1)
  return tf


def export_classifier(args: argparse.Namespace, options, dtype: str = "float32") -> str:
  """BERT-base with random weights, exported."""
  from bert_tf.config import BertConfig
  from bert_tf.export.exporters import export
  from bert_tf.export.options import GraphPlan
  from bert_tf.heads import ClassifierModel
  from bert_tf.model_dir import Description
  from bert_tf.tokenization import load_vocab

  tokens = tuple(load_vocab(args.vocab_file))
  config = BertConfig(len(tokens), HIDDEN, LAYERS, HIDDEN // 64, 4 * HIDDEN, type_vocab_size=2)
  about = Description(
    config, tokens, labels=("no", "yes"), head="classification", max_seq_length=LENGTH
  )
  return export(ClassifierModel(config, 2), GraphPlan(about, dtype=dtype), options)


def matrix_products(tf, dtype: str) -> Callable[[], object]:
  """The matrix products of the encoder and nothing else."""
  rows, heads = BATCH * LENGTH, HIDDEN // 64

  def filled(*shape: int):
    return tf.cast(tf.random.normal(shape) * 0.02, dtype)

  kernels = [[filled(HIDDEN, HIDDEN) for _ in range(4)] for _ in range(LAYERS)]
  wide = [filled(HIDDEN, 4 * HIDDEN) for _ in range(LAYERS)]
  narrow = [filled(4 * HIDDEN, HIDDEN) for _ in range(LAYERS)]
  query, probs = filled(BATCH, heads, LENGTH, 64), filled(BATCH, heads, LENGTH, LENGTH)

  @tf.function(autograph=False)
  def products(x, query, probs):
    found = []
    for layer in range(LAYERS):
      for kernel in kernels[layer]:
        x = tf.matmul(x, kernel)
      # A query of its own, so that no layer's products are left out as computed before.
      part = query + tf.cast(float(layer), dtype)
      found.append(tf.matmul(part, part, transpose_b=True)[0, 0, 0, 0])
      found.append(tf.matmul(probs, part)[0, 0, 0, 0])
      x = tf.matmul(tf.matmul(x, wide[layer]), narrow[layer])
    return x, tf.add_n(found)

  x = filled(rows, HIDDEN)
  return lambda: products(x, query, probs)[0].numpy()


def measure_litert(args: argparse.Namespace, kind: str) -> dict:
  """A LiteRT file, which takes one sequence at a time and pads it to the next length, by LiteRT."""
  import contextlib

  with tempfile.TemporaryDirectory() as directory, contextlib.redirect_stdout(sys.stderr):
    from bert_tf.export import lite
    from bert_tf.export.options import ExportOptions

    options = ExportOptions(directory, version=1, check=False, lite=(kind,))
    [file] = pathlib.Path(export_classifier(args, options)).rglob("*.tflite")
    model = lite.LiteModel(file)

    def answer(batch: dict) -> None:
      for row in range(BATCH):
        model({name: value[row : row + 1] for name, value in batch.items() if name != "text"})

    return measure(args, answer, pads=False)


def torch_model():
  """BERT-base for classification in transformers."""
  import torch
  import transformers

  torch.set_num_threads(1)
  return torch, transformers.BertForSequenceClassification(transformers.BertConfig()).eval()


def torch_inputs(torch, batch: dict) -> dict:
  """A batch under the names of transformers."""
  ours = {"input_ids": "input_ids", "attention_mask": "input_mask", "token_type_ids": "segment_ids"}
  return {k: torch.from_numpy(batch[name].astype(np.int64)) for k, name in ours.items()}


def measure_transformers(args: argparse.Namespace, dtype: str) -> dict:
  """transformers on torch, all weights in the type."""
  torch, model = torch_model()
  model = model.to(getattr(torch, dtype))

  def answer(batch: dict) -> object:
    with torch.inference_mode():
      return model(**torch_inputs(torch, batch))

  return measure(args, answer)


def measure_onnxruntime(args: argparse.Namespace, kind: str) -> dict:
  """The same model through torch's exporter, float32 or with dynamically quantized weights."""
  import onnxruntime
  from onnxruntime import quantization

  torch, model = torch_model()
  model.config._attn_implementation = "eager"
  names = ["input_ids", "attention_mask", "token_type_ids"]
  example = torch_inputs(torch, fixed_batches()[0])
  with tempfile.TemporaryDirectory() as directory:
    path, int8 = f"{directory}/model.onnx", f"{directory}/int8.onnx"
    torch.onnx.export(
      model, tuple(example[name] for name in names), path, input_names=names,
      output_names=["logits"], dynamic_axes={name: {0: "batch", 1: "length"} for name in names},
      dynamo=False, opset_version=17,
    )  # fmt: skip
    if kind == "int8":
      quantization.quantize_dynamic(path, int8, weight_type=quantization.QuantType.QInt8)
      path = int8
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def answer(batch: dict) -> object:
      inputs = {name: value.numpy() for name, value in torch_inputs(torch, batch).items()}
      return session.run(None, inputs)

    return measure(args, answer)


def run_contender(args: argparse.Namespace, name: str) -> dict | None:
  """Measures one contender in a process of its own; None where that fails."""
  python = args.peers if name in PEERS else sys.executable
  if not python:
    return None
  command = [python, __file__, *sys.argv[1:], "--sentences_file", args.sentences_file]
  ended = subprocess.run(
    [*command, "--measure", name], capture_output=True, text=True,
    env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "OMP_NUM_THREADS": "1"},
  )  # fmt: skip
  if ended.returncode:
    last = (ended.stderr.strip().splitlines() or ["no message"])[-1]
    print(f"{name}: not measured: {last}", file=sys.stderr)
    return None
  return json.loads(ended.stdout.splitlines()[-1])


def main() -> None:
  """Measures what was asked for, one process after the other, and prints a table."""
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("what", choices=["shape", "lengths"])
  parser.add_argument("--peers", help="Python with benchmarks/peers-requirements.txt")
  parser.add_argument("--texts", help="of `lengths`: SST-2's dev.tsv, or a header and sentences")
  parser.add_argument("--sentences", type=int, default=128, help="of `lengths`: how many of them")
  parser.add_argument("--vocab_file", default=str(ROOT / "tests" / "golden" / "vocab.txt"))
  parser.add_argument("--repeat", type=int, default=5)
  parser.add_argument("--only", default="", help="measure only names that contain this")
  parser.add_argument("--json", help="also write the results to this file")
  parser.add_argument("--sentences_file", help=argparse.SUPPRESS)
  parser.add_argument("--measure", choices=OURS + PEERS, help=argparse.SUPPRESS)
  args = parser.parse_args()
  if args.measure:
    system, kind = args.measure.split()
    print(json.dumps(globals()[f"measure_{system}"](args, kind)))
    return
  if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
  with tempfile.TemporaryDirectory() as directory:
    args.sentences_file = os.path.join(directory, "sentences.json")
    if args.what == "lengths":
      write_sentences(args, args.sentences_file)
    results = {}
    for name in OURS + PEERS:
      if args.only in name and (measured := run_contender(args, name)):
        results[name] = measured
        for what, milliseconds in measured.items():
          print(f"{name:24}{what:20}{milliseconds:10.0f} ms", flush=True)
  if args.json:
    pathlib.Path(args.json).parent.mkdir(parents=True, exist_ok=True)
    pathlib.Path(args.json).write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
  main()
