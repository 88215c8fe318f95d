"""Fine-tunes BERT to find named entities, or other labels of words. See docs/ner.md."""

from __future__ import annotations

from absl import flags, logging

from bert_tf.scripts import training_flags
from bert_tf.tasks.ner import run
from bert_tf.tasks.ner.sentences import Columns
from bert_tf.training.options import DeviceOptions

FLAGS = flags.FLAGS

training_flags.define_model_flags()
flags.DEFINE_string("data_dir", None, "Directory with files such as train.txt, dev.txt, test.txt.")
flags.DEFINE_string("train_file", None, "A file to train on; default: that in --data_dir.")
flags.DEFINE_string("dev_file", None, "A file to evaluate on; default: that in --data_dir.")
flags.DEFINE_string("test_file", None, "A file to predict; default: that in --data_dir.")
flags.DEFINE_integer("token_column", 0, "The column of words: from 0, or from -1 at the end.")
flags.DEFINE_integer("label_column", -1, "The column of tags: from 0, or from -1 at the end.")
flags.DEFINE_string(
  "labels_file",
  None,
  "All tags, one a line; default: those in the training data, or beside the weights.",
)
training_flags.define_examples_flags(
  "Longer sentences are read in windows of so many pieces; nothing is cut off."
)
flags.DEFINE_integer(
  "doc_stride", None, "How many pieces a window starts after the one before; default: half of it."
)
training_flags.define_training_flags()
training_flags.define_device_flags()
flags.adopt_module_key_flags(training_flags)


def _runner(devices: DeviceOptions) -> run.NerRunner:
  return run.NerRunner(
    run.NerRun(
      data_dir=FLAGS.data_dir,
      files={
        split: path for split in ("train", "dev", "test") if (path := FLAGS[f"{split}_file"].value)
      },
      columns=Columns(FLAGS.token_column, FLAGS.label_column),
      labels_file=FLAGS.labels_file,
      doc_stride=FLAGS.doc_stride,
      **training_flags.examples_options(devices),
    )
  )


def main() -> None:
  """Checks the input, then trains, evaluates, predicts and exports."""
  logging.set_verbosity(logging.INFO)
  training_flags.find_model_files("bert_config_file", "vocab_file", "do_lower_case")
  devices = training_flags.device_options()
  runner = _runner(devices)
  exporter = training_flags.exporter(
    "tokens", do_lower_case=FLAGS.do_lower_case, labels=runner.labels
  )
  if not training_flags.fine_tune(runner, devices):
    return
  if FLAGS.do_eval:
    runner.evaluate(devices)
  if FLAGS.do_predict:
    runner.predict(devices)
  training_flags.export(exporter)
