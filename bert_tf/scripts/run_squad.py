"""Fine-tunes BERT on SQuAD 1.1 or 2.0, predicts answers and scores them. See docs/squad.md."""

from __future__ import annotations

from absl import flags, logging

from bert_tf.scripts import training_flags

FLAGS = flags.FLAGS

training_flags.define_model_flags()
flags.DEFINE_string(
  "vocab_file", None, "The vocabulary file of the model; default: beside the weights."
)
flags.DEFINE_string("train_file", None, "SQuAD JSON to train on, such as train-v1.1.json.")
flags.DEFINE_string(
  "predict_file", None, "SQuAD JSON to answer, such as dev-v1.1.json; scored if it has answers."
)
flags.DEFINE_bool(
  "do_lower_case", True, "Lower-case the text: True for uncased models, False for cased ones."
)
flags.DEFINE_integer("max_seq_length", 384, "Longest window of question and context, in pieces.")
flags.DEFINE_integer(
  "doc_stride", 128, "How many pieces apart the windows over a long context start."
)
flags.DEFINE_integer("max_query_length", 64, "Longer questions are truncated, in pieces.")
flags.DEFINE_bool("do_train", False, "Whether to train.")
flags.DEFINE_bool("do_predict", False, "Whether to answer the questions of --predict_file.")
flags.DEFINE_integer("predict_batch_size", 8, "Windows in a batch of the prediction.")
flags.DEFINE_float("num_train_epochs", 3.0, "How often to go over the training questions.")
flags.DEFINE_float("warmup_proportion", 0.1, "Share of the training steps to warm up in.")
flags.DEFINE_integer(
  "n_best_size", 20, "How many answers to write to nbest_predictions.json per question."
)
flags.DEFINE_integer("max_answer_length", 30, "Longest answer, in pieces.")
flags.DEFINE_bool(
  "verbose_logging", False, "Log why predictions cannot be mapped to the original text."
)
flags.DEFINE_bool(
  "version_2_with_negative", False, "SQuAD 2.0: some questions have no answer in the context."
)
flags.DEFINE_float(
  "null_score_diff_threshold",
  0.0,
  "Answer with nothing if its score exceeds that of the best answer by more than this (SQuAD 2.0).",
)
flags.DEFINE_bool(
  "dynamic_padding",
  False,
  "Predict faster by padding windows to the longest in their batch instead of max_seq_length."
  " Answers are the same or better: positions of padding no longer take places among the"
  " n_best_size candidates.",
)
training_flags.define_training_flags()
training_flags.define_device_flags()
flags.adopt_module_key_flags(training_flags)


def main() -> None:
  """Checks the input, then trains, predicts and exports."""
  logging.set_verbosity(logging.INFO)
  training_flags.find_model_files("bert_config_file", "vocab_file", "do_lower_case")
  from bert_tf.export.options import QuestionOptions
  from bert_tf.tasks.squad import run
  from bert_tf.tasks.squad.predictions import PredictionOptions

  prediction = PredictionOptions(
    n_best_size=FLAGS.n_best_size,
    max_answer_length=FLAGS.max_answer_length,
    version_2_with_negative=FLAGS.version_2_with_negative,
    null_score_diff_threshold=FLAGS.null_score_diff_threshold,
    verbose_logging=FLAGS.verbose_logging,
  )
  runner = run.SquadRunner(
    run.SquadRun(
      bert_config_file=FLAGS.bert_config_file,
      vocab_file=FLAGS.vocab_file,
      output_dir=FLAGS.output_dir,
      train_file=FLAGS.train_file,
      predict_file=FLAGS.predict_file,
      init_checkpoint=FLAGS.init_checkpoint,
      do_lower_case=FLAGS.do_lower_case,
      max_seq_length=FLAGS.max_seq_length,
      doc_stride=FLAGS.doc_stride,
      max_query_length=FLAGS.max_query_length,
      do_train=FLAGS.do_train,
      do_predict=FLAGS.do_predict,
      predict_batch_size=FLAGS.predict_batch_size,
      dynamic_padding=FLAGS.dynamic_padding,
      allow_missing=tuple(FLAGS.allow_missing),
      prediction=prediction,
    )
  )
  exporter = training_flags.exporter(
    "question_answering",
    do_lower_case=FLAGS.do_lower_case,
    question=QuestionOptions(FLAGS.doc_stride, FLAGS.max_query_length, prediction),
    # Positions of padding, which may take places among the n best, are there or not as in
    # predictions.json.
    static_length=not FLAGS.dynamic_padding,
  )
  devices = training_flags.device_options()
  if not training_flags.fine_tune(runner, devices):
    return
  if FLAGS.do_predict:
    runner.predict(devices)
  training_flags.export(exporter)
