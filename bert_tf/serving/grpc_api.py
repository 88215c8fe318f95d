"""The gRPC services of TensorFlow Serving: PredictionService and ModelService."""

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
  get_model_metadata_pb2,
  get_model_status_pb2,
  model_service_pb2_grpc,
  predict_pb2,
  prediction_service_pb2_grpc,
)

from bert_tf.serving import metadata
from bert_tf.serving.batching import Batcher
from bert_tf.serving.json_format import DEFAULT_SIGNATURE
from bert_tf.serving.metrics import Metrics
from bert_tf.serving.servable import RequestError, Servable
from bert_tf.serving.versions import VersionManager, unknown_label

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

  async def answer(self, unused_request, context):
    async def work():
      raise RequestError(f"this server has no {method}; ask with Predict", "UNIMPLEMENTED")

    return await self._answer(method, context, work)

  return answer


class GrpcApi(
  prediction_service_pb2_grpc.PredictionServiceServicer,
  model_service_pb2_grpc.ModelServiceServicer,
):
  """Answers gRPC requests for one model."""

  def __init__(self, name: str, versions: VersionManager, metrics: Metrics, request_seconds: float):
    """Args: as RestApi."""
    self._name = name
    self._versions = versions
    self._metrics = metrics
    self._request_seconds = request_seconds

  def add_to(self, server: grpc.aio.Server) -> None:
    """Registers both services."""
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(self, server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(self, server)

  def _version(self, spec) -> int | None:
    """The version that a request asks for; raises RequestError where it is for no model of ours."""
    if spec.name != self._name:
      raise RequestError(f"expected the model {self._name}, found {spec.name[:80]!r}", "NOT_FOUND")
    if spec.HasField("version_label"):
      raise unknown_label(spec.version_label)
    return spec.version.value if spec.HasField("version") else None

  async def _answer(self, method: str, context, work):
    """Runs `work` and turns its failures into statuses."""
    started = time.monotonic()
    code, message, result = "OK", "", None
    try:
      left = context.time_remaining()
      seconds = self._request_seconds if left is None else min(left, self._request_seconds)
      result = await asyncio.wait_for(work(), seconds)
    except RequestError as error:
      code, message = error.code, str(error)
    except asyncio.TimeoutError:
      code, message = "DEADLINE_EXCEEDED", "the request took too long"
    except Exception:
      logging.exception("gRPC %s", method)
      code, message = "INTERNAL", "an error of the server; its log tells more"
    self._metrics.count("grpc", method, code, time.monotonic() - started)
    if code != "OK":
      await context.abort(getattr(grpc.StatusCode, code), message)
    return result

  async def Predict(self, request, context):
    """Answers with the outputs of a signature."""

    async def ask(batcher: Batcher):
      name = request.model_spec.signature_name or DEFAULT_SIGNATURE
      inputs = {
        key: _array(key, proto, batcher.servable, name) for key, proto in request.inputs.items()
      }
      outputs = await batcher.ask(name, inputs)
      wanted = list(request.output_filter) or list(outputs)
      response = predict_pb2.PredictResponse()
      response.model_spec.name = self._name
      response.model_spec.signature_name = name
      response.model_spec.version.value = batcher.servable.version
      for key in wanted:
        if key not in outputs:
          raise RequestError(f"expected outputs of {', '.join(outputs)}, found {key[:80]!r}")
        response.outputs[key].CopyFrom(tf.make_tensor_proto(outputs[key]))
      return response

    async def work():
      return await self._versions.answer(self._version(request.model_spec), ask)

    return await self._answer("Predict", context, work)

  async def GetModelMetadata(self, request, context):
    """Answers with the signatures."""

    async def work():
      servable = self._versions.batcher(self._version(request.model_spec)).servable
      if list(request.metadata_field) != ["signature_def"]:
        raise RequestError("expected the metadata_field signature_def")
      response = get_model_metadata_pb2.GetModelMetadataResponse()
      response.model_spec.name = self._name
      response.model_spec.version.value = servable.version
      response.metadata["signature_def"].Pack(metadata.signature_map(servable))
      return response

    return await self._answer("GetModelMetadata", context, work)

  async def GetModelStatus(self, request, context):
    """Answers with the states of the versions."""

    async def work():
      wanted = self._version(request.model_spec)
      states = [s for s in self._versions.statuses() if wanted in (None, s.version)]
      if not states:
        raise RequestError(f"version {wanted} is not served", "NOT_FOUND")
      return get_model_status_pb2.GetModelStatusResponse(
        model_version_status=[metadata.status_proto(state) for state in states]
      )

    return await self._answer("GetModelStatus", context, work)

  Classify = _not_here("Classify")
  Regress = _not_here("Regress")
  MultiInference = _not_here("MultiInference")
  HandleReloadConfigRequest = _not_here("HandleReloadConfigRequest")
