"""The REST endpoints of TensorFlow Serving, probes, metrics, and a page to try the models."""

from __future__ import annotations

import asyncio
import importlib.resources
import re
import secrets
import time
import urllib.parse
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from absl import logging
from aiohttp import web

from bert_tf.serving import bodies, connections, examples, hosts, json_format, logs, metadata
from bert_tf.serving.batching import Batcher
from bert_tf.serving.errors import HTTP_STATUS, RequestError
from bert_tf.serving.metrics import Metrics
from bert_tf.serving.models import Models
from bert_tf.serving.versions import VersionManager

# Bytes of JSON or numbers of an answer that are handled in less time than a thread takes to start.
_SMALL = 8192
_JSON = "application/json"
# What a client that hung up would have been told, as nginx and TensorFlow Serving count it.
_HUNG_UP = 499

# As http_rest_api_util.cc of TensorFlow Serving has them.
_VERSION = r"(?:(?:/versions/(?P<version>\d+))|(?:/labels/(?P<label>[^/:]+)))?"
_ASK = re.compile(
  rf"/v1/models/(?P<name>[^/:]+){_VERSION}:(?P<method>classify|regress|predict)", re.I | re.ASCII
)
_LOOK = re.compile(
  rf"/v1/models(?:/(?P<name>[^/:]+))?{_VERSION}(?P<metadata>/metadata)?", re.I | re.ASCII
)


class RestApi:
  """Answers HTTP requests for the models of a server."""

  def __init__(
    self,
    models: Models,
    metrics: Metrics,
    max_body: int,
    request_seconds: float,
    allowed_hosts: frozenset[str] | None = None,
  ):
    """Args: what is served; most bytes of a body; seconds for a request; `hosts.expected`."""
    self._models = models
    self._metrics = metrics
    self._max_body = max_body
    self._request_seconds = request_seconds
    self._allowed_hosts = allowed_hosts
    self._others = {
      "/": self._page,
      "/about.json": self._about,
      "/favicon.ico": self._icon,
      "/healthz": self._health,
      "/readyz": self._ready,
      "/metrics": self._prometheus,
      "/monitoring/prometheus/metrics": self._prometheus,
    }

  async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
    """Answers a request; every failure becomes a status and {"error": ...}."""
    started = time.monotonic()
    known = logs.take_request_id(request.headers.get("X-Request-Id"))
    connections.note(request, connections.Phase.BODY)
    try:
      response = await asyncio.wait_for(self._route(request), self._request_seconds)
    except RequestError as error:
      response = _error(str(error), HTTP_STATUS.get(error.code, 500))
    except bodies.HttpError as error:
      response = _error(str(error), error.status)
      response.force_close()  # Nobody reads the rest.
    except asyncio.TimeoutError:
      response = _error(f"expected an answer within {self._request_seconds:g} s", 504)
      response.force_close()
    except (ConnectionError, asyncio.CancelledError):
      # The client has hung up, or the server ends.
      gone = request.transport is None or request.transport.is_closing()
      self._count(request, _HUNG_UP if gone else 503, started)
      raise
    except Exception:
      logging.exception("%s %s", request.method, request.path)
      response = _error("an error of the server; its log tells more", 500)
    response.headers["X-Request-Id"] = known
    self._count(request, response.status, started)
    return response

  def malformed(self, request: web.BaseRequest, status: int, message: str) -> web.StreamResponse:
    """Answers bytes that are no HTTP."""
    if request.writer.output_size:
      raise ConnectionError("an answer has begun")
    logs.take_request_id(None)
    self._count(request, status, time.monotonic())
    response = _error(f"expected HTTP, found: {' '.join(message.split())[:200]}", status)
    response.force_close()
    return response

  def _count(self, request: web.BaseRequest, status: int, started: float) -> None:
    seconds = time.monotonic() - started
    self._metrics.count("rest", _method(request), str(status), seconds)
    client = str(request.remote or "")
    logs.access("rest", _method(request), request.path, str(status), seconds, client)

  async def _route(self, request: web.BaseRequest) -> web.Response:
    asked = request.headers
    if wrong := hosts.refuse(asked.get("Host"), asked.get("Origin"), self._allowed_hosts):
      raise RequestError(wrong, "PERMISSION_DENIED")
    path = request.raw_path.partition("?")[0]
    if path in self._others:
      if request.method not in ("GET", "HEAD"):
        raise bodies.HttpError(405, f"expected GET {path}, found {_method(request)}")
      connections.note(request, connections.Phase.ANSWERING)
      return await self._others[path](request)
    if not path.lower().startswith("/v1/"):
      raise RequestError(f"there is nothing at {path[:80]!r}", "NOT_FOUND")
    if request.method == "POST" and (found := _ASK.fullmatch(path)):
      return await self._ask(request, found)
    if request.method == "GET" and (found := _LOOK.fullmatch(path)):
      return await self._look(request, found)
    raise RequestError(f"Malformed request: {_method(request)} {path[:200]}")

  def _model(self, found: re.Match[str]) -> tuple[VersionManager, int | None]:
    """The model and version that a path names."""
    if not found["name"]:
      raise RequestError("Missing model name in request.")
    model = self._models.get(urllib.parse.unquote(found["name"]))
    if label := found["label"]:
      return model, model.labelled(urllib.parse.unquote(label))
    version = found["version"]
    if version and len(version.lstrip("0")) > 19:
      raise RequestError(f"Failed to convert version: {version[:40]} to numeric.")
    return model, int(version) if version else None

  async def _ask(self, request: web.BaseRequest, found: re.Match[str]) -> web.Response:
    model, version = self._model(found)
    model.batcher(version)  # Where there is none, the body need not be waited for.
    body = await bodies.read(request, self._max_body)
    connections.note(request, connections.Phase.ANSWERING)
    method = found["method"].lower()
    answer = _predict if method == "predict" else examples.answering(method)
    text = await model.answer(version, lambda batcher: answer(batcher, body))
    return bodies.answer(request, text, _JSON)

  async def _look(self, request: web.BaseRequest, found: re.Match[str]) -> web.Response:
    connections.note(request, connections.Phase.ANSWERING)
    model, version = self._model(found)
    if found["metadata"]:
      servable = model.batcher(version).servable
      return _json(request, metadata.metadata_json(urllib.parse.unquote(found["name"]), servable))
    states = [metadata.status_json(status) for status in model.statuses(version)]
    return _json(request, {"model_version_status": states})

  async def _health(self, request: web.BaseRequest) -> web.Response:
    """Whether the process lives."""
    return _json(request, {"status": "ok"})

  async def _ready(self, request: web.BaseRequest) -> web.Response:
    """Whether it should be asked anything."""
    if reason := self._models.not_ready():
      return _error(reason, 503)
    return _json(request, {"status": "ok", "models": self._models.names})

  async def _prometheus(self, request: web.BaseRequest) -> web.Response:
    self._metrics.set_waiting(self._models.waiting_rows())
    return bodies.answer(request, self._metrics.text(), Metrics.CONTENT_TYPE)

  async def _about(self, request: web.BaseRequest) -> web.Response:
    """What the page needs to know of a model: the one that is asked for, or the first."""
    name = request.query.get("model") or self._models.names[0]
    servable = self._models.get(name).batcher().servable
    about: dict[str, Any] = {
      "name": name,
      "models": self._models.names,
      "version": servable.version,
      "task": servable.facts.get("task", "unknown"),
      "facts": {
        fact: servable.facts[fact]
        for fact in ("max_seq_length", "doc_stride", "long_text", "pairs")
        if fact in servable.facts
      },
      "signatures": {
        name: sorted(definition.inputs) for name, definition in servable.signatures.items()
      },
    }
    return _json(request, about)

  async def _icon(self, request: web.BaseRequest) -> web.Response:
    return bodies.answer(request, _asset("favicon.svg"), "image/svg+xml")

  async def _page(self, request: web.BaseRequest) -> web.Response:
    nonce = secrets.token_urlsafe(16)
    policy = (
      f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}';"
      " connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none';"
      " frame-ancestors 'none'"
    )
    text = _asset("page.html").replace(b"@NONCE@", nonce.encode())
    response = bodies.answer(request, text, "text/html; charset=utf-8")
    response.headers["Content-Security-Policy"] = policy
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


