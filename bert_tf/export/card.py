"""The model card of an export."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from bert_tf import __version__
from bert_tf.export.kinds import Kind
from bert_tf.model_dir import Description, head_kinds
from bert_tf.tasks.long_text import HEAD_TAIL, WINDOWS
from bert_tf.tokenization import TokenizerSettings

# Heads that read long texts in windows whatever they are told.
_IN_WINDOWS = (head_kinds.QUESTION_ANSWERING, head_kinds.TOKENS)


def model_card(
  kind: Kind, facts: Mapping[str, Any], about: Description, signatures: Mapping[str, Any]
) -> str:
  """Markdown for the people who run or use an export.

  Args:
    kind: of the export.
    facts: what serving.json holds.
    about: the model.
    signatures: concrete functions by name.
  """
  config, labels = about.config, about.labels
  architecture = (
    f"BERT with {config.num_hidden_layers} layers, hidden size {config.hidden_size},"
    f" {config.num_attention_heads} attention heads and {config.vocab_size} word pieces"
  )
  lines = [
    f"# {facts['task'].replace('_', ' ').capitalize()} model",
    "",
    f"This model {kind.does}. {architecture}; matrix products in {facts['dtype']}.",
    f"Text is {_reading(about.tokenizer)}; {_long_text(facts)}.",
    "",
    *([f"Labels, in the order of the outputs: {', '.join(labels)}.", ""] if labels else []),
    "## Signatures",
    "",
    "| signature | inputs | outputs |",
    "|---|---|---|",
    *(
      f"| `{name}` | {_tensors(inputs(function))} | {_tensors(function.structured_outputs)} |"
      for name, function in sorted(signatures.items())
    ),
    "",
    "B is the number of requests in a batch; other sizes that depend on the request are `?`.",
    "",
    "## Where it runs",
    "",
    "TensorFlow Serving, or `tf.saved_model.load` after `import tensorflow_text`. A server must"
    " have these operations besides those of core TensorFlow:"
    f" {', '.join(f'`{op}`' for op in facts['required_ops'])}.",
    "",
    "```",
    f"curl http://127.0.0.1:8501/v1/models/MODEL:predict -d '{_example(kind, signatures)}'",
    "```",
    "",
    f"Exported by bert_tf {__version__}; answers were compared with those of its Python code, in"
    " a fresh process, through TensorFlow 2's loader and the session loader."
    if facts["checked"]
    else f"Exported by bert_tf {__version__}; its answers were not checked.",
    "",
  ]
  return "\n".join(lines)


def inputs(function: Any) -> dict[str, Any]:
  """The tensor specs that a concrete function takes, by name."""
  import tensorflow as tf

  specs = tf.nest.flatten(function.structured_input_signature)
  return {spec.name: spec for spec in specs}


def _tensors(specs: Mapping[str, Any]) -> str:
  parts = []
  for name, spec in sorted(specs.items()):
    sizes = ["?" if size is None else str(size) for size in spec.shape.as_list()]
    sizes[:1] = ["B"] if sizes[:1] == ["?"] else sizes[:1]
    parts.append(f"`{name}` {spec.dtype.name} [{', '.join(sizes)}]")
  return ", ".join(parts)


def _reading(settings: TokenizerSettings) -> str:
  """What is done to text first."""
  done = [
    words
    for words, is_done in (
      ("lower-cased", settings.do_lower_case),
      ("stripped of accents", settings.strips_accents),
    )
    if is_done
  ]
  return " and ".join(done) or "taken as it is"


def _long_text(facts: Mapping[str, Any]) -> str:
  """What is done with text that is longer than a sequence."""
  length = facts["max_seq_length"]
  if facts["task"] in _IN_WINDOWS:
    return f"what is over {length} tokens is read in overlapping windows"
  if facts.get("long_text") == HEAD_TAIL:
    return f"of what is over {length} tokens the first quarter and the end are read"
  if facts.get("long_text") == WINDOWS:
    return (
      f"what is over {length} tokens is read in up to {facts['max_windows']} overlapping windows,"
      f" whose vectors become one ({facts['pooling']})"
    )
  return f"what is over {length} tokens is cut off"


def _example(kind: Kind, signatures: Mapping[str, Any]) -> str:
  names = sorted(inputs(signatures["serving_default"]))
  return json.dumps({"instances": [{name: kind.example[name] for name in names}]})
