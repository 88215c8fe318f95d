"""Exports a checkpoint as a SavedModel that takes raw text. See docs/serving.md."""

from __future__ import annotations

from absl import flags

from bert_tf.errors import UserError
from bert_tf.export import run
from bert_tf.export.options import ExportOptions
from bert_tf.model_dir import HEADS, labels
from bert_tf.scripts import training_flags
from bert_tf.scripts.option_flags import define_float, define_integer

FLAGS = flags.FLAGS

flags.DEFINE_enum(
  "task", None, HEADS, "What the model was trained for; default: as lies beside the weights."
)
flags.DEFINE_string(
  "init_checkpoint", None, "The weights: a checkpoint's prefix or directory, or Hugging Face's."
)
flags.DEFINE_string(
  "bert_config_file", None, "Configuration of the model; default: the one beside the weights."
)
flags.DEFINE_string("vocab_file", None, "Vocabulary; default: the one beside the weights.")
flags.DEFINE_string("export_dir", None, "Directory to write the version into.")
define_integer(
  "version", None, "Number of the version; default: the time in seconds.", most=2**63 - 1
)
flags.DEFINE_bool(
  "do_lower_case",
  None,
  "Lower-case the text: True for uncased models, False for cased ones; default: as"
  " tokenizer_config.json beside the weights says, or else the vocabulary.",
)
define_integer(
  "max_seq_length",
  None,
  "Longest sequence in tokens, longer text is cut off; default: that of the training that wrote"
  " the checkpoint, or 128.",
  least=1,
)
flags.DEFINE_list(
  "labels", [], "Names of the outputs in their order; default: the ones beside the weights."
)
flags.DEFINE_string("labels_file", None, "The same, one name a line.")
flags.DEFINE_bool(
  "pairs", None, "Whether the model was trained on pairs of texts; default: as beside the weights."
)
_AS_RUN = "As of run_squad.py; default: as the weights were used, or else as there."
define_integer("doc_stride", 128, _AS_RUN, least=1)
define_integer("max_query_length", 64, _AS_RUN, least=0)
define_integer("n_best_size", 20, _AS_RUN, least=1)
define_integer("max_answer_length", 30, _AS_RUN, least=1)
flags.DEFINE_bool("version_2_with_negative", False, _AS_RUN)
define_float("null_score_diff_threshold", 0.0, _AS_RUN, least=-1e18)
flags.DEFINE_bool("answer_offsets", None, _AS_RUN)
define_integer("top_k", 10, "Words to give for every mask (task pretraining).", least=1)
flags.DEFINE_list("layers", ["-1"], "Layers to give vectors of, -1 for the last (task encoder).")
flags.DEFINE_enum("dtype", "float32", ["float32", "bfloat16"], "Type of the matrix products.")
flags.DEFINE_bool(
  "static_length",
  None,
  "Pad every batch to max_seq_length, for devices that need one shape; default: as run_squad.py"
  " padded where it used the weights, else not.",
)
flags.DEFINE_enum(
  "text_ops",
  "fast",
  ["fast", "compatible"],
  "compatible: slower, and only operations that TensorFlow Serving's images have long had.",
)
flags.DEFINE_list(
  "lite", [], "LiteRT files to write beside it: float32, float16 and int8, or some of them."
)
flags.DEFINE_list(
  "lite_lengths",
  [],
  "Lengths of sequences that the LiteRT files compute without padding to max_seq_length; default:"
  " 16, 32, 64, and so on. Each takes memory of the runtime for a copy of the encoder.",
)
flags.DEFINE_list(
  "allow_missing",
  [],
  "Names of weights, or patterns such as cls/*, that the checkpoint may lack: they stay random.",
)
flags.DEFINE_string(
  "checkpoint_prefix",
  None,
  "What stands before the names of the model in the checkpoint; default: found by itself.",
)
flags.DEFINE_bool("check", True, "Load the export in a fresh process and compare its answers.")
flags.mark_flags_as_required(["init_checkpoint", "export_dir"])


def _labels() -> tuple[str, ...]:
  if not FLAGS.labels_file:
    return tuple(FLAGS.labels)
  if FLAGS.labels:
    raise UserError("expected --labels or --labels_file, found both; give one of them")
  return tuple(labels.read_file(FLAGS.labels_file))


def _numbers(flag: str) -> tuple[int, ...]:
  values = FLAGS[flag].value
  try:
    return tuple(int(value) for value in values)
  except ValueError as error:
    raise UserError(f"expected --{flag} as numbers, found {','.join(values)}") from error


# Of run_squad.py.
_SETTINGS = (
  "doc_stride", "max_query_length", "n_best_size", "max_answer_length", "version_2_with_negative",
  "null_score_diff_threshold", "answer_offsets",
)  # fmt: skip


def main() -> None:
  """Checks what can be checked without TensorFlow, then exports."""
  runner = run.ExportRunner(
    run.ExportRun(
      task=FLAGS.task,
      init_checkpoint=FLAGS.init_checkpoint,
      options=ExportOptions(
        FLAGS.export_dir, FLAGS.version, FLAGS.check, tuple(FLAGS.lite), _numbers("lite_lengths")
      ),
      bert_config_file=FLAGS.bert_config_file,
      vocab_file=FLAGS.vocab_file,
      do_lower_case=FLAGS.do_lower_case,
      max_seq_length=FLAGS.max_seq_length,
      static_length=FLAGS.static_length,
      text_ops=FLAGS.text_ops,
      dtype=FLAGS.dtype,
      labels=_labels(),
      pairs=FLAGS.pairs,
      settings={
        name: value for name in _SETTINGS if (value := training_flags.said(name)) is not None
      },
      top_k=FLAGS.top_k,
      layers=_numbers("layers"),
      allow_missing=tuple(FLAGS.allow_missing),
      checkpoint_prefix=FLAGS.checkpoint_prefix,
    )
  )
  print(runner.export())
