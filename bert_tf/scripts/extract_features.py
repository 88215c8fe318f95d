"""Writes the vectors of every token of a text file as JSON lines.

An input line is `text` or `first text ||| second text`. See docs/squad.md.
"""

from __future__ import annotations

from absl import flags, logging

from bert_tf.scripts import training_flags
from bert_tf.scripts.option_flags import define_integer

FLAGS = flags.FLAGS

flags.DEFINE_string("input_file", None, "Text, one input a line: `text` or `text_a ||| text_b`.")
flags.DEFINE_string("output_file", None, "JSON lines, one for every line of the input.")
flags.DEFINE_string("layers", "-1,-2,-3,-4", "Which layers to write; -1 is the last, 0 the first.")
flags.DEFINE_string(
  "bert_config_file", None, "JSON file with the shape of the model; default: beside the weights."
)
define_integer("max_seq_length", 128, "Longer inputs are truncated, in pieces.", least=1)
flags.DEFINE_string("init_checkpoint", None, "The weights of the model.")
flags.DEFINE_string(
  "vocab_file", None, "The vocabulary file of the model; default: beside the weights."
)
flags.DEFINE_bool(
  "do_lower_case", True, "Lower-case the text: True for uncased models, False for cased ones."
)
define_integer("batch_size", 32, "How many lines are computed at once.", least=1)
flags.DEFINE_bool("use_tpu", False, "Compute on the TPU at --master.")
flags.DEFINE_string("master", None, "Address of a TPU, grpc://...; with --use_tpu only.")
define_integer("num_tpu_cores", 8, "Not needed any more: all cores of the TPU are found.")
flags.DEFINE_bool(
  "use_one_hot_embeddings", False, "Not needed any more: the results are the same either way."
)
flags.DEFINE_enum("dtype", "float32", ["float32", "bfloat16"], "Type of the activations.")
flags.mark_flags_as_required(["input_file", "output_file", "init_checkpoint"])


def main() -> None:
  """Extracts what the flags describe; nothing is written before everything was computed."""
  logging.set_verbosity(logging.INFO)
  import tqdm

  from bert_tf import model_dir
  from bert_tf.data.report import TokenizationReport
  from bert_tf.errors import UserError
  from bert_tf.files import atomic_writer, existing_checkpoint, refuse_overwriting
  from bert_tf.tasks.vectors import token_vectors

  existing_checkpoint(FLAGS.init_checkpoint)
  given = model_dir.Given(
    FLAGS.bert_config_file,
    FLAGS.vocab_file,
    training_flags.said("do_lower_case"),
    default_lower_case=True,
  )
  about = model_dir.describe(FLAGS.init_checkpoint, given, needs_vocabulary=True)
  read = ("input_file", "vocab_file", "bert_config_file", "init_checkpoint")
  inputs = {f"--{name}": [FLAGS[name].value] for name in read}
  inputs["the vocabulary"] = [about.vocab_file]
  refuse_overwriting({"--output_file": [FLAGS.output_file]}, inputs)
  config, tokenizer = about.config, about.full_tokenizer()
  layers = token_vectors.parse_layers(FLAGS.layers, config.num_hidden_layers)
  config.check_sequence_length(FLAGS.max_seq_length)
  if FLAGS.batch_size < 1:
    raise UserError(f"--batch_size: expected at least 1, found {FLAGS.batch_size}")
  # A first pass counts the lines for the progress bar, and refuses a bad file early.
  num_lines = sum(1 for _ in token_vectors.read_examples(FLAGS.input_file))
  report = TokenizationReport()
  features = token_vectors.convert_examples_to_features(
    token_vectors.read_examples(FLAGS.input_file), tokenizer, FLAGS.max_seq_length, report
  )

  with atomic_writer(FLAGS.output_file) as file:
    from bert_tf.training.options import DTYPES, DeviceOptions
    from bert_tf.training.strategy import create_strategy

    devices = DeviceOptions("tpu", tpu_name=FLAGS.master) if FLAGS.use_tpu else DeviceOptions()
    encode = token_vectors.create_encode(
      config, FLAGS.init_checkpoint, layers, DTYPES[FLAGS.dtype], create_strategy(devices)
    )
    lines = token_vectors.extract(features, encode, layers, FLAGS.batch_size, FLAGS.max_seq_length)
    for line in tqdm.tqdm(lines, total=num_lines, unit=" lines", disable=None):
      file.write(line + "\n")
  report.log(FLAGS.input_file, "lines", f"--max_seq_length={FLAGS.max_seq_length}")
  logging.info("Wrote %d lines to %s", num_lines, FLAGS.output_file)
