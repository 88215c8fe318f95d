"""Fine-tunes BERT on SQuAD 1.1 or 2.0, CMRC or DRCD, predicts answers and scores them.

See docs/squad.md.
"""

from __future__ import annotations

import functools

from absl import flags

from bert_tf.scripts import fine_tuning_flags, training_flags
from bert_tf.scripts.option_flags import define_float, define_integer
from bert_tf.tasks.squad import named_sets
from bert_tf.tasks.squad.data import SquadData, SquadOptions
from bert_tf.tasks.squad.scores import METRICS
from bert_tf.tasks.squad.training_answers import TRAIN_ANSWERS

FLAGS = flags.FLAGS

fine_tuning_flags.define("Longest window of question and context, in pieces.", 384)
flags.DEFINE_string("train_file", None, "SQuAD JSON to train on, such as train-v1.1.json.")
flags.DEFINE_string(
  "predict_file", None, "SQuAD JSON to answer, such as dev-v1.1.json; scored if it has answers."
)
flags.DEFINE_string(
  "task_name",
  None,
  "cmrc2018 or drcd: --train_file and --predict_file are those of the set in --data_dir.",
)
flags.DEFINE_string("data_dir", None, "Directory with the files of --task_name.")
define_integer(
  "doc_stride", 128, "How many pieces apart the windows over a long context start.", least=1
)
define_integer("max_query_length", 64, "Longer questions are truncated, in pieces.", least=0)
define_integer(
  "n_best_size", 20, "How many answers to write to nbest_predictions.json per question.", least=1
)
define_integer("max_answer_length", 30, "Longest answer, in pieces.", least=1)
flags.DEFINE_bool(
  "verbose_logging", False, "Log why predictions cannot be mapped to the original text."
)
flags.DEFINE_bool(
  "version_2_with_negative", False, "SQuAD 2.0: some questions have no answer in the context."
)
define_float(
  "null_score_diff_threshold",
  0.0,
  "Answer with nothing if its score exceeds that of the best answer by more than this (SQuAD 2.0).",
  least=-1e18,
)
flags.DEFINE_bool(
  "dynamic_padding",
  False,
  "Predict faster by padding windows to the longest in their batch instead of max_seq_length."
  " Answers are the same or better: positions of padding no longer take places among the"
  " n_best_size candidates.",
)
flags.DEFINE_bool(
  "answer_offsets",
  None,
  "Take answers out of the context by the characters that their pieces come from, and learn them"
  " where answer_start says, rather than look for their letters among words. Default: in contexts"
  " written without spaces between words, such as Chinese and Thai.",
)
flags.DEFINE_enum(
  "train_answers",
  None,
  TRAIN_ANSWERS,
  "What to learn of a question that has several answers. Default: the first where answers are taken"
  " by offsets; otherwise several are refused.",
)
flags.DEFINE_enum(
  "metric",
  None,
  METRICS,
  "Scores: squad, or cmrc, those of CMRC 2018 and DRCD, by characters. Default: cmrc for Chinese.",
)
training_flags.define_training_flags()
training_flags.define_device_flags()
flags.adopt_module_key_flags(training_flags)
flags.adopt_module_key_flags(fine_tuning_flags)


# What the weights were used with goes before the default.
_SETTINGS = (
  "doc_stride", "max_query_length", "n_best_size", "max_answer_length", "version_2_with_negative",
  "null_score_diff_threshold", "answer_offsets",
)  # fmt: skip


def main() -> None:
  """Checks the input, then trains, predicts and exports."""
  train_file, predict_file = FLAGS.train_file, FLAGS.predict_file
  if FLAGS.task_name:
    train, dev = named_sets.files_of(FLAGS.task_name, FLAGS.data_dir)
    train_file, predict_file = train_file or train, predict_file or dev
  task = SquadOptions(
    train_file,
    predict_file,
    verbose_logging=FLAGS.verbose_logging,
    dynamic_padding=FLAGS.dynamic_padding,
    train_answers=FLAGS.train_answers,
    metric=FLAGS.metric,
    **{name: training_flags.said(name) for name in _SETTINGS},
  )
  # Positions of padding, which may take places among the n best, are there or not as in
  # predictions.json.
  fine_tuning_flags.run(functools.partial(SquadData, task), static_length=not FLAGS.dynamic_padding)
