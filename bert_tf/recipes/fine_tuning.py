"""GLUE, CLUE, SQuAD and CoNLL-2003 (BERT paper, sections 4 and 5.3)."""

from __future__ import annotations

from collections.abc import Mapping

from bert_tf.recipes.recipe import Recipe, step
from bert_tf.tasks.benchmarks.clue import CLUE
from bert_tf.tasks.benchmarks.contract import BenchmarkTask
from bert_tf.tasks.benchmarks.glue import GLUE

_PAPER = "https://arxiv.org/abs/1810.04805"
_HOURS = "paper, section 3: at most 1 hour on a Cloud TPU, or a few hours on a GPU"
_UNKNOWN = "none published that we know of with these files and flags"

# BERT-base, test set, by the site of GLUE; table 1 of the paper.
_GLUE_TEST = {
  "cola": "Matthews 52.1",
  "sst-2": "accuracy 93.5",
  "mrpc": "F1 88.9",
  "sts-b": "Spearman 85.8",
  "qqp": "F1 71.2",
  "mnli": "accuracy 84.6 matched, 83.4 mismatched",
  "qnli": "accuracy 90.5",
  "rte": "accuracy 66.4",
}
# BERT-base, test set: the README of CLUE.
_CLUE_TEST = {
  "afqmc": "accuracy 73.70",
  "tnews": "accuracy 56.58",
  "iflytek": "accuracy 60.29",
  "cmnli": "accuracy 79.69",
  "csl": "accuracy 80.36",
}


def _classifier(
  task: BenchmarkTask, paper: str, expected: Mapping[str, str], source: str, flags: Mapping
) -> Recipe:
  known = task.task_name in expected
  files = ", ".join(task.files.values())
  return Recipe(
    name=task.task_name,
    title=f"{task.name} with BERT-base",
    steps=(
      step(
        "run_classifier",
        task_name=task.task_name,
        data_dir=f"$data/{task.directory}",
        init_checkpoint="$bert",
        output_dir="$output",
        do_train=True,
        do_eval=True,
        do_predict=True,
        **flags,
      ),
    ),
    data=f"{files} in $data/{task.directory}",
    paper=paper,
    expected=f"{expected[task.task_name]} on the test set" if known else _UNKNOWN,
    source=source if known else "-",
    cost=_HOURS,
  )


# The paper takes the best of 5e-5, 4e-5, 3e-5 and 2e-5 on the dev set, with a batch of 32 and three
# epochs; 2e-5 is what the original's README takes.
_GLUE_FLAGS = {
  "max_seq_length": 128, "train_batch_size": 32, "learning_rate": 2e-5, "num_train_epochs": 3.0
}  # fmt: skip

_SQUAD = {
  "init_checkpoint": "$bert", "output_dir": "$output", "do_train": True, "do_predict": True,
  "learning_rate": 3e-5, "num_train_epochs": 2.0, "max_seq_length": 384, "doc_stride": 128,
}  # fmt: skip

_README = "README of google-research/bert"

RECIPES = (
  *(
    _classifier(task, f"{_PAPER}, section 4.1", _GLUE_TEST, "table 1 of the paper", _GLUE_FLAGS)
    for task in GLUE.tasks
    if not task.weights_of
  ),
  *(
    _classifier(
      task, "https://arxiv.org/abs/2004.05986", _CLUE_TEST, "README of CLUE, BERT-base", task.flags
    )
    for task in CLUE.tasks
  ),
  Recipe(
    name="squad-1.1",
    title="SQuAD 1.1 with BERT-base",
    steps=(
      step(
        "run_squad",
        train_file="$data/train-v1.1.json",
        predict_file="$data/dev-v1.1.json",
        train_batch_size=12,
        **_SQUAD,
      ),
    ),
    data="train-v1.1.json and dev-v1.1.json in $data",
    paper=f"{_PAPER}, section 4.2",
    expected="F1 88.4, exact match 81.2 on the dev set",
    source=_README,
    cost=_HOURS,
  ),
  Recipe(
    name="squad-2.0",
    title="SQuAD 2.0 with BERT-large",
    steps=(
      step(
        "run_squad",
        train_file="$data/train-v2.0.json",
        predict_file="$data/dev-v2.0.json",
        version_2_with_negative=True,
        train_batch_size=24,
        tokens_per_batch=3072,
        **_SQUAD,
      ),
    ),
    data="train-v2.0.json and dev-v2.0.json in $data",
    paper=f"{_PAPER}, section 4.3",
    expected="F1 81.9, exact match 78.7 on the dev set",
    source="table 3 of the paper, BERT-large, with a batch of 48 and a rate of 5e-5",
    cost=_HOURS,
  ),
  Recipe(
    name="conll-2003",
    title="Entities of CoNLL-2003 with BERT-base, cased",
    steps=(
      step(
        "run_ner",
        data_dir="$data",
        init_checkpoint="$bert",
        output_dir="$output",
        do_lower_case=False,
        do_train=True,
        do_eval=True,
        do_predict=True,
        max_seq_length=128,
        train_batch_size=32,
        learning_rate=5e-5,
        num_train_epochs=3.0,
      ),
    ),
    data="train.txt, dev.txt and test.txt in $data, as CoNLL has them",
    paper=f"{_PAPER}, section 5.3",
    expected="F1 96.4 on the dev set, 92.4 on the test set, with the document as context",
    source="table 7 of the paper",
    cost=_HOURS,
  ),
)
