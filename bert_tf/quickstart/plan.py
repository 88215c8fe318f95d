"""The quickstart's steps: where everything goes and with which flags."""

from __future__ import annotations

import dataclasses
import os
import shlex
import shutil
import sys
from collections.abc import Sequence

from bert_tf.config import BertConfig
from bert_tf.quickstart.size import Scale
from bert_tf.quickstart.steps import Step

EVAL_BATCH_SIZE = 32
# The index holds the checksums of all weights.
WEIGHTS = "model.ckpt-*.index"

# Written for this purpose: none of them is in the standard library.
UNSEEN_SENTENCES = (
  "Open a connection to the mail server and send the message to every recipient.",
  "Wait until all worker threads have released the lock.",
  "Draw a button with a blue label in the middle of the window.",
  "Return the square root of a number, rounded to the given precision.",
  "Copy the directory and everything in it to another disk.",
  "Show where each test failed and print the source line of the error.",
)
MASKED_SENTENCES = (
  "Return a [MASK] of all the items in the list.",
  "If the file does not exist, an exception is [MASK].",
  "The first [MASK] is the name of the module.",
)

_CLASSIFY = '''\
"""Classifies sentences with an exported model: needs TensorFlow, and no bert_tf."""

import json
import sys
from collections.abc import Sequence

import tensorflow as tf
import tensorflow_text  # Registers the operations of the tokenizer.

export_dir, *sentences = sys.argv[1:]
model = tf.saved_model.load(export_dir)
answers = model.signatures["serving_default"](text=tf.constant(sentences))
for sentence, label, probabilities in zip(
  sentences, answers["label"].numpy(), answers["probabilities"].numpy()
):
  answer = {"text": sentence, "label": label.decode(), "probability": float(max(probabilities))}
  print(json.dumps(answer))
assert not any(name.split(".")[0] == "bert_tf" for name in sys.modules)
'''


@dataclasses.dataclass(frozen=True)
class Layout:
  """Where everything lies below the output directory."""

  output_dir: str

  def path(self, *parts: str) -> str:
    """A path below the output directory."""
    return os.path.join(self.output_dir, *parts)

  @property
  def vocab_file(self) -> str:
    """The vocabulary."""
    return self.path("vocab.txt")

  @property
  def config_file(self) -> str:
    """The architecture."""
    return self.path("bert_config.json")

  @property
  def classify_script(self) -> str:
    """The program that classifies without this package."""
    return self.path("classify.py")


def config_json(scale: Scale) -> str:
  """The model's architecture as JSON."""
  return BertConfig(
    vocab_size=scale.vocab_size,
    hidden_size=scale.hidden_size,
    num_hidden_layers=scale.num_hidden_layers,
    num_attention_heads=scale.num_attention_heads,
    intermediate_size=4 * scale.hidden_size,
    max_position_embeddings=scale.classifier_seq_length,
    type_vocab_size=2,
    # So little training never comes to the point of overfitting that dropout is for.
    hidden_dropout_prob=0.0,
    attention_probs_dropout_prob=0.0,
  ).to_json_string()


def classify_source() -> str:
  """The text of `Layout.classify_script`."""
  return _CLASSIFY


def steps(layout: Layout, scale: Scale, seed: int) -> list[Step]:
  """All steps in order; config and classify script are written already."""
  train_text, held_out_text = (layout.path("text", f"{name}.txt") for name in ("train", "held_out"))
  return [
    Step(
      "text",
      "Collect English text from the standard library",
      (*python("-m", "bert_tf.quickstart.collect"), f"--output_dir={layout.output_dir}"),
      inputs=(),
      outputs=(layout.path("text"), layout.path("task")),
    ),
    Step(
      "vocabulary",
      "Learn a WordPiece vocabulary",
      (
        *command("learn-vocab"),
        f"--input_file={train_text}",
        f"--output_file={layout.vocab_file}",
        f"--vocab_size={scale.vocab_size}",
      ),
      inputs=(train_text,),
      outputs=(layout.vocab_file,),
    ),
    records("train", train_text, layout, scale, seed, scale.dupe_factor),
    records("held_out", held_out_text, layout, scale, seed, 1),
    pretraining(layout, scale, seed),
    *_classifiers(layout, scale, seed),
    _export(layout, scale),
    _classify(layout),
    fill_mask(layout, scale, MASKED_SENTENCES),
  ]


