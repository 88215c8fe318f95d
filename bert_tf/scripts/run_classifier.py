"""Fine-tunes BERT on sentences or pairs: labels, several labels, or numbers.

Tasks: cola, mnli, mrpc and xnli as in the original, the rest of GLUE (sst-2, sts-b, qqp, qnli, rte,
wnli, mnli-mm, ax) and snli, CLUE's (afqmc, tnews, iflytek, cmnli, ocnli, wsc, csl), chnsenticorp,
lcqmc and bq, and `table` for any TSV, CSV or JSON-lines file. See docs/classification.md.
"""

from __future__ import annotations

import functools

from absl import flags

from bert_tf.scripts import fine_tuning_flags, training_flags
from bert_tf.scripts.option_flags import define_integer
from bert_tf.tasks.classification import registry
from bert_tf.tasks.classification.data import ClassificationData, ClassificationOptions
from bert_tf.tasks.classification.processors import TableOptions

FLAGS = flags.FLAGS
# What is read of long texts: fields of `LongText`.
_LONG_TEXT = ("long_text", "pooling", "doc_stride", "max_windows")

fine_tuning_flags.define("Longer texts are truncated to so many pieces.")
fine_tuning_flags.define_evaluation()
flags.DEFINE_string(
  "data_dir", None, "Directory with the files of the task; a table needs none if all are named."
)
flags.DEFINE_string(
  "task_name",
  None,
  "cola, mnli, mrpc, xnli, sst-2, sts-b, qqp, qnli, rte, wnli, mnli-mm, ax, snli, afqmc,"
  " tnews, iflytek, cmnli, ocnli, wsc, csl, chnsenticorp, lcqmc, bq, table for any table, or what"
  " --task_file registers.",
)
flags.DEFINE_string(
  "task_file",
  None,
  "A Python file that registers a task of your own, such as a DataProcessor written for"
  " google-research/bert; see docs/classification.md.",
)
flags.DEFINE_string("xnli_language", "zh", "The language of the task xnli, as its files call it.")
flags.DEFINE_enum(
  "task_type",
  "classification",
  ["classification", "regression", "multilabel"],
  "What a table's label column holds.",
)
flags.DEFINE_string(
  "text_column",
  "text",
  "A table's column of texts: its name, or its number from 0; 'sentence,3': by name where a file"
  " has it, by number elsewhere.",
)
flags.DEFINE_string("text_pair_column", None, "The column of second texts, of pairs.")
flags.DEFINE_string(
  "label_column",
  "label",
  "The column of labels; with --task_type=multilabel also one column of 0 and 1 for each label,"
  " their names between commas.",
)
flags.DEFINE_string(
  "id_column", None, "The column that names examples in predictions.jsonl; default: line numbers."
)
flags.DEFINE_list(
  "labels", [], "A table's labels in the order of their ids; default: those in the training data."
)
flags.DEFINE_string("label_separator", ",", "Between the labels of a multi-label example.")
flags.DEFINE_bool(
  "header",
  None,
  "Whether a table's first row names the columns; default: it does if it names a wanted one.",
)
flags.DEFINE_enum(
  "long_text",
  "first",
  ["first", "head_tail", "windows"],
  "What is read of a text longer than --max_seq_length: its beginning; its first quarter and its"
  " end; or all of it, in windows whose vectors become one.",
)
flags.DEFINE_enum(
  "pooling",
  "mean",
  ["mean", "max", "attention"],
  "How the vectors of --long_text=windows become that of the text.",
)
define_integer(
  "doc_stride",
  None,
  "How many pieces a window of --long_text=windows starts after the one before; default: half a"
  " window.",
  least=1,
)
define_integer(
  "max_windows",
  32,
  "How many windows of a text are read with --long_text=windows; what is beyond is cut off.",
  least=1,
)
flags.DEFINE_string(
  "class_weights",
  None,
  "How much the examples of each label count in training: balanced, all labels alike in all; or"
  " label:weight between commas, 1 for others.",
)
flags.DEFINE_enum(
  "choose_threshold",
  None,
  ["f1", "accuracy", "matthews"],
  "Find with --do_eval the probability from which the second of two labels, or each of several, is"
  " given so that this score of the dev set is best; it is kept with the weights.",
)
flags.DEFINE_bool(
  "standardize_labels",
  None,
  "Learn the numbers of a regression in deviations from their mean; they are predicted as they are."
  " Default: where fresh weights would not get to them, above 10 or within 0.05 of each other.",
)
flags.DEFINE_string("train_file", None, "A table to train on; default: train.* in --data_dir.")
flags.DEFINE_string("dev_file", None, "A table to evaluate on; default: dev.* in --data_dir.")
flags.DEFINE_string("test_file", None, "A table to predict; default: test.* in --data_dir.")
training_flags.define_training_flags()
training_flags.define_device_flags()
flags.adopt_module_key_flags(training_flags)
flags.adopt_module_key_flags(fine_tuning_flags)
flags.mark_flags_as_required(["task_name"])


def main(data: type[ClassificationData] = ClassificationData) -> None:
  """Checks the input, then trains, evaluates, predicts and exports.

  Args: `data`, with another head or other results.
  """
  if FLAGS.task_file:
    registry.load(FLAGS.task_file)
  table = TableOptions(
    text_column=FLAGS.text_column,
    text_pair_column=FLAGS.text_pair_column,
    label_column=FLAGS.label_column,
    id_column=FLAGS.id_column,
    labels=tuple(FLAGS.labels),
    label_separator=FLAGS.label_separator,
    task_type=training_flags.said("task_type"),
    header=FLAGS.header,
    files=fine_tuning_flags.files_of_splits(),
  )
  long_text = {name: training_flags.said(name) for name in _LONG_TEXT}
  task = ClassificationOptions(
    FLAGS.task_name,
    FLAGS.data_dir,
    FLAGS.xnli_language,
    table,
    long_text=long_text,
    class_weights=FLAGS.class_weights,
    choose_threshold=FLAGS.choose_threshold,
    standardize_labels=FLAGS.standardize_labels,
  )
  fine_tuning_flags.run(functools.partial(data, task))
