"""What a server says of its model: signatures and the states of versions."""

from __future__ import annotations

from typing import Any

from google.protobuf import json_format as protobuf_json
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2

from bert_tf.serving.servable import Servable
from bert_tf.serving.versions import VersionStatus

# grpc.StatusCode.FAILED_PRECONDITION, for a version that cannot be loaded.
_FAILED = 9


def signature_map(servable: Servable) -> get_model_metadata_pb2.SignatureDefMap:
  """The signatures as the metadata of TensorFlow Serving holds them."""
  result = get_model_metadata_pb2.SignatureDefMap()
  for name, definition in servable.signatures.items():
    result.signature_def[name].CopyFrom(definition)
  return result


def metadata_json(name: str, servable: Servable) -> dict[str, Any]:
  """The answer to GET .../metadata."""
  signatures = protobuf_json.MessageToDict(
    signature_map(servable),
    preserving_proto_field_name=True,
    always_print_fields_with_no_presence=True,
  )
  return {
    "model_spec": {"name": name, "signature_name": "", "version": str(servable.version)},
    "metadata": {"signature_def": signatures},
  }


def status_json(status: VersionStatus) -> dict[str, Any]:
  """One entry of the answer to GET /v1/models/NAME."""
  code = "FAILED_PRECONDITION" if status.error else "OK"
  return {
    "version": str(status.version),
    "state": status.state,
    "status": {"error_code": code, "error_message": status.error},
  }


def status_proto(status: VersionStatus) -> get_model_status_pb2.ModelVersionStatus:
  """The same for gRPC."""
  result = get_model_status_pb2.ModelVersionStatus(
    version=status.version, state=getattr(get_model_status_pb2.ModelVersionStatus, status.state)
  )
  if status.error:
    result.status.error_code = _FAILED
    result.status.error_message = status.error
  return result
