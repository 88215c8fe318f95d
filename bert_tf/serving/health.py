"""The health service of gRPC (grpc.health.v1): what probes and load balancers ask.

Its two messages are described here, since their Python classes are a distribution of their own
that fits few versions of protobuf.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from bert_tf.serving.errors import RequestError
from bert_tf.serving.models import Models

SERVICE = "grpc.health.v1.Health"
UNKNOWN, SERVING, NOT_SERVING, SERVICE_UNKNOWN = range(4)
# How often a watcher's answer is looked at.
_WATCH_SECONDS = 0.5


def _messages() -> tuple[Any, Any]:
  """The classes of HealthCheckRequest and HealthCheckResponse."""
  file = descriptor_pb2.FileDescriptorProto(
    name="grpc/health/v1/health.proto", package="grpc.health.v1", syntax="proto3"
  )
  field = descriptor_pb2.FieldDescriptorProto
  request = file.message_type.add(name="HealthCheckRequest")
  request.field.add(name="service", number=1, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL)
  response = file.message_type.add(name="HealthCheckResponse")
  statuses = response.enum_type.add(name="ServingStatus")
  for number, name in enumerate(("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")):
    statuses.value.add(name=name, number=number)
  response.field.add(
    name="status", number=1, type=field.TYPE_ENUM, label=field.LABEL_OPTIONAL,
    type_name=".grpc.health.v1.HealthCheckResponse.ServingStatus",
  )  # fmt: skip
  pool = descriptor_pool.DescriptorPool()
  pool.Add(file)
  found = [
    pool.FindMessageTypeByName(f"grpc.health.v1.{name}")
    for name in ("HealthCheckRequest", "HealthCheckResponse")
  ]
  return message_factory.GetMessageClass(found[0]), message_factory.GetMessageClass(found[1])


HealthCheckRequest, HealthCheckResponse = _messages()


class Health:
  """Answers for the server ("") and for every model by its name."""

  def __init__(self, models: Models):
    self._models = models

  def status(self, service: str) -> int:
    """SERVING, NOT_SERVING or, where there is no such model, SERVICE_UNKNOWN."""
    try:
      return NOT_SERVING if self._models.not_ready(service) else SERVING
    except RequestError:
      return SERVICE_UNKNOWN

  async def check(self, request, context):
    """The status of a service."""
    status = self.status(request.service)
    if status == SERVICE_UNKNOWN:
      await context.abort(grpc.StatusCode.NOT_FOUND, f"there is no model {request.service[:80]!r}")
    return HealthCheckResponse(status=status)

  async def watch(self, request, unused_context) -> AsyncIterator:
    """The status of a service now, and whenever it has changed."""
    last = None
    while True:
      status = self.status(request.service)
      if status != last:
        last = status
        yield HealthCheckResponse(status=status)
      if self._models.stopping:
        return
      await asyncio.sleep(_WATCH_SECONDS)

  def handler(self) -> grpc.GenericRpcHandler:
    """What a server is given."""
    kinds = {
      "request_deserializer": HealthCheckRequest.FromString,
      "response_serializer": HealthCheckResponse.SerializeToString,
    }
    return grpc.method_handlers_generic_handler(
      SERVICE,
      {
        "Check": grpc.unary_unary_rpc_method_handler(self.check, **kinds),
        "Watch": grpc.unary_stream_rpc_method_handler(self.watch, **kinds),
      },
    )
