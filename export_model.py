"""Exports a checkpoint as a SavedModel that takes raw text. See docs/serving.md."""

from __future__ import annotations

from absl import flags

from bert_tf import script
from bert_tf.errors import UserError
from bert_tf.files import existing_file
from bert_tf.serving import trained

FLAGS = flags.FLAGS

_TASKS = (
  "classification", "multilabel", "regression", "tokens", "question_answering", "pretraining",
  "encoder",
)  # fmt: skip

flags.DEFINE_enum("task", None, _TASKS, "What the model was trained for.")
flags.DEFINE_string(
  "init_checkpoint", None, "The weights: a checkpoint's prefix or directory, or Hugging Face's."
)
flags.DEFINE_string(
  "bert_config_file", None, "Configuration of the model; default: the one beside the weights."
)
flags.DEFINE_string("vocab_file", None, "Vocabulary; default: the one beside the weights.")
flags.DEFINE_string("export_dir", None, "Directory to write the version into.")
flags.DEFINE_integer("version", None, "Number of the version; default: the time in seconds.")
flags.DEFINE_bool(
  "do_lower_case", True, "Lower-case the text: True for uncased models, False for cased ones."
)
flags.DEFINE_integer(
  "max_seq_length",
  None,
  "Longest sequence in tokens, longer text is cut off; default: that of the training that wrote"
  " the checkpoint, or 128.",
)
flags.DEFINE_list(
  "labels", [], "Names of the outputs in their order; default: the ones beside the weights."
)
flags.DEFINE_string("labels_file", None, "The same, one name a line.")
flags.DEFINE_bool("pairs", False, "Whether the model was trained on pairs of texts.")
flags.DEFINE_integer("doc_stride", 128, "As of run_squad.py (task question_answering).")
flags.DEFINE_integer("max_query_length", 64, "As of run_squad.py.")
flags.DEFINE_integer("n_best_size", 20, "As of run_squad.py.")
flags.DEFINE_integer("max_answer_length", 30, "As of run_squad.py.")
flags.DEFINE_bool("version_2_with_negative", False, "As of run_squad.py.")
flags.DEFINE_float("null_score_diff_threshold", 0.0, "As of run_squad.py.")
flags.DEFINE_integer("top_k", 10, "Words to give for every mask (task pretraining).")
flags.DEFINE_list("layers", ["-1"], "Layers to give vectors of, -1 for the last (task encoder).")
flags.DEFINE_enum("dtype", "float32", ["float32", "bfloat16"], "Type of the matrix products.")
flags.DEFINE_bool(
  "static_length", False, "Pad every batch to max_seq_length, for devices that need one shape."
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
flags.DEFINE_bool("check", True, "Load the export in a fresh process and compare its answers.")
flags.mark_flags_as_required(["task", "init_checkpoint", "export_dir"])


def _labels() -> list[str]:
  if not FLAGS.labels_file:
    needed = FLAGS.task in ("classification", "multilabel", "tokens")
    return FLAGS.labels or (trained.labels(FLAGS.init_checkpoint) if needed else [])
  if FLAGS.labels:
    raise UserError("expected --labels or --labels_file, found both; give one of them")
  with open(existing_file(FLAGS.labels_file, "--labels_file"), encoding="utf-8-sig") as file:
    return [line.strip() for line in file if line.strip()]


def _layers() -> list[int]:
  try:
    return [int(layer) for layer in FLAGS.layers]
  except ValueError as error:
    raise UserError(f"expected --layers as numbers, found {','.join(FLAGS.layers)}") from error


def _question_options():
  from bert_tf.serving.export import QuestionOptions
  from bert_tf.tasks.squad.predictions import PredictionOptions

  prediction = PredictionOptions(
    FLAGS.n_best_size,
    FLAGS.max_answer_length,
    FLAGS.version_2_with_negative,
    FLAGS.null_score_diff_threshold,
  )
  return QuestionOptions(FLAGS.doc_stride, FLAGS.max_query_length, prediction)


def main() -> None:
  """Checks what can be checked without TensorFlow, then exports."""
  from bert_tf.config import BertConfig
  from bert_tf.tokenization import load_vocab

  config = BertConfig.from_json_file(
    trained.config_file(FLAGS.init_checkpoint, FLAGS.bert_config_file)
  )
  vocab_file = trained.vocab_file(FLAGS.init_checkpoint, FLAGS.vocab_file)
  length = FLAGS.max_seq_length or trained.max_seq_length(FLAGS.init_checkpoint, 128)
  config.check_sequence_length(length)
  config.check_vocabulary_size(len(load_vocab(vocab_file)), vocab_file)
  labels, layers = _labels(), _layers()
  from bert_tf.serving import export

  text = export.TextOptions(
    vocab_file,
    FLAGS.do_lower_case,
    length,
    FLAGS.static_length,
    FLAGS.text_ops,
  )
  options = export.ExportOptions(
    FLAGS.export_dir, FLAGS.version, FLAGS.dtype, FLAGS.check, tuple(FLAGS.lite)
  )
  source = FLAGS.init_checkpoint, config, text
  if FLAGS.task == "tokens":
    path = export.export_token_classifier(*source, labels, options)
  elif FLAGS.task == "question_answering":
    path = export.export_question_answering(*source, _question_options(), options)
  elif FLAGS.task == "pretraining":
    path = export.export_pretraining(*source, options, FLAGS.top_k)
  elif FLAGS.task == "encoder":
    path = export.export_encoder(*source, options, layers, FLAGS.pairs)
  else:
    path = export.export_classifier(*source, labels, options, FLAGS.task, FLAGS.pairs)
  print(path)


if __name__ == "__main__":
  script.run(main)
