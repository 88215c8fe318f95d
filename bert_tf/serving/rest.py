"""The REST endpoints of TensorFlow Serving, metrics for Prometheus, and a page to try the model."""

from __future__ import annotations

import asyncio
import importlib.resources
import json
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from absl import logging
from aiohttp import web

from bert_tf.serving import json_format, metadata
from bert_tf.serving.batching import Batcher
from bert_tf.serving.metrics import Metrics
from bert_tf.serving.servable import RequestError
from bert_tf.serving.versions import VersionManager, unknown_label

# Bytes of JSON or numbers of an answer that are handled in less time than a thread takes to start.
_SMALL = 8192

_HTTP_STATUS = {
  "INVALID_ARGUMENT": 400,
  "NOT_FOUND": 404,
  "UNIMPLEMENTED": 501,
  "RESOURCE_EXHAUSTED": 503,
  "UNAVAILABLE": 503,
  "DEADLINE_EXCEEDED": 504,
}


class RestApi:
  """Answers HTTP requests for one model."""

  def __init__(
    self,
    name: str,
    versions: VersionManager,
    metrics: Metrics,
    max_body: int,
    request_seconds: float,
  ):
    """Args: the model's name; what serves it; most bytes of a body; seconds for a request."""
    self._name = name
    self._versions = versions
    self._metrics = metrics
    self._request_seconds = request_seconds
    self.app = web.Application(client_max_size=max_body, middlewares=[self._errors])
    model = "/v1/models/{name:[^/:]+}"
    versioned = model + r"/versions/{version:\d{1,18}}"
    for prefix in (model, versioned, model + "/labels/{label:[^/:]+}"):
      self.app.router.add_get(prefix, self._status)
      self.app.router.add_get(prefix + "/metadata", self._metadata)
      self.app.router.add_post(prefix + ":{method:[a-z]+}", self._ask)
    self.app.router.add_get("/metrics", self._prometheus)
    self.app.router.add_get("/monitoring/prometheus/metrics", self._prometheus)
    self.app.router.add_get("/", self._page)
    self.app.router.add_get("/about.json", self._about)

  @web.middleware
  async def _errors(self, request: web.Request, handler) -> web.StreamResponse:
    """Every failure becomes a status and {"error": ...}."""
    started = time.monotonic()
    try:
      response = await handler(request)
    except RequestError as error:
      response = _error(str(error), _HTTP_STATUS.get(error.code, 500))
    except asyncio.TimeoutError:
      response = _error("the request took too long", 504)
    except web.RequestPayloadError:
      response = _error("the body is not encoded as its headers say", 400)
    except web.HTTPException as error:
      response = _error(error.reason, error.status)
    except Exception:
      logging.exception("%s %s", request.method, request.path)
      response = _error("an error of the server; its log tells more", 500)
    self._metrics.count("rest", request.method, str(response.status), time.monotonic() - started)
    return response

  def _check_name(self, request: web.Request) -> None:
    if request.match_info["name"] != self._name:
      found = request.match_info["name"][:80]
      raise RequestError(f"expected the model {self._name}, found {found!r}", "NOT_FOUND")
    if label := request.match_info.get("label"):
      raise unknown_label(label)

  def _version(self, request: web.Request) -> int | None:
    self._check_name(request)
    version = request.match_info.get("version")
    return int(version) if version else None

  async def _ask(self, request: web.Request) -> web.Response:
    version = self._version(request)
    self._versions.batcher(version)  # Where there is none, the body need not be waited for.
    method = request.match_info["method"]
    if method in ("classify", "regress"):
      raise RequestError(f"expected :predict, found :{method}, which no signature answers")
    if method != "predict":
      raise RequestError(f"expected :predict, found :{method[:40]}", "NOT_FOUND")
    text = await asyncio.wait_for(self._predict(request, version), self._request_seconds)
    return web.Response(text=text, content_type="application/json")

  async def _predict(self, request: web.Request, version: int | None) -> str:
    body = await request.read()

    async def ask(batcher: Batcher) -> str:
      parse = json_format.parse_request
      name, inputs, in_rows = await _run(len(body), parse, body, batcher.servable)
      outputs = await batcher.ask(name, inputs)
      return await _run(sum(v.size for v in outputs.values()), _to_json, outputs, in_rows)

    return await self._versions.answer(version, ask)

  async def _status(self, request: web.Request) -> web.Response:
    self._check_name(request)
    version = request.match_info.get("version")
    states = [s for s in self._versions.statuses() if version in (None, str(s.version))]
    if not states:
      raise RequestError(f"version {version} is not served", "NOT_FOUND")
    return web.json_response({"model_version_status": [metadata.status_json(s) for s in states]})

  async def _metadata(self, request: web.Request) -> web.Response:
    servable = self._versions.batcher(self._version(request)).servable
    return web.json_response(metadata.metadata_json(self._name, servable))

  async def _prometheus(self, unused_request: web.Request) -> web.Response:
    self._metrics.set_waiting(self._versions.batcher().waiting_rows)
    return web.Response(body=self._metrics.text(), headers={"Content-Type": Metrics.CONTENT_TYPE})

  async def _about(self, unused_request: web.Request) -> web.Response:
    """What the page needs to know of the model."""
    servable = self._versions.batcher().servable
    about: dict[str, Any] = {
      "name": self._name,
      "version": servable.version,
      "task": servable.facts.get("task", "unknown"),
      "signatures": {
        name: sorted(definition.inputs) for name, definition in servable.signatures.items()
      },
    }
    return web.json_response(about)

  async def _page(self, unused_request: web.Request) -> web.Response:
    page = importlib.resources.files("bert_tf.serving").joinpath("page.html").read_text("utf-8")
    nonce = secrets.token_urlsafe(16)
    policy = (
      f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}';"
      " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    headers = {"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff"}
    text = page.replace("@NONCE@", nonce)
    return web.Response(text=text, content_type="text/html", headers=headers)


async def _run(size: int, function: Callable, *args: Any) -> Any:
  """Calls a function, in a thread where so much work would hold up everybody else."""
  if size < _SMALL:
    return function(*args)
  return await asyncio.to_thread(function, *args)


def _to_json(outputs: Mapping[str, np.ndarray], in_rows: bool) -> str:
  return json.dumps(json_format.format_response(outputs, in_rows), ensure_ascii=False) + "\n"


def _error(message: str, status: int) -> web.Response:
  return web.json_response({"error": message}, status=status)
