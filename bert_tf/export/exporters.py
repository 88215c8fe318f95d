"""From a checkpoint to a SavedModel that takes raw text and needs nothing of this package."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence

import keras

from bert_tf import checkpoints, heads, modeling, names
from bert_tf.config import BertConfig
from bert_tf.errors import UserError
from bert_tf.export import bundle, card, lite, python_pipeline, samples
from bert_tf.export.graphs import text as modules
from bert_tf.export.graphs.encoder import EncoderModule
from bert_tf.export.graphs.frozen_model import DTYPES
from bert_tf.export.graphs.pretraining import PretrainingModule
from bert_tf.export.graphs.question import QuestionModule
from bert_tf.export.graphs.tokens import TokenClassifierModule
from bert_tf.export.options import (
  ExportOptions,
  QuestionOptions,
  TextOptions,
  check_labels,
  signature_lengths,
)
from bert_tf.files import atomic_writer
from bert_tf.tokenization import load_vocab, require_special_tokens

__all__ = [
  "ExportOptions",
  "QuestionOptions",
  "TextOptions",
  "export_classifier",
  "export_encoder",
  "export_pretraining",
  "export_question_answering",
  "export_token_classifier",
]

_CLASSIFIERS = {
  "classification": modules.ClassifierModule,
  "multilabel": modules.MultiLabelModule,
  "regression": modules.RegressionModule,
}

# The prefix, file or directory of a checkpoint, or a model that holds the weights.
Checkpoint = str | os.PathLike[str] | keras.Model


def export_classifier(
  checkpoint: Checkpoint,
  config: BertConfig,
  text: TextOptions,
  labels: Sequence[str],
  options: ExportOptions,
  task: str = "classification",
  pairs: bool = False,
) -> str:
  """Exports a classifier or a regression model as `<export_dir>/<version>`.

  Signatures: `serving_default` and `pairs` take strings, `tensors` ids, `examples` serialized
  tf.Examples, `tokenize` shows what text becomes. See `modules` for the outputs.

  Args:
    checkpoint: prefix, file or directory of a checkpoint, or a `ClassifierModel`.
    config: the model's architecture.
    text: how the model was trained to read text.
    labels: names of the outputs in their order; empty for regression.
    options: where and how to write.
    task: "classification" (one label), "multilabel" (a sigmoid for each) or "regression".
    pairs: whether the model was trained on two texts; `serving_default` then takes both.

  Returns:
    The directory of the version.

  Raises:
    UserError: bad input, an unwritable directory, or an export that fails its check; nothing is
      left behind.
  """
  if task not in _CLASSIFIERS:
    raise UserError(f"expected a task of {', '.join(_CLASSIFIERS)}, found {task!r}")
  check_labels(labels, task)
  _check(text, config, options)
  num_outputs = len(labels) or 1
  model = build(
    lambda policy: heads.ClassifierModel(config, num_outputs, policy), checkpoint, options.dtype
  )
  module = _CLASSIFIERS[task](model, text, *([labels] if labels else []))
  checked = samples.classifier(model, text, task, labels, pairs)
  return _write(module, checked, {"task": task, "pairs": pairs}, options, labels)


def export_token_classifier(
  checkpoint: Checkpoint,
  config: BertConfig,
  text: TextOptions,
  labels: Sequence[str],
  options: ExportOptions,
) -> str:
  """Exports a `TokenClassifierModel`; arguments, result and errors as of `export_classifier`.

  `serving_default` answers with entities and their places in the text, see
  `TokenClassifierModule.answers_to_text`.
  """
  check_labels(labels, "tokens")
  _check(text, config, options)
  model = build(
    lambda policy: heads.TokenClassifierModel(config, len(labels), policy),
    checkpoint,
    options.dtype,
    names.POOLER,
  )
  module = TokenClassifierModule(model, text, labels)
  checked = samples.token_classifier(model, text, module)
  return _write(module, checked, {"task": "tokens", "pairs": False}, options, labels)


def export_question_answering(
  checkpoint: Checkpoint,
  config: BertConfig,
  text: TextOptions,
  question: QuestionOptions,
  options: ExportOptions,
) -> str:
  """Exports a `SpanModel`; arguments, result and errors as of `export_classifier`.

  `serving_default` takes `question` and `context`, of any length, and answers with parts of the
  context, see `QuestionModule.answer_questions`.
  """
  _check(text, config, options)
  question.check(text.max_seq_length)
  model = build(
    lambda policy: heads.SpanModel(config, policy), checkpoint, options.dtype, names.POOLER
  )
  module = QuestionModule(
    model, text, question.doc_stride, question.max_query_length, question.prediction
  )
  checked = samples.question_answering(
    model, text, question.doc_stride, question.max_query_length, question.prediction
  )
  return _write(
    module,
    checked,
    {"task": "question_answering", "pairs": False, **dataclasses.asdict(question)},
    options,
  )


def export_pretraining(
  checkpoint: Checkpoint,
  config: BertConfig,
  text: TextOptions,
  options: ExportOptions,
  top_k: int = 10,
) -> str:
  """Exports a `PretrainingModel`: `fill_mask` (the default) and `next_sentence`.

  Args as of `export_classifier`; `top_k`, how many words to give for every mask.
  """
  if options.lite:
    raise UserError("expected no --lite, which has no form for masks; leave it out")
  if top_k < 1:
    raise UserError(f"expected --top_k of at least 1, found {top_k}")
  _check(text, config, options)
  model = build(lambda policy: heads.PretrainingModel(config, policy), checkpoint, options.dtype)
  top_k = min(top_k, config.vocab_size)
  module = PretrainingModule(model, text, top_k)
  checked = samples.pretraining(model, text, top_k)
  return _write(module, checked, {"task": "pretraining", "pairs": False, "top_k": top_k}, options)


def export_encoder(
  checkpoint: Checkpoint,
  config: BertConfig,
  text: TextOptions,
  options: ExportOptions,
  layers: Sequence[int] = (-1,),
  pairs: bool = False,
) -> str:
  """Exports a `BertModel`: `embed` (the default) and `token_vectors`.

  Args as of `export_classifier`; `layers`, whose vectors `token_vectors` gives, -1 for the last.
  """
  count = config.num_hidden_layers
  if not layers or any(not -count <= layer < count for layer in layers):
    raise UserError(
      f"expected --layers from {-count} to {count - 1}, as the model has, found {list(layers)}"
    )
  _check(text, config, options)
  model = build(lambda policy: modeling.BertModel(config, policy), checkpoint, options.dtype)
  module = EncoderModule(model, text, layers)
  checked = samples.encoder(model, text, pairs)
  checked["embed"] = checked["serving_default"]
  facts = {"task": "encoder", "pairs": pairs, "layers": list(layers)}
  return _write(module, checked, facts, options)


def _check(text: TextOptions, config: BertConfig, options: ExportOptions) -> None:
  """Refuses before any long work what would be refused at its end."""
  options.check_possible()
  check_text(text, config)


def check_text(text: TextOptions, config: BertConfig) -> None:
  """Raises UserError where text options, vocabulary and model do not fit together."""
  text.check(config)
  vocabulary = load_vocab(text.vocab_file)
  require_special_tokens(vocabulary, path=text.vocab_file)
  config.check_vocabulary_size(len(vocabulary), text.vocab_file)


def build(
  make: Callable[[str], keras.Model],
  checkpoint: Checkpoint,
  dtype: str,
  unused: Sequence[str] = (),
) -> keras.Model:
  """Makes a model of the wanted type and reads its weights, from a file or another model.

  Args: `unused`, names of weights that no answer depends on: they may be missing.
  """
  if dtype not in DTYPES:
    raise UserError(f"expected --dtype to be one of {', '.join(DTYPES)}, found {dtype!r}")
  model = make(DTYPES[dtype])
  if isinstance(checkpoint, keras.Model):
    for ours, given in zip(model.variables, checkpoint.variables, strict=True):
      ours.assign(given)
  else:
    checkpoints.load(model, os.fspath(checkpoint), unused)
  return model


def _write(
  module: modules.TextModule,
  checked: samples.Samples,
  facts: Mapping[str, object],
  options: ExportOptions,
  labels: Sequence[str] = (),
) -> str:
  """Writes the bundle with the text files that say what it is."""
  text = dataclasses.asdict(module.text)
  del text["vocab_file"]
  tokenizer = module.tokenizer
  described = {
    **text,
    **facts,
    "dtype": options.dtype,
    "checked": options.check,
    "required_ops": list(tokenizer.required_ops),
  }
  assets = {
    "bert_config.json": module.config.to_json_string(),
    "vocab.txt": "".join(f"{token}\n" for token in tokenizer.vocab),
    "tokenizer_config.json": bundle.to_json({"do_lower_case": module.text.do_lower_case}),
    "serving.json": bundle.to_json(described),
  }
  if labels:
    assets["labels.txt"] = "".join(f"{label}\n" for label in labels)
  signatures = module.signatures(bool(facts["pairs"]))
  assets[bundle.CARD_FILE] = card.model_card(described, module.config, labels, signatures)

  def finish(saved: str) -> None:
    if options.lite:
      _write_lite(module, os.path.join(saved, "lite"), options)

  return bundle.write(module, signatures, assets, checked, options, finish)


def _write_lite(module: modules.TextModule, directory: str, options: ExportOptions) -> None:
  """Writes LiteRT files and what was measured of them."""
  longest = module.text.max_seq_length
  lengths = signature_lengths(options.lite_lengths, longest)
  text = dataclasses.replace(module.text, static_length=True)
  features = python_pipeline.features(*zip(*samples.TEXTS, strict=True), text)
  reports = lite.export_lite(module, directory, features, options.lite, lengths)
  with atomic_writer(os.path.join(directory, "README.md")) as file:
    file.write(
      "# LiteRT\n\nEvery file has a signature `length_N` for sequences of N tokens, to be padded"
      f" to it: {', '.join(map(str, lengths))}. All of them use the same weights.\n\n"
      "Measured by the LiteRT runtime on one thread of the exporting machine:\n\n"
      "| file | MiB | largest difference from the model's outputs |"
      f"{''.join(f' ms for {length} tokens |' for length in lengths)}\n"
      f"|{'---|' * (3 + len(lengths))}\n"
    )
    file.writelines(
      f"| {os.path.basename(report.path)} | {report.size / 2**20:.1f} | {report.difference:.2g} |"
      f"{''.join(f' {report.milliseconds[length]:.1f} |' for length in lengths)}\n"
      for report in reports
    )
