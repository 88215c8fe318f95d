"""Opens a model directory: reads what lies beside the weights, and builds what these are of."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from absl import logging

from bert_tf import script
from bert_tf.errors import UserError
from bert_tf.files import existing_checkpoint
from bert_tf.model_dir import Description, Given, describe, head_kinds, label_scale
from bert_tf.tasks.long_text import LongText
from bert_tf.trained_model.model import TrainedModel

if TYPE_CHECKING:
  import keras

Shapes = Mapping[str, tuple[int, ...]]
# In the order of what to take them for; the last one where there is a single output.
_ON_OUTPUT_WEIGHTS = (
  head_kinds.CLASSIFICATION, head_kinds.MULTILABEL, head_kinds.TOKENS, head_kinds.REGRESSION,
)  # fmt: skip


def load(
  path: str | os.PathLike[str],
  *,
  bert_config_file: str | None = None,
  vocab_file: str | None = None,
  do_lower_case: bool | None = None,
  max_seq_length: int | None = None,
  head: str | None = None,
  dtype: str | None = None,
) -> TrainedModel:
  """Opens a trained model with its head, tokenizer, configuration and labels.

  Which head it has follows from what lies beside the weights and from the weights themselves.

  >>> import bert_tf
  >>> bert = bert_tf.load("tiny_bert")
  >>> bert.head
  'pretraining'
  >>> bert.encode(["What a film!", "It was long."]).shape
  (2, 32)
  >>> [mask] = bert.fill_mask("The [MASK] is blue.", top_k=3)["masks"]
  >>> len(mask)
  3

  Args:
    path: a directory, a checkpoint's prefix or file, or `hf://organisation/name[@revision]`; of
      every format that `--init_checkpoint` takes.
    bert_config_file: the configuration; default: the one beside the weights; so are the next two.
    vocab_file: likewise.
    do_lower_case: likewise.
    max_seq_length: the longest sequence, in pieces; default: that of the training, or all that the
      model can read.
    head: which head, of `model_dir.HEADS`, where nothing beside the weights says; "encoder" for
      the encoder alone.
    dtype: Keras dtype policy, such as "mixed_bfloat16".

  Raises:
    UserError: there are no weights or no configuration, a file is damaged, or they do not fit
      together.
  """
  path = os.fspath(path)
  if "://" not in path:
    path = existing_checkpoint(os.path.expanduser(path))
  about = describe(path, Given(bert_config_file, vocab_file, do_lower_case, head=head))
  if max_seq_length is not None:
    about.config.check_sequence_length(max_seq_length)
    about = dataclasses.replace(about, max_seq_length=max_seq_length)
  return load_described(path, about, dtype)


def load_described(path: str, about: Description, dtype: str | None = None) -> TrainedModel:
  """Does what `load` does with a model that is described already."""
  script.quiet_tensorflow()
  from bert_tf.checkpoints import formats, load_from

  reader = formats.open_checkpoint(path)
  shapes = {name: shape for name, shape in reader.shapes.items() if name not in reader.refused}
  about = dataclasses.replace(about, head=_head(about, shapes, path))
  about = dataclasses.replace(about, labels=_labels(about, shapes, path))
  model = _build(about, shapes, dtype)
  logging.info("Loaded %s", load_from(model, reader))
  return TrainedModel(model, about)


def _head(about: Description, shapes: Shapes, path: str) -> str:
  """Which head to build: the one that the files name, or the one that there are weights for."""
  found = _heads_of_weights(shapes)
  stated = about.head
  if stated is None:
    if len(found) > 1 or found[0] == head_kinds.CLASSIFICATION:
      logging.warning(
        "%s: nothing says which head it has, of %s; taking it for %s (load(head=...) says another)",
        path,
        ", ".join(dict.fromkeys(found)),
        found[0],
      )
    return found[0]
  if stated in (*found, head_kinds.ENCODER):
    return stated
  if found == [head_kinds.ENCODER]:
    logging.warning(
      "%s: holds no weights of the head %s that the files beside it name; taking the encoder alone",
      path,
      stated,
    )
    return head_kinds.ENCODER
  raise UserError(
    f"{path}: expected weights for the head {stated}, as the files beside them say, found those of"
    f" {', '.join(found)}; correct the files (head.json or config.json)"
  )


def _heads_of_weights(shapes: Shapes) -> list[str]:
  """The heads that there are weights for, the likeliest first; the encoder where there are none."""
  heads = []
  if "cls/squad/output_weights" in shapes:
    heads.append(head_kinds.QUESTION_ANSWERING)
  if "cls/predictions/output_bias" in shapes:
    heads.append(head_kinds.PRETRAINING)
  if "output_weights" in shapes:
    single = shapes["output_weights"][0] == 1
    heads += _ON_OUTPUT_WEIGHTS[::-1] if single else _ON_OUTPUT_WEIGHTS
  return heads or [head_kinds.ENCODER]


def _labels(about: Description, shapes: Shapes, path: str) -> tuple[str, ...]:
  """The names of the outputs; their numbers where nothing names them."""
  if about.head not in _ON_OUTPUT_WEIGHTS:
    return ()
  count = shapes["output_weights"][0]
  if about.head == head_kinds.REGRESSION:
    if count != 1:
      raise UserError(f"{path}: expected the one output of a regression, found {count}")
    return ()
  if about.labels and len(about.labels) != count:
    raise UserError(
      f"{path}: expected names for {count} outputs, found {len(about.labels)} labels beside the"
      " weights; correct labels.txt or id2label"
    )
  return about.labels or tuple(map(str, range(count)))


def _build(about: Description, shapes: Shapes, dtype: str | None) -> keras.Model:
  from bert_tf import heads
  from bert_tf.modeling import BertModel

  config, head = about.config, about.head
  has_pooler = "bert/pooler/dense/kernel" in shapes
  if head == head_kinds.ENCODER:
    return BertModel(config, dtype, add_pooler=has_pooler)
  if head == head_kinds.PRETRAINING:
    return heads.PretrainingModel(
      config, dtype, next_sentence="cls/seq_relationship/output_weights" in shapes
    )
  if head == head_kinds.QUESTION_ANSWERING:
    return heads.SpanModel(config, dtype, add_pooler=has_pooler)
  count = shapes["output_weights"][0]
  if head == head_kinds.TOKENS:
    return heads.TokenClassifierModel(config, count, dtype, add_pooler=has_pooler)
  from bert_tf.tasks.classification.model import Reading, create_model

  length = about.max_seq_length or config.max_position_embeddings
  reading = Reading(length, LongText.of(about.settings))
  return create_model(config, count, reading, dtype, label_scale=label_scale.of(about.settings))
