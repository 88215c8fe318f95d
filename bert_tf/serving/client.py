"""Asks a server for answers, over gRPC or REST; `python -m bert_tf client` on the command line.

Works with TensorFlow Serving and with `python -m bert_tf serve` alike.
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from bert_tf.errors import UserError
from bert_tf.serving.predict import BATCH_SIZE, print_json_line, readable, text_batches

T = TypeVar("T")

TEXT_INPUTS = ("question", "text", "context", "text_pair")
# Answers of 64 MiB are more than a batch of any signature gives.
_MAX_ANSWER = 64 << 20
# Some hundred years: sockets cannot wait for ever.
_LONGEST_TIMEOUT = 1e9
_NO_REST = "its answer is not that of a model server's REST port; is it the gRPC port?"


class ServerError(RuntimeError):
  """A server's refusal.

  Attributes:
    code: the status, such as "UNAVAILABLE" or "HTTP 503".
  """

  def __init__(self, code: str, message: str):
    super().__init__(f"{code}: {message}")
    self.code = code


class _Unavailable(ServerError):
  """A refusal that may be gone a moment later."""


class Client:
  """What both ways to a server have in common: retries and batches of texts."""

  def __init__(self, model: str, timeout: float, retries: int):
    if not 0 < timeout < _LONGEST_TIMEOUT:
      raise UserError(f"expected a timeout of more than 0 seconds, found {timeout}")
    if retries < 0:
      raise UserError(f"expected retries to be at least 0, found {retries}")
    self.model = model
    self.timeout = timeout
    self._retries = retries

  def _once(self, inputs: Mapping[str, Sequence], signature: str, left: float) -> dict[str, Any]:
    raise NotImplementedError

  def signatures(self) -> dict[str, list[str]]:
    """Names of the inputs by signature."""
    raise NotImplementedError

  def predict(
    self, inputs: Mapping[str, Sequence], signature: str = "serving_default"
  ) -> dict[str, Any]:
    """Asks for one batch.

    Args:
      inputs: by name, each with one entry a row: strings, or lists of numbers.
      signature: which of the model's signatures to ask.

    Returns:
      The outputs by name, lists with one entry a row.

    Raises:
      ServerError: the server refuses, or is not reached within the time limit, retries included.
    """
    return self._patiently(lambda left: self._once(inputs, signature, left))

  def _patiently(self, call: Callable[[float], T]) -> T:
    """Calls with the seconds that are left, and again while the server is unavailable."""
    until = time.monotonic() + self.timeout
    for attempt in range(self._retries + 1):
      try:
        return call(max(until - time.monotonic(), 0.001))
      except _Unavailable:
        # Others wait for the same server; the random part keeps them from coming all at once.
        pause = 0.1 * 2**attempt * (0.5 + random.random())
        if attempt == self._retries or time.monotonic() + pause >= until:
          raise
        time.sleep(pause)
    raise AssertionError

  def answer(self, texts: Sequence[str], batch_size: int = BATCH_SIZE) -> list[dict[str, Any]]:
    """Answers texts, a tab in one separating its second text; one dictionary for each."""
    answers = []
    for start in range(0, len(texts), batch_size):
      rows = [text.partition("\t") for text in texts[start : start + batch_size]]
      signatures = self.signatures()
      name = "serving_default"
      if any(tab for _, tab, _ in rows) and "pairs" in signatures:
        name = "pairs"
      names = [n for n in TEXT_INPUTS if n in signatures.get(name, ())]
      if any(tab for _, tab, _ in rows) and len(names) < 2:
        raise UserError("expected one text a line, found a tab; this model does not take pairs")
      columns = [[row[0] for row in rows], [row[2] for row in rows]]
      outputs = self.predict(dict(zip(names, columns, strict=False)), name)
      for i, row in enumerate(rows):
        echo = {n: row[2 * j] for j, n in enumerate(names)}
        answers.append({**echo, **readable({key: value[i] for key, value in outputs.items()})})
    return answers


class GrpcClient(Client):
  """Asks over gRPC; needs the extra `serving`. Close it, or use it in a `with` statement."""

  def __init__(
    self, target: str, model: str, timeout: float = 30.0, retries: int = 3, secure: bool = False
  ):
    """Opens a channel.

    Args:
      target: host:port.
      model: the model's name on the server.
      timeout: seconds for a call, retries included.
      retries: how often to ask again while the server is unavailable.
      secure: encrypt, and check the server's certificate.
    """
    super().__init__(model, timeout, retries)
    try:
      import grpc
      from tensorflow_serving.apis import prediction_service_pb2_grpc
    except ImportError as error:
      raise UserError(
        f"expected the libraries of the client, found no {error.name};"
        " pip install 'bert_tf[serving]', or ask over REST"
      ) from error
    self._grpc = grpc
    options = [("grpc.max_receive_message_length", _MAX_ANSWER)]
    if secure:
      self._channel = grpc.secure_channel(target, grpc.ssl_channel_credentials(), options)
    else:
      self._channel = grpc.insecure_channel(target, options)
    self._stub = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
    self._signature_inputs: dict[str, dict[str, int]] | None = None

  def _call(self, method: Callable, request, seconds: float):
    try:
      return method(request, timeout=seconds)
    except self._grpc.RpcError as error:
      kind = _Unavailable if error.code() == self._grpc.StatusCode.UNAVAILABLE else ServerError
      raise kind(error.code().name, error.details() or "") from error

  def _types(self, seconds: float) -> dict[str, dict[str, int]]:
    """The data type of every input by signature; asked for once."""
    if self._signature_inputs is None:
      from tensorflow_serving.apis import get_model_metadata_pb2 as metadata

      request = metadata.GetModelMetadataRequest(metadata_field=["signature_def"])
      request.model_spec.name = self.model
      response = self._call(self._stub.GetModelMetadata, request, seconds)
      signatures = metadata.SignatureDefMap()
      response.metadata["signature_def"].Unpack(signatures)
      self._signature_inputs = {
        name: {key: info.dtype for key, info in definition.inputs.items()}
        for name, definition in signatures.signature_def.items()
      }
    return self._signature_inputs

  def signatures(self) -> dict[str, list[str]]:
    """Names of the inputs by signature."""
    return {name: sorted(types) for name, types in self._patiently(self._types).items()}

  def _once(self, inputs: Mapping[str, Sequence], signature: str, left: float) -> dict[str, Any]:
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2

    types = self._types(left).get(signature, {})
    request = predict_pb2.PredictRequest()
    request.model_spec.name = self.model
    request.model_spec.signature_name = signature
    for name, value in inputs.items():
      request.inputs[name].CopyFrom(tf.make_tensor_proto(value, dtype=types.get(name)))
    response = self._call(self._stub.Predict, request, left)
    return {name: tf.make_ndarray(proto).tolist() for name, proto in response.outputs.items()}

  def close(self) -> None:
    """Closes the channel."""
    self._channel.close()

  def __enter__(self) -> GrpcClient:
    return self

  def __exit__(self, *unused: Any) -> None:
    self.close()


class RestClient(Client):
  """Asks over HTTP; needs nothing but Python."""

  def __init__(self, url: str, model: str, timeout: float = 30.0, retries: int = 3):
    """Takes http(s)://host:port and arguments as of `GrpcClient`."""
    super().__init__(model, timeout, retries)
    if not _is_url(url):
      raise UserError(f"expected a URL such as http://127.0.0.1:8501, found {url!r}")
    self._url = f"{url.rstrip('/')}/v1/models/{urllib.parse.quote(model)}"
    self._definitions: dict[str, dict[str, Any]] | None = None

  def _request(self, path: str, body: dict | None, seconds: float) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(self._url + path, data, {"Content-Type": "application/json"})
    try:
      with urllib.request.urlopen(request, timeout=seconds) as response:
        answer = response.read(_MAX_ANSWER + 1)
        if len(answer) > _MAX_ANSWER:
          raise ServerError(
            "RESOURCE_EXHAUSTED",
            f"expected an answer of at most {_MAX_ANSWER} bytes, found more; send fewer rows",
          )
        return json.loads(answer)
    except urllib.error.HTTPError as error:
      kind = _Unavailable if error.code == 503 else ServerError
      raise kind(f"HTTP {error.code}", _reason(error.read(1 << 16))) from error
    except TimeoutError as error:
      raise ServerError("DEADLINE_EXCEEDED", f"no answer within {seconds:.1f} s") from error
    except (urllib.error.URLError, ConnectionError, http.client.IncompleteRead) as error:
      raise _Unavailable("UNAVAILABLE", str(getattr(error, "reason", error))) from error
    except (http.client.HTTPException, ValueError) as error:
      raise ServerError("UNKNOWN", _NO_REST) from error

  def _described(self, seconds: float) -> dict[str, dict[str, Any]]:
    """The signatures as the server describes them; asked for once."""
    if self._definitions is None:
      answer = self._request("/metadata", None, seconds)
      try:
        self._definitions = answer["metadata"]["signature_def"]["signature_def"]
      except (KeyError, TypeError) as error:
        raise ServerError("UNKNOWN", _NO_REST) from error
    return self._definitions

  def signatures(self) -> dict[str, list[str]]:
    """Names of the inputs by signature."""
    described = self._patiently(self._described)
    return {name: sorted(d["inputs"]) for name, d in described.items() if d.get("inputs")}

  def _once(self, inputs: Mapping[str, Sequence], signature: str, left: float) -> dict[str, Any]:
    body = {"signature_name": signature, "inputs": dict(inputs)}
    outputs = self._request(":predict", body, left)["outputs"]
    if isinstance(outputs, dict):
      return outputs
    # A single output comes without its name.
    return {next(iter(self._described(left)[signature]["outputs"])): outputs}


