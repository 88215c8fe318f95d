"""Pretrains BERT with masked LM and next sentence prediction, and evaluates it."""

from __future__ import annotations

from absl import flags, logging

from bert_tf.model_dir import weight_files
from bert_tf.scripts import training_flags
from bert_tf.scripts.option_flags import define_float, define_integer

FLAGS = flags.FLAGS

training_flags.define_model_flags()
flags.DEFINE_string(
  "input_file", None, "TFRecords made by create_pretraining_data.py: globs or a comma list."
)
flags.DEFINE_string(
  "eval_input_file", None, "TFRecords to evaluate on; default: those of --input_file."
)
define_integer(
  "max_seq_length", 128, "Length of the sequences; must be that of the records.", least=1
)
define_integer(
  "max_predictions_per_seq", 20, "Masked words per sequence; must be that of the records.", least=1
)
flags.DEFINE_list(
  "input_weights",
  [],
  "How much each part of --input_file between commas counts: of '--input_file=wiki-*,books-*"
  " --input_weights=3,1' a quarter of all examples are books, whatever the sizes. Default: parts"
  " count by their number of records.",
)
flags.DEFINE_bool("do_train", False, "Whether to train.")
flags.DEFINE_bool("do_eval", False, "Whether to evaluate.")
define_integer("eval_batch_size", 8, "Examples in a batch of the evaluation.", least=1)
define_integer("num_train_steps", 100000, "Number of training steps.", least=1)
define_integer("num_warmup_steps", 10000, "Number of warmup steps.")
define_integer("max_eval_steps", 100, "Number of batches to evaluate on.", least=1)
flags.DEFINE_bool(
  "dynamic_masking",
  False,
  "Draw the masks anew whenever a sequence is read; serves records of create_pretraining_data.py"
  " with or without --dynamic_masking. Needs --vocab_file.",
)
flags.DEFINE_string(
  "vocab_file", None, "The vocabulary; checked, and kept beside the weights for later use."
)
flags.DEFINE_bool(
  "do_lower_case",
  None,
  "Whether the text of the records was lower-cased, kept beside the weights for later use; default:"
  " as beside --init_checkpoint, or else as the vocabulary has it.",
)
define_float("masked_lm_prob", 0.15, "Share of the words to mask, with --dynamic_masking.", most=1)
flags.DEFINE_bool("do_whole_word_mask", False, "Mask whole words, with --dynamic_masking.")
define_integer("max_ngram", 1, "Mask runs of up to so many words, with --dynamic_masking.", least=1)
flags.DEFINE_bool(
  "pack_sequences",
  False,
  "Lay several short sequences of a training batch into one row; they do not see each other. The"
  " loss and the gradient stay the same, with less padding to compute.",
)
training_flags.define_training_flags()
training_flags.define_device_flags()
flags.adopt_module_key_flags(training_flags)
flags.mark_flag_as_required("input_file")


def main() -> None:
  """Checks the input, then trains, evaluates and exports."""
  from bert_tf.tasks.pretraining import run as pretraining_run

  run = pretraining_run.PretrainingFlags(
    bert_config_file=FLAGS.bert_config_file,
    input_file=FLAGS.input_file,
    eval_input_file=FLAGS.eval_input_file,
    max_seq_length=FLAGS.max_seq_length,
    max_predictions_per_seq=FLAGS.max_predictions_per_seq,
    do_train=FLAGS.do_train,
    do_eval=FLAGS.do_eval,
    eval_batch_size=FLAGS.eval_batch_size,
    max_eval_steps=FLAGS.max_eval_steps,
    allow_missing=tuple(FLAGS.allow_missing),
    vocab_file=FLAGS.vocab_file,
    do_lower_case=training_flags.said("do_lower_case"),
    dynamic_masking=FLAGS.dynamic_masking,
    masked_lm_prob=FLAGS.masked_lm_prob,
    do_whole_word_mask=FLAGS.do_whole_word_mask,
    max_ngram=FLAGS.max_ngram,
    pack_sequences=FLAGS.pack_sequences,
    input_weights=tuple(FLAGS.input_weights),
  )
  devices = training_flags.device_options()
  training = training_flags.training_options(FLAGS.num_train_steps, FLAGS.num_warmup_steps)
  exporter = training_flags.exporter(pretraining_run.describe(run, training))
  pretraining_run.run(run, training, devices)
  if exporter and not FLAGS.dry_run:
    weights = weight_files.newest(FLAGS.output_dir, bool(FLAGS.eval_steps), FLAGS.init_checkpoint)
    logging.info("Exported to %s", exporter.export(weights))
