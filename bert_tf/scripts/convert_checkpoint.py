"""Rewrites the weights of a BERT in another format and proves that they compute the same.

Reads and writes TensorFlow 1, Hugging Face, TensorFlow Model Garden and KerasHub. See
docs/checkpoints.md.
"""

from __future__ import annotations

from absl import flags

from bert_tf.model_dir import HEADS, Given

FLAGS = flags.FLAGS

flags.DEFINE_string(
  "input",
  None,
  "The weights: the prefix of a TensorFlow checkpoint, a weight file, a directory with either, or"
  " hf://organisation/name[@revision].",
)
flags.DEFINE_string("output", None, "The directory to write; it must be new or empty.")
flags.DEFINE_enum(
  "to", None, ["tf1", "huggingface", "model_garden", "keras_hub"], "The format to write."
)
flags.DEFINE_string("bert_config_file", None, "The config; default: the one beside --input.")
flags.DEFINE_string("vocab_file", None, "The vocabulary; default: the one beside --input.")
flags.DEFINE_bool(
  "do_lower_case", None, "Whether text is lower-cased; default: as --input says, or its vocabulary."
)
flags.DEFINE_list("labels", None, "The names of the classes, in order, for Hugging Face.")
flags.DEFINE_enum(
  "task", None, HEADS, "What the model was trained for; default: as lies beside --input."
)
flags.DEFINE_string(
  "checkpoint_prefix",
  None,
  "What stands before the names of the model in --input, such as module/ or student.; default:"
  " found by itself where there is one model.",
)
flags.mark_flags_as_required(["input", "output", "to"])


def main() -> None:
  """Converts, and prints the largest difference of each output."""
  from bert_tf import checkpoints
  from bert_tf.files import existing_file

  for path in (FLAGS.bert_config_file, FLAGS.vocab_file):
    if path:
      existing_file(
        path, "--bert_config_file" if path == FLAGS.bert_config_file else "--vocab_file"
      )
  given = Given(
    FLAGS.bert_config_file, FLAGS.vocab_file, FLAGS.do_lower_case, FLAGS.labels, FLAGS.task
  )
  about = checkpoints.describe(FLAGS.input, given)
  print(checkpoints.convert(FLAGS.input, FLAGS.output, FLAGS.to, about, FLAGS.checkpoint_prefix))
