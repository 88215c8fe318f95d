"""Fine-tunes BERT on sentences or pairs: labels, several labels, or numbers.

Tasks: cola, mnli, mrpc and xnli as in the original, and `table` for any TSV, CSV or JSON-lines
file. See docs/classification.md.
"""

from __future__ import annotations

from absl import flags, logging

from bert_tf.scripts import training_flags
from bert_tf.tasks.classification import run
from bert_tf.tasks.classification.processors import TableOptions
from bert_tf.training.options import DeviceOptions

FLAGS = flags.FLAGS

training_flags.define_model_flags()
flags.DEFINE_string("data_dir", None, "Directory with the files of the task.")
flags.DEFINE_string("task_name", None, "cola, mnli, mrpc, xnli, or table for any table.")
training_flags.define_examples_flags("Longer texts are truncated to so many pieces.")
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
flags.DEFINE_string("label_column", "label", "The column of labels.")
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
flags.DEFINE_string("train_file", None, "A table to train on; default: train.* in --data_dir.")
flags.DEFINE_string("dev_file", None, "A table to evaluate on; default: dev.* in --data_dir.")
flags.DEFINE_string("test_file", None, "A table to predict; default: test.* in --data_dir.")
training_flags.define_training_flags()
training_flags.define_device_flags()
flags.adopt_module_key_flags(training_flags)
flags.mark_flags_as_required(["data_dir", "task_name"])


def _runner(devices: DeviceOptions) -> run.ClassifierRunner:
  return run.ClassifierRunner(
    run.ClassifierRun(
      data_dir=FLAGS.data_dir,
      task_name=FLAGS.task_name,
      xnli_language=FLAGS.xnli_language,
      **training_flags.examples_options(devices),
      table=TableOptions(
        text_column=FLAGS.text_column,
        text_pair_column=FLAGS.text_pair_column,
        label_column=FLAGS.label_column,
        id_column=FLAGS.id_column,
        labels=tuple(FLAGS.labels),
        label_separator=FLAGS.label_separator,
        task_type=FLAGS.task_type,
        header=FLAGS.header,
        files={
          split: path
          for split in ("train", "dev", "test")
          if (path := FLAGS[f"{split}_file"].value)
        },
      ),
    )
  )


def main() -> None:
  """Checks the input, then trains, evaluates, predicts and exports."""
  logging.set_verbosity(logging.INFO)
  training_flags.find_model_files("bert_config_file", "vocab_file", "do_lower_case")
  devices = training_flags.device_options()
  runner = _runner(devices)
  exporter = training_flags.exporter(
    runner.task_type,
    do_lower_case=FLAGS.do_lower_case,
    labels=runner.labels,
    pairs=runner.takes_pairs,
  )
  if not training_flags.fine_tune(runner, devices):
    return
  if FLAGS.do_eval:
    runner.evaluate(devices)
  if FLAGS.do_predict:
    runner.predict(devices)
  training_flags.export(exporter)
