"""`bert-tf quickstart --corpus FILE`: the same life on a text of the user's own, in any language.

There are no labels in a text, so no classifier: what is exported is the pretrained model, which
fills gaps. The first step is `python -m bert_tf.quickstart.own_text --corpus=FILE
--output_dir=DIR`.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Mapping, Sequence

from bert_tf import script
from bert_tf.data.documents import read_lines
from bert_tf.errors import UserError
from bert_tf.quickstart import plan, report, results
from bert_tf.quickstart.corpus import Document, write_documents
from bert_tf.quickstart.plan import Layout, command
from bert_tf.quickstart.size import Scale
from bert_tf.quickstart.steps import Cost, Step
from bert_tf.tokenization.basic import is_punctuation
from bert_tf.tokenization.writing_systems import MUCH_ERASED, count_unspaced, erased_share

# A line may be a paragraph. Sentences end with marks of their script, and with what closes them.
_ENDS = re.compile(r"([。！？]+[”’」』）]*|[.!?।۔]+[\"'”’)]*(?=\s))\s*")
_FEWEST_SENTENCES = 200
_FEWEST_DOCUMENTS = 20
# Where there are no blank lines to tell documents apart.
_SENTENCES_OF_DOCUMENT = 20
_EVERY = 10
_MASK = "[MASK]"
_SHORTEST, _LONGEST = 12, 80


def read(path: str) -> list[Document]:
  """The documents of a text: what blank lines part, or where these are few, 20 sentences each.

  Raises:
    UserError: it cannot be read, or is too short.
  """
  documents: list[list[str]] = [[]]
  for line in read_lines(path):
    if line:
      documents[-1] += sentences(line)
    elif documents[-1]:
      documents.append([])
  documents = [document for document in documents if document]
  everything = [sentence for document in documents for sentence in document]
  if len(everything) < _FEWEST_SENTENCES:
    raise UserError(
      f"{path}: expected at least {_FEWEST_SENTENCES} sentences, found {len(everything)}; give a"
      " longer text"
    )
  if len(documents) < _FEWEST_DOCUMENTS:
    size = min(_SENTENCES_OF_DOCUMENT, len(everything) // _FEWEST_DOCUMENTS)
    documents = [everything[i : i + size] for i in range(0, len(everything), size)]
  return [Document(str(number), tuple(found)) for number, found in enumerate(documents)]


def sentences(line: str) -> list[str]:
  """The sentences of a line, by the marks that end them."""
  return [part.strip() for part in _ENDS.sub(r"\1\n", line).split("\n") if part.strip()]


def split(documents: Sequence[Document]) -> tuple[list[Document], list[Document]]:
  """Documents to train on, and every tenth, to measure with."""
  held_out = list(documents[_EVERY - 1 :: _EVERY])
  train = [each for number, each in enumerate(documents) if (number + 1) % _EVERY]
  return train, held_out


def masked_sentences(documents: Sequence[Document], count: int = 3) -> tuple[str, ...]:
  """Sentences of held-out documents, each with a gap in the middle: a word, or an ideograph."""
  found = []
  for document in split(documents)[1]:
    fitting = (s for s in document.sentences if _SHORTEST <= len(s) <= _LONGEST and _MASK not in s)
    masked = next(filter(None, map(_masked, fitting)), None)
    if masked:
      found.append(masked)
    if len(found) == count:
      break
  return tuple(found)


def _masked(sentence: str) -> str | None:
  """The sentence with its middle word as a gap; None if there is no word."""
  words = [match.span() for match in re.finditer(r"\S+", sentence)]
  if count_unspaced(sentence) > len(sentence) / 2:
    words = [(i, i + 1) for i in range(len(sentence))]
  words = [(a, b) for a, b in words if not any(map(is_punctuation, sentence[a:b].strip()))]
  words = [(a, b) for a, b in words if sentence[a:b].strip()]
  if not words:
    return None
  start, end = words[len(words) // 2]
  return f"{sentence[:start]}{_MASK}{sentence[end:]}"


def steps(corpus: str, layout: Layout, scale: Scale, seed: int) -> list[Step]:
  """All steps in order; the config is written already."""
  documents = read(corpus)
  # As learn-vocab decides by default.
  share = erased_share(s for document in documents for s in document.sentences)
  lower = share <= MUCH_ERASED
  case = f"--do_lower_case={lower}"
  train, held_out = (layout.path("text", f"{name}.txt") for name in ("train", "held_out"))
  export_dir = layout.path("export", "masks")
  return [
    Step(
      "text",
      "Part the text into sentences, and keep a tenth of the documents to measure with",
      (
        *plan.python("-m", "bert_tf.quickstart.own_text"),
        f"--corpus={corpus}",
        f"--output_dir={layout.output_dir}",
      ),
      inputs=(os.path.abspath(corpus),),
      outputs=(layout.path("text"),),
    ),
    Step(
      "vocabulary",
      "Learn a WordPiece vocabulary",
      (
        *command("learn-vocab"),
        f"--input_file={train}",
        f"--output_file={layout.vocab_file}",
        f"--vocab_size={scale.vocab_size}",
        "--do_lower_case" if lower else "--no-do_lower_case",
      ),
      inputs=(train,),
      outputs=(layout.vocab_file,),
    ),
    plan.records("train", train, layout, scale, seed, scale.dupe_factor, [case]),
    plan.records("held_out", held_out, layout, scale, seed, 1, [case]),
    plan.pretraining(layout, scale, seed, [f"--vocab_file={layout.vocab_file}", case]),
    Step(
      "export",
      "Export the pretrained model as a SavedModel that takes raw strings",
      (
        *command("export"),
        "--task=pretraining",
        f"--init_checkpoint={layout.path('pretraining')}",
        f"--max_seq_length={scale.max_seq_length}",
        f"--export_dir={export_dir}",
        "--version=1",
        *([] if scale.check_export else ["--nocheck"]),
      ),
      inputs=(layout.path("pretraining", plan.WEIGHTS), layout.vocab_file),
      outputs=(export_dir,),
      quiet=True,
    ),
    plan.fill_mask(layout, scale, masked_sentences(documents)),
  ]


def summary(costs: Mapping[str, Cost], layout: Layout, scale: Scale) -> str:
  """What was achieved, what it took and where it is, as text."""
  found = results.read_eval_results(layout.path("pretraining", "eval_results.txt"))
  baselines = results.pretraining_baselines(
    layout.path("records", "held_out.tfrecord"),
    layout.vocab_file,
    scale.eval_batches * plan.EVAL_BATCH_SIZE,
  )
  lines = [f"{'accuracy':36}{'model':>8}{'baseline':>10}   the baseline always answers"]
  for name, baseline in zip(("masked_lm", "next_sentence"), baselines, strict=True):
    title = f"{name.replace('_', ' ')}, held-out documents"
    accuracy = report.percent(found[f"{name}_accuracy"])
    lines.append(
      f"{title:36}{accuracy:>8}{report.percent(baseline.accuracy):>10}   {baseline.answer}"
    )
  masks = results.json_lines(layout.path("answers", "masks.jsonl"))
  files = [
    f"{layout.path('pretraining')}: the pretrained model",
    f"{layout.path('export', 'masks')}: the same for TensorFlow Serving",
  ]
  return "\n".join(
    [*lines, "", *report.masked_words(masks), "", *report.cost_table(costs), "", *files]
  )


def next_steps(layout: Layout, scale: Scale) -> str:
  """The command line for labels of the user's own."""
  return f"""\
Your own labels, in my_task/train.tsv and my_task/dev.tsv with columns text and label:
  {plan.program()} classify --task_name=table --data_dir=my_task --do_train --do_eval \\
    --init_checkpoint={layout.path("pretraining")} --output_dir={layout.path("my_classifier")} \\
    --max_seq_length={scale.classifier_seq_length} --learning_rate={scale.longer_learning_rate}"""


def collect(corpus: str, output_dir: str) -> None:
  """Writes `text/train.txt` and `text/held_out.txt`, one sentence a line."""
  for name, documents in zip(("train", "held_out"), split(read(corpus)), strict=True):
    path = os.path.join(output_dir, "text", f"{name}.txt")
    write_documents(documents, path)
    count = sum(len(document.sentences) for document in documents)
    print(f"{path}: {len(documents)} documents, {count:,} sentences")


def main() -> None:
  """Reads the flags and collects."""
  parser = argparse.ArgumentParser(
    prog="python -m bert_tf.quickstart.own_text", description=__doc__.split("\n")[0]
  )
  parser.add_argument("--corpus", required=True, help="the text")
  parser.add_argument("--output_dir", required=True, help="where its parts go")
  args = parser.parse_args()
  collect(args.corpus, args.output_dir)


if __name__ == "__main__":
  script.call(main)
