"""Which operations of text an export needs, and that the compatible ones answer the same."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from bert_tf.export.samples import TEXTS
from bert_tf.serving import locate

# All kinds are exported once more, which takes minutes.
pytestmark = pytest.mark.long

# Prints, for every saved model, the operations of its graph and functions that TensorFlow lacks
# without tensorflow_text.
_FOREIGN_OPS = """
import json, sys
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.framework import op_def_registry

result = []
for path in sys.argv[1:]:
  with open(path, "rb") as file:
    [graph] = saved_model_pb2.SavedModel.FromString(file.read()).meta_graphs
  functions = graph.graph_def.library.function
  nodes = [*graph.graph_def.node, *(node for f in functions for node in f.node_def)]
  names = {node.op for node in nodes} - {f.signature.name for f in functions}
  assert len(names) > 20, "no graph"
  result.append(sorted(name for name in names if op_def_registry.get(name) is None))
assert not any("tensorflow_text" in name for name in sys.modules)
print(json.dumps(result))
"""


@pytest.fixture(scope="module")
def compatible(export_once, text_options):
  options = dataclasses.replace(text_options, text_ops="compatible")
  return export_once("compatible", options, False)


def test_the_card_names_all_operations_that_are_not_cores(exports, compatible):
  paths = [*exports.values(), *compatible.values()]
  found = subprocess.run(
    [sys.executable, "-c", _FOREIGN_OPS, *(str(path / "saved_model.pb") for path in paths)],
    capture_output=True, text=True, timeout=120, check=True,
  )  # fmt: skip
  foreign = json.loads(found.stdout)
  for path, names in zip(paths, foreign, strict=True):
    assert names == locate.facts(str(path))["required_ops"], path
    assert ", ".join(f"`{name}`" for name in names) in (path / "README.md").read_text()
  assert foreign[-len(compatible) :] == [["WordpieceTokenizeWithOffsets"]] * len(compatible)


@pytest.mark.parametrize("kind", ["classifier", "tokens", "questions", "pretraining", "encoder"])
def test_answers_are_those_of_the_default(load, compatible, kind):
  first, second = (tf.constant(column) for column in zip(*TEXTS, strict=True))
  default, other = load(kind), tf.saved_model.load(str(compatible[kind]))
  assert set(default.signatures) == set(other.signatures)
  for name, signature in default.signatures.items():
    known = {"text": first, "text_pair": second, "question": second, "context": first}
    names = signature.structured_input_signature[1]
    if not set(names) <= set(known):
      continue  # Ids go in: no text to split.
    inputs = {key: known[key] for key in names}
    expected, found = signature(**inputs), other.signatures[name](**inputs)
    assert set(found) == set(expected)
    for key, value in expected.items():
      if value.dtype.is_floating:
        np.testing.assert_allclose(found[key], value, rtol=1e-6, atol=1e-6, err_msg=f"{name} {key}")
      else:
        np.testing.assert_array_equal(found[key], value, f"{name} {key}")
