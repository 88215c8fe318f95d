"""How the time of a training step grows with length, batch and layers; a table and a picture.

python benchmarks/growth.py [--dtype bfloat16] [--json FILE] [--picture FILE]

The engine's own pretraining step, width 768, on one core; processor time, the least of several
turns. The exponent is the slope of a line through the points in a log-log plot: 1 is linear. The
time of a step without any layer (the word table's update, the head) is in every point.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import numpy as np
import step as benchmark

START = {"length": 128, "batch": 8, "layers": 2}
VALUES = {"length": (64, 128, 256, 512), "batch": (2, 4, 8, 16), "layers": (1, 2, 4, 8)}


def step_time(settings: dict[str, int], dtype: str, repeat: int) -> float:
  """Seconds of a step."""
  import tensorflow as tf

  from bert_tf import BertConfig

  args = argparse.Namespace(**settings, predictions=max(1, round(0.15 * settings["length"])))
  config = BertConfig(
    vocab_size=benchmark.VOCABULARY, hidden_size=benchmark.HIDDEN,
    num_hidden_layers=args.layers, num_attention_heads=benchmark.HEADS,
    intermediate_size=benchmark.INTERMEDIATE, type_vocab_size=2,
  )  # fmt: skip
  batch = {name: tf.constant(value) for name, value in benchmark.numpy_batch(args).items()}
  _, run = benchmark.our_step(config, args, dtype, batch)
  return benchmark.take_turns({"step": run}, repeat)["step"]


def measure(dtype: str, repeat: int) -> dict[str, dict]:
  """One quantity after the other, the others as in `START`."""
  benchmark.one_thread()
  results = {}
  for quantity, values in VALUES.items():
    seconds = [step_time({**START, quantity: value}, dtype, repeat) for value in values]
    exponent = float(np.polyfit(np.log(values), np.log(seconds), 1)[0])
    results[quantity] = {"values": values, "seconds": seconds, "exponent": exponent}
    row = "".join(
      f"{value:>6}: {second:6.3f} s" for value, second in zip(values, seconds, strict=True)
    )
    print(f"{quantity:8}{row}   exponent {exponent:.2f}", flush=True)
  return results


def draw(results: dict[str, dict], path: str) -> None:
  """A panel for each quantity."""
  import matplotlib

  matplotlib.use("Agg")
  from matplotlib import pyplot

  figure, panels = pyplot.subplots(1, len(results), figsize=(9, 3), sharey=True)
  for panel, (quantity, result) in zip(panels, results.items(), strict=True):
    panel.loglog(result["values"], result["seconds"], "o-")
    panel.set_title(f"exponent {result['exponent']:.2f}")
    panel.set_xlabel(quantity)
    panel.set_xticks(result["values"], [str(value) for value in result["values"]])
    panel.minorticks_off()
    panel.grid(alpha=0.3)
  panels[0].set_ylabel("seconds a step")
  figure.tight_layout()
  figure.savefig(path, dpi=80)


def main() -> None:
  """Measures, prints, draws."""
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="bfloat16")
  parser.add_argument("--repeat", type=int, default=3)
  parser.add_argument("--json", help="file for the results")
  parser.add_argument("--picture", help="file for the picture, .png or .svg")
  args = parser.parse_args()
  if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
  results = measure(args.dtype, args.repeat)
  if args.json:
    pathlib.Path(args.json).write_text(json.dumps(results, indent=1) + "\n")
  if args.picture:
    draw(results, args.picture)


if __name__ == "__main__":
  main()
