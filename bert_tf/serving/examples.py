"""Classify and Regress: tf.Examples in, labels or numbers out, as of TensorFlow Serving."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import numpy as np
import tensorflow as tf

from bert_tf.serving import json_format
from bert_tf.serving.batching import Batcher
from bert_tf.serving.errors import RequestError
from bert_tf.serving.servable import Servable

_METHOD = "tensorflow/serving/"
INPUTS = "inputs"
_INT64 = range(-(1 << 63), 1 << 63)


def answering(method: str) -> Callable[[Batcher, bytes], Awaitable[bytes]]:
  """What answers the body of a `:classify` or `:regress`."""

  async def answer(batcher: Batcher, body: bytes) -> bytes:
    request, name = json_format.parse_object(body)
    examples = _of_json(request)
    outputs = await ask(batcher, method, name, examples)
    if method == "regress":
      results = json_format.plain("value", values(outputs))
    else:
      results = [
        [[label.decode("utf-8", "replace"), score] for label, score in zip(*row, strict=True)]
        for row in zip(*classes(outputs), strict=True)
      ]
    return json_format.to_json({"results": results})

  return answer


async def ask(
  batcher: Batcher,
  method: str,
  signature: str,
  examples: Iterable[tf.train.Example],
  seconds: float | None = None,
) -> dict[str, np.ndarray]:
  """The outputs of a signature of a method, for at least one example; `seconds` as of a batcher."""
  check(batcher.servable, method, signature)
  rows = [example.SerializeToString() for example in examples]
  if not rows:
    raise RequestError("expected examples, found none")
  column = np.empty([len(rows)], object)
  column[:] = rows
  return await batcher.ask(signature, {INPUTS: column}, seconds)


def check(servable: Servable, method: str, signature: str) -> None:
  """Raises RequestError where a signature is not of a method."""
  expected, found = f"{_METHOD}{method}", servable.signature(signature).method_name
  if found != expected:
    able = [n for n, d in sorted(servable.signatures.items()) if d.method_name == expected]
    raise RequestError(
      f"Expected {method} signature method_name to be {expected}. Was: {found};"
      f" signatures of this model for it: {', '.join(able) or 'none'}"
    )


def classes(outputs: dict[str, np.ndarray]) -> tuple[list[list[bytes]], list[list[float]]]:
  """Labels and scores of every row."""
  scores = json_format.shortest(outputs["scores"]).tolist()
  return outputs["classes"].tolist(), scores


def values(outputs: dict[str, np.ndarray]) -> np.ndarray:
  """The number of every row."""
  return outputs["outputs"].reshape(-1)


def of_proto(given: Any) -> list[tf.train.Example]:
  """The examples of a tensorflow.serving.Input; what its context has goes to all of them."""
  if given.WhichOneof("kind") == "example_list_with_context":
    part = given.example_list_with_context
    return _with_context(part.context, part.examples)
  return list(given.example_list.examples)


def _with_context(
  context: tf.train.Example, examples: Iterable[tf.train.Example]
) -> list[tf.train.Example]:
  merged = []
  for example in examples:
    whole = tf.train.Example()
    whole.MergeFrom(context)
    whole.MergeFrom(example)
    merged.append(whole)
  return merged


def _of_json(request: dict[str, Any]) -> list[tf.train.Example]:
  given = request.get("examples")
  if not isinstance(given, list) or not given:
    raise RequestError('expected "examples" to be a list with at least one entry')
  examples = [_example(value, f"row {row}") for row, value in enumerate(given)]
  if "context" not in request:
    return examples
  return _with_context(_example(request["context"], "context"), examples)


def _example(value: Any, where: str) -> tf.train.Example:
  if not isinstance(value, dict):
    raise RequestError(
      f"expected an object of features, found {json_format.shown(value)} in {where}"
    )
  example = tf.train.Example()
  for name, content in value.items():
    items = (
      content if isinstance(content, list) and not json_format.is_bytes(content) else [content]
    )
    feature = example.features.feature[name]
    try:
      _fill(feature, items)
    except (ValueError, TypeError) as error:
      raise RequestError(
        f"expected the feature {name[:80]} as strings, whole numbers or decimals, all of a kind,"
        f" found {json_format.shown(content)} in {where}"
      ) from error
  return example


def _fill(feature: tf.train.Feature, items: list[Any]) -> None:
  """Puts values into a feature; raises ValueError where they are of several kinds, or of none."""
  if all(isinstance(item, str) or json_format.is_bytes(item) for item in items):
    feature.bytes_list.value.extend(
      item.encode() if isinstance(item, str) else json_format.decode_base64(item) for item in items
    )
  elif all(isinstance(item, int) and item in _INT64 for item in items):
    feature.int64_list.value.extend(map(int, items))
  elif all(isinstance(item, float) for item in items):
    feature.float_list.value.extend(items)
  else:
    raise ValueError("several kinds")
