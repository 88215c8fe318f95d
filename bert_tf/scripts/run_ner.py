"""Fine-tunes BERT to find named entities, or other labels of words. See docs/ner.md."""

from __future__ import annotations

import functools

from absl import flags

from bert_tf.scripts import fine_tuning_flags, training_flags
from bert_tf.scripts.option_flags import define_integer
from bert_tf.tasks.ner.data import NerData, NerOptions
from bert_tf.tasks.ner.sentences import Columns

FLAGS = flags.FLAGS

fine_tuning_flags.define(
  "Longer sentences are read in windows of so many pieces; nothing is cut off."
)
fine_tuning_flags.define_evaluation()
flags.DEFINE_string("data_dir", None, "Directory with files such as train.txt, dev.txt, test.txt.")
flags.DEFINE_string("train_file", None, "A file to train on; default: that in --data_dir.")
flags.DEFINE_string("dev_file", None, "A file to evaluate on; default: that in --data_dir.")
flags.DEFINE_string("test_file", None, "A file to predict; default: that in --data_dir.")
define_integer(
  "token_column", 0, "The column of words: from 0, or from -1 at the end.", least=-1000, most=1000
)
define_integer(
  "label_column", -1, "The column of tags: from 0, or from -1 at the end.", least=-1000, most=1000
)
flags.DEFINE_string(
  "labels_file",
  None,
  "All tags, one a line; default: those in the training data, or beside the weights.",
)
define_integer(
  "doc_stride",
  None,
  "How many pieces a window starts after the one before; default: half of it.",
  least=1,
)
training_flags.define_training_flags()
training_flags.define_device_flags()
flags.adopt_module_key_flags(training_flags)
flags.adopt_module_key_flags(fine_tuning_flags)


def main() -> None:
  """Checks the input, then trains, evaluates, predicts and exports."""
  task = NerOptions(
    FLAGS.data_dir,
    fine_tuning_flags.files_of_splits(),
    Columns(FLAGS.token_column, FLAGS.label_column),
    FLAGS.labels_file,
    FLAGS.doc_stride,
  )
  fine_tuning_flags.run(functools.partial(NerData, task))