def records(
  name: str,
  text: str,
  layout: Layout,
  scale: Scale,
  seed: int,
  dupe_factor: int,
  more: Sequence[str] = (),
) -> Step:
  """Pretraining data from a text; `more` flags come last."""
  output = layout.path("records", f"{name}.tfrecord")
  return Step(
    f"records_{name}",
    f"Create pretraining data ({name.replace('_', ' ')} documents)",
    (
      *command("pretraining-data"),
      f"--input_file={text}",
      f"--output_file={output}",
      f"--vocab_file={layout.vocab_file}",
      f"--max_seq_length={scale.max_seq_length}",
      f"--max_predictions_per_seq={scale.max_predictions_per_seq}",
      f"--dupe_factor={dupe_factor}",
      f"--random_seed={seed}",
      *more,
    ),
    inputs=(text, layout.vocab_file),
    outputs=(output,),
    quiet=True,
  )


def pretraining(layout: Layout, scale: Scale, seed: int, more: Sequence[str] = ()) -> Step:
  """Pretraining on the records; `more` flags come last."""
  train, held_out = (layout.path("records", f"{name}.tfrecord") for name in ("train", "held_out"))
  return Step(
    "pretraining",
    "Pretrain with masked LM and next sentence prediction; evaluate on held-out documents",
    (
      *command("pretrain"),
      f"--input_file={train}",
      f"--eval_input_file={held_out}",
      f"--bert_config_file={layout.config_file}",
      f"--output_dir={layout.path('pretraining')}",
      "--do_train",
      "--do_eval",
      f"--max_seq_length={scale.max_seq_length}",
      f"--max_predictions_per_seq={scale.max_predictions_per_seq}",
      f"--train_batch_size={scale.train_batch_size}",
      f"--num_train_steps={scale.num_train_steps}",
      f"--num_warmup_steps={scale.num_warmup_steps}",
      f"--learning_rate={scale.learning_rate}",
      *_time_limit(scale.seconds),
      f"--eval_steps={scale.eval_steps}",
      f"--eval_batch_size={EVAL_BATCH_SIZE}",
      f"--max_eval_steps={scale.eval_batches}",
      f"--save_checkpoints_steps={scale.save_checkpoints_steps}",
      "--keep_checkpoint_max=1",
      f"--log_steps={scale.log_steps}",
      f"--seed={seed}",
      *more,
    ),
    inputs=(train, held_out, layout.config_file),
    outputs=(layout.path("pretraining"),),
    resumes=True,
  )


def exported_classifier(layout: Layout, scale: Scale) -> str:
  """The directory of the run whose model is exported."""
  return layout.path("classifier_longer" if scale.longer_epochs else "classifier_pretrained")


def _classifiers(layout: Layout, scale: Scale, seed: int) -> list[Step]:
  """From pretrained and from random weights with the same budget, and one that trains longer."""
  rate = scale.classifier_learning_rate
  budget = [f"--num_train_epochs={scale.classifier_epochs:g}", f"--learning_rate={rate}"]
  start = [f"--init_checkpoint={layout.path('pretraining')}"]
  task = "Fine-tune on the areas of the standard library, from"
  steps = [
    _classifier("pretrained", f"{task} pretrained weights", [*start, *budget], layout, scale, seed),
    _classifier("random", f"{task} random weights", budget, layout, scale, seed),
  ]
  if scale.longer_epochs:
    rate = scale.longer_learning_rate
    budget = [f"--num_train_epochs={scale.longer_epochs:g}", f"--learning_rate={rate}"]
    title = f"{task} pretrained weights, for longer"
    steps.append(_classifier("longer", title, [*start, *budget], layout, scale, seed))
  return steps


