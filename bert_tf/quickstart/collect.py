"""`python -m bert_tf.quickstart.collect --output_dir=DIR`: the quickstart's text and task."""

from __future__ import annotations

import argparse
import collections
import os
from collections.abc import Sequence

from bert_tf import script
from bert_tf.files import atomic_writer
from bert_tf.quickstart import areas, corpus


def collect(output_dir: str) -> None:
  """Writes `text/train.txt`, `text/held_out.txt` and `task/{train,dev}.tsv`, `task/labels.txt`.

  The modules of the dev set are among the held-out documents, so that no stage has seen them.

  Raises:
    UserError: this Python has no source files, or too few for the task.
  """
  modules = corpus.standard_library()
  examples = areas.examples(modules)
  dev_modules = areas.dev_modules(examples)
  train, held_out = corpus.split(corpus.documents(modules), dev_modules)
  for name, documents in (("train", train), ("held_out", held_out)):
    path = os.path.join(output_dir, "text", f"{name}.txt")
    corpus.write_documents(documents, path)
    sentences = sum(len(document.sentences) for document in documents)
    print(f"{path}: {len(documents)} documents, {sentences:,} sentences, {_megabytes(path)}")
  for name, wanted in (("train", False), ("dev", True)):
    chosen = [each for each in examples if (each.module in dev_modules) == wanted]
    path = os.path.join(output_dir, "task", f"{name}.tsv")
    areas.write_examples(chosen, path)
    print(f"{path}: {_counts(chosen)}")
  with atomic_writer(os.path.join(output_dir, "task", "labels.txt")) as file:
    file.writelines(f"{label}\n" for label in sorted({each.area for each in examples}))


def _megabytes(path: str) -> str:
  return f"{os.path.getsize(path) / 1e6:.2f} MB"


def _counts(examples: Sequence[areas.Example]) -> str:
  sizes = collections.Counter(each.area for each in examples).most_common()
  modules = len({each.module for each in examples})
  listed = ", ".join(f"{area} {count}" for area, count in sizes)
  return f"{len(examples)} examples of {modules} modules ({listed})"


def main() -> None:
  """Reads the flag and collects."""
  parser = argparse.ArgumentParser(prog="python -m bert_tf.quickstart.collect", description=__doc__)
  parser.add_argument("--output_dir", required=True, help="where the text goes")
  collect(parser.parse_args().output_dir)


if __name__ == "__main__":
  script.call(main)