def _method(request: web.BaseRequest) -> str:
  """The method, of which a client might send any number of kinds."""
  return request.method if request.method in ("GET", "HEAD", "POST", "PUT", "DELETE") else "other"


def _asset(name: str) -> bytes:
  return importlib.resources.files("bert_tf.serving").joinpath(name).read_bytes()


async def _predict(batcher: Batcher, body: bytes) -> bytes:
  """The answer to a `:predict`."""
  parse = json_format.parse_request
  name, inputs, in_rows = await run(len(body), parse, body, batcher.servable)
  outputs = await batcher.ask(name, inputs)
  return await run(sum(v.size for v in outputs.values()), _to_json, outputs, in_rows)


async def run(size: int, function: Callable, *args: Any) -> Any:
  """Calls a function, in a thread where so much work would hold up everybody else."""
  if size < _SMALL:
    return function(*args)
  return await asyncio.to_thread(function, *args)


def _to_json(outputs: Mapping[str, np.ndarray], in_rows: bool) -> bytes:
  return json_format.to_json(json_format.format_response(outputs, in_rows))


def _json(request: web.BaseRequest, value: Any) -> web.Response:
  return bodies.answer(request, json_format.to_json(value), _JSON)


def _error(message: str, status: int) -> web.Response:
  body = json_format.to_json({"error": message})
  return web.Response(body=body, status=status, headers={"Content-Type": _JSON})