def _classifier(
  name: str, title: str, flags: Sequence[str], layout: Layout, scale: Scale, seed: int
) -> Step:
  output_dir = layout.path(f"classifier_{name}")
  pretrained = any(flag.startswith("--init_checkpoint") for flag in flags)
  return Step(
    f"classifier_{name}",
    title,
    (
      *command("classify"),
      "--task_name=table",
      f"--data_dir={layout.path('task')}",
      "--label_column=area",
      f"--bert_config_file={layout.config_file}",
      f"--vocab_file={layout.vocab_file}",
      *flags,
      f"--output_dir={output_dir}",
      "--do_train",
      "--do_eval",
      f"--max_seq_length={scale.classifier_seq_length}",
      f"--train_batch_size={scale.classifier_batch_size}",
      *_time_limit(scale.classifier_seconds),
      f"--eval_steps={scale.classifier_eval_steps}",
      f"--eval_batch_size={EVAL_BATCH_SIZE}",
      "--keep_checkpoint_max=1",
      "--log_steps=20",
      f"--seed={seed}",
    ),
    inputs=(
      *(layout.path("task", f"{split}.tsv") for split in ("train", "dev")),
      layout.config_file,
      layout.vocab_file,
      *([layout.path("pretraining", WEIGHTS)] if pretrained else []),
    ),
    outputs=(output_dir,),
    resumes=True,
  )


def _export(layout: Layout, scale: Scale) -> Step:
  classifier_dir = exported_classifier(layout, scale)
  labels_file, export_dir = layout.path("task", "labels.txt"), layout.path("export", "area")
  return Step(
    "export",
    "Export the classifier as a SavedModel that takes raw strings",
    (
      *command("export"),
      "--task=classification",
      f"--init_checkpoint={classifier_dir}",
      f"--bert_config_file={layout.config_file}",
      f"--vocab_file={layout.vocab_file}",
      f"--labels_file={labels_file}",
      f"--max_seq_length={scale.classifier_seq_length}",
      f"--export_dir={export_dir}",
      "--version=1",
      *([] if scale.check_export else ["--nocheck"]),
    ),
    inputs=(os.path.join(classifier_dir, WEIGHTS), layout.vocab_file, labels_file),
    outputs=(export_dir,),
    quiet=True,
  )


def _classify(layout: Layout) -> Step:
  model, answers = layout.path("export", "area", "1"), layout.path("answers", "areas.jsonl")
  return Step(
    "classify",
    "Classify sentences that were never seen, in a process without bert_tf",
    (*python(_short(layout.classify_script)), model, *UNSEEN_SENTENCES),
    inputs=(layout.classify_script, os.path.join(model, "variables", "*")),
    outputs=(answers,),
    answers=answers,
    needs_package=False,
  )


def fill_mask(layout: Layout, scale: Scale, sentences: Sequence[str]) -> Step:
  """Asks the pretrained model for the masked words of sentences."""
  model, answers = layout.path("pretraining"), layout.path("answers", "masks.jsonl")
  return Step(
    "fill_mask",
    "Fill in masked words",
    (
      *command("fill-mask"),
      f"--vocab_file={layout.vocab_file}",
      f"--max_seq_length={scale.max_seq_length}",
      "--top_k=3",
      model,
      *sentences,
    ),
    inputs=(os.path.join(model, WEIGHTS), layout.vocab_file),
    outputs=(answers,),
    answers=answers,
  )


def _time_limit(seconds: float) -> list[str]:
  return [f"--total_training_time={seconds:g}"] if seconds else []


def python(*arguments: str) -> tuple[str, ...]:
  """How a program in Python is started."""
  return (_short(sys.executable), *arguments)


def command(name: str) -> tuple[str, ...]:
  """How a command of this package is started."""
  return python("-m", "bert_tf", name)


def program() -> str:
  """How the user starts a command of this package from the current directory."""
  console = shutil.which("bert-tf")
  if console and os.path.dirname(console) == os.path.dirname(sys.executable):
    return "bert-tf"
  return shlex.join(command("")[:-1])


def _short(path: str) -> str:
  """Relative to the current directory where that is below it."""
  relative = os.path.relpath(path)
  return path if relative.startswith("..") else relative
