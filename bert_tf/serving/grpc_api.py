"""The gRPC services of TensorFlow Serving, for predictions and models, and that of health."""

from __future__ import annotations

import asyncio
import math
import time

import grpc
import numpy as np
import tensorflow as tf
from absl import logging
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import (
  classification_pb2,
  get_model_metadata_pb2,
  get_model_status_pb2,
  model_service_pb2_grpc,
  predict_pb2,
  prediction_service_pb2_grpc,
  regression_pb2,
)

from bert_tf.serving import examples, logs, metadata
from bert_tf.serving.batching import Batcher
from bert_tf.serving.errors import RequestError
from bert_tf.serving.health import Health
from bert_tf.serving.json_format import DEFAULT_SIGNATURE
from bert_tf.serving.metrics import Metrics
from bert_tf.serving.models import Models
from bert_tf.serving.servable import Servable
from bert_tf.serving.versions import VersionManager

# A tensor's few bytes can ask for any shape; so many numbers are more than a request can mean.
_MAX_ELEMENTS = 1 << 22


def _array(name: str, proto: tf.compat.v1.TensorProto, servable: Servable, signature: str):
  """Reads a tensor; raises RequestError where it does not fit the signature."""
  spec = servable.signature(signature).inputs.get(name)
  if spec is None:
    return np.zeros([0])  # The check of names refuses it.
  if proto.dtype != spec.dtype:
    expected, found = _type_name(spec.dtype), _type_name(proto.dtype)
    raise RequestError(f"expected {name} of data type {expected}, found {found}")
  sizes = [dim.size for dim in proto.tensor_shape.dim]
  if len(sizes) > 8 or any(size < 0 for size in sizes) or math.prod(sizes) > _MAX_ELEMENTS:
    raise RequestError(f"expected {name} of a reasonable shape, found {sizes[:8]}")
  try:
    return tf.make_ndarray(proto)
  except (ValueError, TypeError) as error:
    raise RequestError(f"{name}: {str(error).splitlines()[0][:200]}") from error


def _type_name(number: int) -> str:
  return types_pb2.DataType.Name(number) if number in types_pb2.DataType.values() else str(number)


def _not_here(method: str):
  """A method that TensorFlow Serving has and this server has not."""

  async def answer(self, request, context):
    async def work(unused_seconds: float):
      raise RequestError(f"this server has no {method}; ask with Predict", "UNIMPLEMENTED")

    return await self._answer(method, request, context, work)

  return answer


class _Broken:
  """In place of a message whose bytes are none."""


class _Reader(grpc.aio.ServerInterceptor):
  """Lets broken messages come to the methods, which refuse and count them."""

  async def intercept_service(self, continuation, details):
    """See `grpc.aio.ServerInterceptor`."""
    handler = await continuation(details)
    if handler is None or handler.request_deserializer is None:
      return handler

    def read(data: bytes):
      try:
        return handler.request_deserializer(data)
      except Exception:
        return _Broken()

    return handler._replace(request_deserializer=read)


