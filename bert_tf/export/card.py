"""The model card of an export and the requests that warm a server up."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from absl import logging

from bert_tf import __version__
from bert_tf.config import BertConfig

WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"
# Texts of a warm-up request; a batch runs code that a single text does not.
_WARMUP_SIZES = (1, 8)

_TASKS = {
  "classification": "gives every text, or pair of texts, one label",
  "multilabel": "gives every text, or pair of texts, any number of labels",
  "regression": "gives every text, or pair of texts, a number",
  "tokens": "finds entities in text and labels them",
  "question_answering": "answers questions with a part of a given context",
  "pretraining": "fills in words masked by [MASK], and judges whether a text follows another",
  "encoder": "turns text into vectors",
}


def model_card(
  facts: Mapping[str, Any],
  config: BertConfig,
  labels: Sequence[str],
  signatures: Mapping[str, Any],
) -> str:
  """Markdown for the people who run or use an export.

  Args:
    facts: what serving.json holds.
    config: the model's architecture.
    labels: names of the outputs, if it has any.
    signatures: concrete functions by name.
  """
  architecture = (
    f"BERT with {config.num_hidden_layers} layers, hidden size {config.hidden_size},"
    f" {config.num_attention_heads} attention heads and {config.vocab_size} word pieces"
  )
  lower = "lower-cased and stripped of accents" if facts["do_lower_case"] else "taken as it is"
  lines = [
    f"# {facts['task'].replace('_', ' ').capitalize()} model",
    "",
    f"This model {_TASKS[facts['task']]}. {architecture}; matrix products in {facts['dtype']}.",
    f"Text is {lower}; what is over {facts['max_seq_length']} tokens is cut off"
    f"{', or read in overlapping windows' if facts['task'] == 'question_answering' else ''}.",
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
    f"curl http://127.0.0.1:8501/v1/models/MODEL:predict -d '{_example(signatures)}'",
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


def _example(signatures: Mapping[str, Any]) -> str:
  names = sorted(inputs(signatures["serving_default"]))
  texts = {"question": "Who wrote it?", "context": "Ada wrote it.", "text": "Some [MASK] text."}
  return json.dumps({"instances": [{name: texts.get(name, "More text.") for name in names}]})


def warmup_requests(
  samples: Mapping[str, tuple[Mapping[str, np.ndarray], Any]], model_name: str
) -> list[bytes]:
  """Serialized PredictionLogs for TensorFlow Serving, which answers them before it is ready.

  Args:
    samples: signature -> (inputs, outputs).
    model_name: name of the model on the server.

  Returns:
    Requests of two sizes for every signature; none where tensorflow-serving-api, which comes with
    the extra `serving`, is not installed.
  """
  try:
    from tensorflow_serving.apis import predict_pb2, prediction_log_pb2
  except ImportError:
    logging.warning(
      "no warm-up requests are written, so a server's first answers will be slow: found no"
      " tensorflow_serving; pip install 'bert_tf[serving]' and export again"
    )
    return []
  import tensorflow as tf

  requests = []
  for signature, (inputs, _) in samples.items():
    for size in _WARMUP_SIZES:
      request = predict_pb2.PredictRequest()
      request.model_spec.name = model_name
      request.model_spec.signature_name = signature
      for name, value in inputs.items():
        rows = np.resize(value, (size, *value.shape[1:]))
        request.inputs[name].CopyFrom(tf.make_tensor_proto(tf.constant(rows)))
      log = prediction_log_pb2.PredictionLog(
        predict_log=prediction_log_pb2.PredictLog(request=request)
      )
      requests.append(log.SerializeToString(deterministic=True))
  return requests
