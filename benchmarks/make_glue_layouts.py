"""Makes tests/golden/glue/layouts.json: what transformers reads of the files of GLUE.

The files are written here, with GLUE's columns and texts of our own. Run it where transformers 4 is
installed, whose processors (transformers.data.processors.glue) version 5 has no more:

  python benchmarks/make_glue_layouts.py
"""

from __future__ import annotations

import json
import pathlib
import tempfile

TEXTS = [
  ("The sea rises twice a day.", "Twice a day the sea rises."),
  ('He said "so.', 'And "so" he did.'),
  ("A  double space, and a tab's place.", "C'est déjà vu."),
]
PARSES = ["b1", "b2", "p1", "p2"]
_PARSED = ["sentence1_binary_parse", "sentence2_binary_parse", "sentence1_parse", "sentence2_parse"]
MNLI = ["index", "promptID", "pairID", "genre", *_PARSED, "sentence1", "sentence2"]
STSB = ["index", "genre", "filename", "year", "old_index", "source1", "source2"]
NLI = ["contradiction", "entailment", "neutral"]
ENTAILMENT = ["not_entailment", "entailment", "entailment"]
PAIR = ["index", "sentence1", "sentence2"]


def rows(labels, row, test_row):
  """Train and test rows of all texts."""
  texts = [(n, a, b, label) for n, ((a, b), label) in enumerate(zip(TEXTS, labels, strict=True))]
  return [row(*text) for text in texts], [test_row(*text[:3]) for text in texts]


def tables():
  """Task -> (names in train and dev, in test; rows of these)."""
  binary = ["1", "0", "1"]
  pair = lambda n, a, b, label: [str(n), a, b, label]  # noqa: E731
  pair_test = lambda n, a, b: [str(n), a, b]  # noqa: E731
  return {
    "sst-2": (
      ["sentence", "label"], ["index", "sentence"],
      *rows(binary, lambda n, a, b, y: [a, y], lambda n, a, b: [str(n), a]),
    ),
    "rte": ([*PAIR, "label"], PAIR, *rows(ENTAILMENT, pair, pair_test)),
    "wnli": ([*PAIR, "label"], PAIR, *rows(binary, pair, pair_test)),
    "qnli": (
      ["index", "question", "sentence", "label"], ["index", "question", "sentence"],
      *rows(ENTAILMENT, pair, pair_test),
    ),
    "qqp": (
      ["id", "qid1", "qid2", "question1", "question2", "is_duplicate"],
      ["id", "question1", "question2"],
      *rows(binary, lambda n, a, b, y: [str(n), "7", "8", a, b, y], pair_test),
    ),
    "sts-b": (
      [*STSB, "sentence1", "sentence2", "score"], [*STSB, "sentence1", "sentence2"],
      *rows(
        ["5.000", "0.250", "3.8"],
        lambda n, a, b, y: [str(n), "g", "f", "2012", "0001", "s", "t", a, b, y],
        lambda n, a, b: [str(n), "g", "f", "2012", "0001", "s", "t", a, b],
      ),
    ),
    "mnli-mm": (
      [*MNLI, "label1", "gold_label"], MNLI,
      *rows(
        NLI,
        lambda n, a, b, y: [str(n), "1", "1e", "slate", *PARSES, a, b, "neutral", y],
        lambda n, a, b: [str(n), "1", "1e", "slate", *PARSES, a, b],
      ),
    ),
  }  # fmt: skip


def tsv(names, found):
  """The text of a file."""
  return "".join("\t".join(row) + "\n" for row in [names, *found])


def main():
  """Writes the file."""
  from transformers.data.processors.glue import glue_processors

  golden = {}
  for task, (names, test_names, train, test) in tables().items():
    suffix = "_mismatched" if task == "mnli-mm" else ""
    files = {
      "train.tsv": tsv(names, train),
      f"dev{suffix}.tsv": tsv(names, train[::-1]),
      f"test{suffix}.tsv": tsv(test_names, test),
    }
    processor = glue_processors[task]()
    with tempfile.TemporaryDirectory() as directory:
      for name, text in files.items():
        (pathlib.Path(directory) / name).write_text(text, encoding="utf-8")
      read = {
        split: getattr(processor, f"get_{split}_examples")(directory)
        for split in ("train", "dev", "test")
      }
    golden[task] = {
      "files": files,
      "labels": [label for label in processor.get_labels() if label is not None],
      **{s: [[e.text_a, e.text_b, e.label] for e in examples] for s, examples in read.items()},
    }
  path = pathlib.Path(__file__).parent.parent / "tests" / "golden" / "glue" / "layouts.json"
  path.write_text(json.dumps(golden, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
  main()
