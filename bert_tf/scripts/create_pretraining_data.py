"""Creates masked-LM and next-sentence TFRecords from text, one sentence a line.

Documents are apart by blank lines.  See docs/data.md.
"""

from __future__ import annotations

from absl import flags, logging

from bert_tf.data.instances import InstanceOptions
from bert_tf.errors import UserError
from bert_tf.files import refuse_overwriting
from bert_tf.scripts.option_flags import define_float, define_integer
from bert_tf.tokenization.segmenters import WordBorders

FLAGS = flags.FLAGS

flags.DEFINE_string(
  "input_file", None, "Text files: a path, a glob, or a comma-separated list; gzip if named .gz."
)
flags.DEFINE_string(
  "output_file",
  None,
  "TFRecord file, or a comma-separated list that the records are dealt to in turn; gzip if named "
  ".gz.",
)
flags.DEFINE_string("vocab_file", None, "The vocabulary file of the BERT model.")
flags.DEFINE_bool(
  "do_lower_case", True, "Lower-case the text: True for uncased models, False for cased ones."
)
flags.DEFINE_bool(
  "do_whole_word_mask", False, "Mask all pieces of a word or none, rather than single pieces."
)
flags.DEFINE_bool(
  "segmented",
  False,
  "The text has a space between any two words, of text that is written without them. Spaces beside"
  " ideographs, Kana, Thai and the like are not kept, and words can be masked as a whole.",
)
flags.DEFINE_string(
  "words_file", "", "Words of text without spaces, one a line: the longest that fits is a word."
)
flags.DEFINE_string(
  "segmenter",
  "",
  "What finds the words of text without spaces: jieba, or module:function, which takes a line and"
  " returns its words.",
)
define_integer("max_seq_length", 128, "Maximum sequence length, in pieces.", least=1)
define_integer("max_predictions_per_seq", 20, "Maximum number of masked-LM predictions.", least=1)
define_integer(
  "random_seed", 12345, "Equal seeds and inputs give equal records.", least=-(2**63), most=2**63 - 1
)
define_integer("dupe_factor", 10, "How many times to go over the input, with new masks.", least=1)
define_float("masked_lm_prob", 0.15, "Share of the pieces to predict.", most=1)
define_float("short_seq_prob", 0.1, "Share of sequences to make shorter than the maximum.", most=1)
define_integer(
  "num_workers",
  0,
  "0: the original's way, one process that holds everything in memory. Otherwise that many "
  "processes work through shards of the text with bounded memory; --output_file=dir/x.tfrecord "
  "becomes dir/x-00000-of-00008.tfrecord and so on, and a run that was stopped goes on where it "
  "was. The records do not depend on the number of workers, but differ from those of 0.",
  least=0,
  most=10000,
)
flags.DEFINE_bool("stream", False, "Bounded memory with one process: --num_workers=1.")
define_float("shard_megabytes", 4.0, "Text per shard with --num_workers or --stream.", most=1e6)
flags.DEFINE_bool(
  "dynamic_masking",
  False,
  "Write whole sequences, to be masked anew whenever they are read (run_pretraining.py "
  "--dynamic_masking). --dupe_factor is then 1 unless it is given.",
)
flags.mark_flags_as_required(["input_file", "output_file", "vocab_file"])


def main() -> None:
  """Creates the records that the flags describe."""
  logging.set_verbosity(logging.INFO)
  from bert_tf.data import in_memory_creation, input_files
  from bert_tf.data.documents import check_case
  from bert_tf.tokenization import FullTokenizer, require_special_tokens

  options = _instance_options()
  inputs = input_files.input_files(FLAGS.input_file)
  outputs = input_files.output_files(FLAGS.output_file, inputs)
  refuse_overwriting({"--output_file": outputs}, {"--vocab_file": [FLAGS.vocab_file]})
  tokenizer = FullTokenizer(FLAGS.vocab_file, FLAGS.do_lower_case)
  require_special_tokens(tokenizer.vocab, path=FLAGS.vocab_file)
  check_case(inputs, tokenizer)
  borders = _word_borders(options, inputs)
  if FLAGS.num_workers or FLAGS.stream:
    _create_shards(inputs, outputs, options, borders)
  else:
    in_memory_creation.create_pretraining_data(inputs, outputs, tokenizer, options, borders)


def _word_borders(options: InstanceOptions, inputs: list[str]) -> WordBorders:
  from bert_tf.data.documents import sample_of
  from bert_tf.data.word_borders import warn_of_unknown_borders

  borders = WordBorders(FLAGS.segmented, FLAGS.words_file, FLAGS.segmenter)
  if borders:
    borders.load()
  if borders and not borders.segmented and not options.uses_words:
    raise UserError(
      "--words_file and --segmenter have no effect without --do_whole_word_mask or"
      " --dynamic_masking; give one of these, or leave them out"
    )
  warn_of_unknown_borders(sample_of(inputs), borders, options.do_whole_word_mask)
  return borders


def _instance_options() -> InstanceOptions:
  dupe_factor = FLAGS.dupe_factor
  if FLAGS.dynamic_masking:
    if FLAGS["dupe_factor"].using_default_value:
      dupe_factor = 1
    if FLAGS.do_whole_word_mask:
      raise UserError(
        "--do_whole_word_mask has no effect with --dynamic_masking, as training draws the masks; "
        "leave it out here and give it to run_pretraining.py"
      )
  return InstanceOptions(
    max_seq_length=FLAGS.max_seq_length,
    max_predictions_per_seq=FLAGS.max_predictions_per_seq,
    random_seed=FLAGS.random_seed,
    dupe_factor=dupe_factor,
    masked_lm_prob=FLAGS.masked_lm_prob,
    short_seq_prob=FLAGS.short_seq_prob,
    do_whole_word_mask=FLAGS.do_whole_word_mask,
    dynamic_masking=FLAGS.dynamic_masking,
  )


def _create_shards(
  input_files: list[str], output_files: list[str], options: InstanceOptions, borders: WordBorders
) -> None:
  from bert_tf.data import sharded_creation

  if len(output_files) > 1:
    raise UserError(
      f"--output_file: expected one name with --num_workers or --stream, found "
      f"{len(output_files)}; it is numbered by itself"
    )
  shard_bytes = int(FLAGS.shard_megabytes * (1 << 20))
  sharded_creation.create_shards(
    input_files,
    output_files[0],
    sharded_creation.Job(
      FLAGS.vocab_file, FLAGS.do_lower_case, options, min(shard_bytes, 4 << 20), borders
    ),
    sharded_creation.ScaleOptions(FLAGS.num_workers or 1, shard_bytes),
  )
