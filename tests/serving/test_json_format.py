"""TensorFlow Serving's JSON: what is read, what is refused and how, what is written."""

from __future__ import annotations

import json
import types

import numpy as np
import pytest

pytest.importorskip("tensorflow_serving", reason="needs the extra serving")

from tensorflow.core.protobuf import meta_graph_pb2

from bert_tf.serving import json_format
from bert_tf.serving.errors import RequestError


def servable(**inputs):
  """What a parser asks of a model: names, types and shapes of one signature's inputs."""
  import tensorflow as tf

  definition = meta_graph_pb2.SignatureDef()
  for name, (dtype, shape) in inputs.items():
    info = definition.inputs[name]
    info.dtype = tf.dtypes.as_dtype(dtype).as_datatype_enum
    for size in shape:
      info.tensor_shape.dim.add(size=size)

  def signature(name):
    assert name == "serving_default", name
    return definition

  return types.SimpleNamespace(signature=signature)


TEXT = {"text": ("string", [-1])}
IDS = {"ids": ("int32", [-1, -1])}


def parsed(request, **inputs):
  body = request if isinstance(request, bytes) else json.dumps(request).encode()
  return json_format.parse_request(body, servable(**inputs))[1]


def test_no_name_of_a_signature_is_the_default():
  assert parsed({"signature_name": "", "inputs": ["a"]}, **TEXT)["text"].tolist() == [b"a"]


@pytest.mark.parametrize("encoded", ["aGk=", "aGk", "aGkh"])
def test_base64_needs_no_padding(encoded):
  [found] = parsed({"instances": [{"b64": encoded}]}, **TEXT)["text"]
  assert found == {"aGk=": b"hi", "aGk": b"hi", "aGkh": b"hi!"}[encoded]


def test_no_rows_are_rows_of_every_kind():
  assert parsed({"inputs": []}, **TEXT)["text"].shape == (0,)
  assert parsed({"inputs": {"ids": []}}, **IDS)["ids"].shape == (0, 1)
  fixed = parsed({"inputs": []}, x=("float32", [-1, 64]))["x"]
  assert fixed.shape == (0, 64) and fixed.dtype == np.float32


@pytest.mark.parametrize(
  ("value", "inputs", "message"),
  [
    (["a", "b", None], TEXT, "expected text as string of rank 1, found null in row 2"),
    ("a", TEXT, 'expected text as string of rank 1, found "a"'),
    (["\ud800"], TEXT, "in row 0"),
    ([[1, 2], [3, "x"]], IDS, 'expected ids as int32 of rank 2, found "x" in row 1, place 1'),
    ([[1, 2], [3]], IDS, "found 1 values where others have 2 in row 1"),
    ([[1], [2**31]], IDS, "found 2147483648 in row 1, place 0"),
    ([[1], [True]], IDS, "found true in row 1, place 0"),
    ([[1], 5], IDS, "found 5 in row 1"),
    ([[{"b64": "AA=="}]], IDS, "in row 0, place 0"),
    ([1, 0], {"flag": ("bool", [-1])}, "expected flag as bool of rank 1, found 1 in row 0"),
    (["x" * 500], {"n": ("float32", [-1])}, 'x... in row 0'),
  ],
)  # fmt: skip
def test_messages_name_row_and_value(value, inputs, message):
  with pytest.raises(RequestError) as raised:
    parsed({"inputs": value}, **inputs)
  assert message in str(raised.value) and len(str(raised.value)) < 200


def test_rows_that_name_other_inputs_are_named():
  rows = [{"text": "a"}, {"text": "b"}, {"txt": "c"}]
  with pytest.raises(RequestError, match=r'found {"txt": "c"} in row 2'):
    parsed({"instances": rows}, **TEXT)


def test_numbers_have_as_many_digits_as_they_need_and_may_be_none():
  """As TensorFlow Serving writes them: 0.2, NaN, Infinity."""
  values = np.array([[0.2, 1e-7], [np.nan, np.inf], [3, -np.inf]], np.float32)
  text = json_format.to_json(json_format.format_response({"x": values}, True)).decode()
  assert text == '{"predictions": [[0.2, 1e-07], [NaN, Infinity], [3.0, -Infinity]]}\n'
  assert parsed(b'{"inputs": [NaN, -Infinity]}', x=("float32", [-1]))["x"].tolist()[1] == -np.inf
  found = np.array(json.loads(text)["predictions"], np.float32)
  np.testing.assert_array_equal(found, values)


def test_bytes_are_written_as_base64_where_an_output_is_called_so():
  outputs = {"raw_bytes": np.array([b"\xff"], object), "text": np.array([b"\xff"], object)}
  rows = json_format.format_response(outputs, True)["predictions"]
  assert rows == [{"raw_bytes": {"b64": "/w=="}, "text": "\ufffd"}]