def _is_url(url: str) -> bool:
  try:
    parts = urllib.parse.urlsplit(url)
    return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
  except ValueError:  # The port is no number, or the brackets of an address do not match.
    return False


def _reason(body: bytes) -> str:
  try:
    return str(json.loads(body)["error"])
  except (ValueError, KeyError, TypeError):
    return body[:200].decode("utf-8", "replace")


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the arguments of `python -m bert_tf client`."""
  parser.add_argument("model", metavar="NAME", help="the model's name on the server")
  parser.add_argument(
    "text", nargs="*", help="text to answer; a tab separates two texts (default: standard input)"
  )
  parser.add_argument(
    "--rest", default="http://127.0.0.1:8501", help="URL of the server (default: %(default)s)"
  )
  parser.add_argument("--grpc", help="host:port; ask over gRPC instead of REST")
  parser.add_argument(
    "--timeout", type=float, default=30.0, help="seconds for an answer (default: %(default)s)"
  )
  parser.add_argument(
    "--retries", type=int, default=3, help="how often to ask again (default: %(default)s)"
  )
  parser.add_argument("--batch_size", type=int, default=BATCH_SIZE, help="texts in a request")


def run(args: argparse.Namespace) -> None:
  """Answers the texts of the command line or of standard input as JSON lines."""
  if args.batch_size < 1:
    raise UserError(f"expected --batch_size of at least 1, found {args.batch_size}")
  options = {"timeout": args.timeout, "retries": args.retries}
  if args.grpc:
    client: Client = GrpcClient(args.grpc, args.model, **options)
  else:
    client = RestClient(args.rest, args.model, **options)
  try:
    for batch in text_batches(args.text, args.batch_size):
      for answer in client.answer([text.decode("utf-8", "replace") for text in batch]):
        print_json_line(answer)
  except ServerError as error:
    raise UserError(f"the server at {args.grpc or args.rest} refuses: {error}") from error