class GrpcApi(
  prediction_service_pb2_grpc.PredictionServiceServicer,
  model_service_pb2_grpc.ModelServiceServicer,
):
  """Answers gRPC requests for the models of a server."""

  def __init__(self, models: Models, metrics: Metrics, request_seconds: float):
    """Args: as RestApi."""
    self._models = models
    self._metrics = metrics
    self._request_seconds = request_seconds

  def add_to(self, server: grpc.aio.Server) -> None:
    """Registers the services."""
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(self, server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(self, server)
    server.add_generic_rpc_handlers([Health(self._models).handler()])

  def reader(self) -> grpc.aio.ServerInterceptor:
    """What the server is to be made with."""
    return _Reader()

  def _model(self, spec) -> tuple[VersionManager, int | None]:
    """The model and version that a request asks for; raises RequestError where there is none."""
    model = self._models.get(spec.name)
    if spec.HasField("version_label"):
      return model, model.labelled(spec.version_label)
    return model, spec.version.value if spec.HasField("version") else None

  async def _answer(self, method: str, request, context, work):
    """Runs `work` and turns its failures into statuses."""
    started = time.monotonic()
    given = dict(context.invocation_metadata() or ())
    known = logs.take_request_id(given.get("x-request-id"))
    context.set_trailing_metadata((("x-request-id", known),))
    code, message, result = "OK", "", None
    try:
      if isinstance(request, _Broken):
        raise RequestError(f"expected the message of {method}, found bytes that are none")
      left = context.time_remaining()
      seconds = self._request_seconds if left is None else min(left, self._request_seconds)
      result = await asyncio.wait_for(work(seconds), seconds)
    except RequestError as error:
      code, message = error.code, str(error)
    except asyncio.TimeoutError:
      code, message = "DEADLINE_EXCEEDED", "the request took too long"
    except asyncio.CancelledError:
      self._count(method, "CANCELLED", started, context)
      raise
    except Exception:
      logging.exception("gRPC %s", method)
      code, message = "INTERNAL", "an error of the server; its log tells more"
    self._count(method, code, started, context)
    if code != "OK":
      await context.abort(getattr(grpc.StatusCode, code), message)
    return result

  def _count(self, method: str, code: str, started: float, context) -> None:
    seconds = time.monotonic() - started
    self._metrics.count("grpc", method, code, seconds)
    logs.access("grpc", "POST", method, code, seconds, context.peer() or "")

  async def _ask(self, method: str, request, context, ask):
    """Answers with what `ask` makes of a batcher and the seconds that are left."""

    async def work(seconds: float):
      model, version = self._model(request.model_spec)
      return await model.answer(version, lambda batcher: ask(batcher, seconds))

    return await self._answer(method, request, context, work)

  async def Predict(self, request, context):
    """Answers with the outputs of a signature."""

    async def ask(batcher: Batcher, seconds: float):
      name = request.model_spec.signature_name or DEFAULT_SIGNATURE
      inputs = {
        key: _array(key, proto, batcher.servable, name) for key, proto in request.inputs.items()
      }
      outputs = await batcher.ask(name, inputs, seconds)
      wanted = list(request.output_filter) or list(outputs)
      response = predict_pb2.PredictResponse()
      _say_model(response, request, name, batcher)
      for key in wanted:
        if key not in outputs:
          raise RequestError(f"expected outputs of {', '.join(outputs)}, found {key[:80]!r}")
        response.outputs[key].CopyFrom(tf.make_tensor_proto(outputs[key]))
      return response

    return await self._ask("Predict", request, context, ask)

  async def Classify(self, request, context):
    """Answers with the labels of tf.Examples and their scores."""

    async def ask(batcher: Batcher, seconds: float):
      name = request.model_spec.signature_name or DEFAULT_SIGNATURE
      given = examples.of_proto(request.input)
      outputs = await examples.ask(batcher, "classify", name, given, seconds)
      response = classification_pb2.ClassificationResponse()
      _say_model(response, request, name, batcher)
      for labels, scores in zip(*examples.classes(outputs), strict=True):
        row = response.result.classifications.add()
        for label, score in zip(labels, scores, strict=True):
          row.classes.add(label=label.decode("utf-8", "replace"), score=score)
      return response

    return await self._ask("Classify", request, context, ask)

  async def Regress(self, request, context):
    """Answers with the numbers of tf.Examples."""

    async def ask(batcher: Batcher, seconds: float):
      name = request.model_spec.signature_name or DEFAULT_SIGNATURE
      given = examples.of_proto(request.input)
      outputs = await examples.ask(batcher, "regress", name, given, seconds)
      response = regression_pb2.RegressionResponse()
      _say_model(response, request, name, batcher)
      for value in examples.values(outputs).tolist():
        response.result.regressions.add(value=value)
      return response

    return await self._ask("Regress", request, context, ask)

  async def GetModelMetadata(self, request, context):
    """Answers with the signatures."""

    async def work(unused_seconds: float):
      model, version = self._model(request.model_spec)
      servable = model.batcher(version).servable
      if list(request.metadata_field) != ["signature_def"]:
        raise RequestError("expected the metadata_field signature_def")
      response = get_model_metadata_pb2.GetModelMetadataResponse()
      response.model_spec.name = request.model_spec.name
      response.model_spec.version.value = servable.version
      response.metadata["signature_def"].Pack(metadata.signature_map(servable))
      return response

    return await self._answer("GetModelMetadata", request, context, work)

  async def GetModelStatus(self, request, context):
    """Answers with the states of the versions."""

    async def work(unused_seconds: float):
      model, version = self._model(request.model_spec)
      return get_model_status_pb2.GetModelStatusResponse(
        model_version_status=[metadata.status_proto(state) for state in model.statuses(version)]
      )

    return await self._answer("GetModelStatus", request, context, work)

  MultiInference = _not_here("MultiInference")
  HandleReloadConfigRequest = _not_here("HandleReloadConfigRequest")


def _say_model(response, request, signature: str, batcher: Batcher) -> None:
  """Which model, signature and version a response is of."""
  response.model_spec.name = request.model_spec.name
  response.model_spec.signature_name = signature
  response.model_spec.version.value = batcher.servable.version
