"""How fast exports answer, and that a server keeps its head under load and under abuse.

  python benchmarks/serving.py load      # 64 clients for 60 s, batching on and off
  python benchmarks/serving.py fuzz      # 10,000 malformed requests
  python benchmarks/serving.py abuse     # long texts, idle clients, hang-ups, bombs, new versions
  python benchmarks/serving.py lite      # LiteRT files against the float model

The model of `load`, `fuzz` and `abuse` is a BERT-mini (4 layers, hidden 256) with random weights:
what is measured is the server. Texts are SST-2's from BERT_TF_DATA, or lines of the tests' corpus.
`load` and `abuse` compare every answer with the one that the model gave to the same text alone.
Figures are printed and written as JSON (--output).
"""

from __future__ import annotations

import argparse
import json
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def main() -> None:
  """Runs one benchmark."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("what", choices=["load", "fuzz", "abuse", "lite"])
  parser.add_argument("--clients", type=int, default=64)
  parser.add_argument("--seconds", type=float, default=60)
  parser.add_argument("--warmup", type=float, default=60, help="seconds before those")
  parser.add_argument("--turns", type=int, default=4, help="pieces of those seconds")
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
  from serving_abuse import abuse
  from serving_fuzz import fuzz
  from serving_lite import lite
  from serving_load import load

  result = {"load": load, "fuzz": fuzz, "abuse": abuse, "lite": lite}[args.what](args)
  if args.output:
    from bert_tf.files import atomic_writer

    with atomic_writer(args.output) as file:
      file.write(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
  main()
