"""A server on loopback that speaks as much of the Hugging Face hub's protocol as downloads need."""

from __future__ import annotations

import hashlib
import http.server
import json
import re
import threading

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
  """Serves one repository, `acme/bert`, and misbehaves where it is told to.

  Attributes:
    files: name -> content.
    break_after: name -> how many bytes the next transfer of that file ends after, once.
    corrupt: names of files whose bytes are changed on the way.
    requests: (method, path, Range header) of what was asked.
    branches: revisions that exist.
  """

  def __init__(self, files: dict[str, bytes]):
    self.files = files
    self.break_after: dict[str, int] = {}
    self.corrupt: set[str] = set()
    self.requests: list[tuple[str, str, str | None]] = []
    self.branches = {"main", "v2", COMMIT}
    handler = type("Handler", (_Handler,), {"hub": self})
    self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    self.url = f"http://127.0.0.1:{self._server.server_port}"
    threading.Thread(target=self._server.serve_forever, daemon=True).start()

  def close(self) -> None:
    self._server.shutdown()
    self._server.server_close()


def etag(name: str, content: bytes) -> str:
  """Large files have their SHA-256, others git's SHA-1 of a blob."""
  if name.endswith((".safetensors", ".bin", ".h5")):
    return hashlib.sha256(content).hexdigest()
  return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class _Handler(http.server.BaseHTTPRequestHandler):
  hub: Hub
  protocol_version = "HTTP/1.1"

  def log_message(self, *unused):
    pass

  def do_HEAD(self):
    self._answer()

  def do_GET(self):
    self._answer()

  def _answer(self):
    hub = self.hub
    path = self.path.split("?")[0]
    hub.requests.append((self.command, self.path, self.headers.get("Range")))
    info = re.fullmatch(r"/api/models/(\w+/[\w-]+)(?:/(revision|tree)/([\w.-]+))?", path)
    file = re.fullmatch(r"/(\w+/[\w-]+)/resolve/([\w.-]+)/(.+)", path)
    repository, revision = (info[1], info[3]) if info else (file[1], file[2]) if file else ("", "")
    if repository != "acme/bert":
      return self._error("RepoNotFound", 401 if info else 404)
    if revision and revision not in hub.branches:
      return self._error("RevisionNotFound", 404)
    if info and info[2] == "tree":
      tree = [
        {"type": "file", "path": name, "size": len(content), "oid": etag("", content)}
        for name, content in hub.files.items()
      ]
      return self._send(json.dumps(tree).encode(), {"Content-Type": "application/json"})
    if info:
      siblings = [{"rfilename": name} for name in hub.files]
      value = {"id": "acme/bert", "sha": COMMIT, "siblings": siblings}
      return self._send(json.dumps(value).encode(), {"Content-Type": "application/json"})
    name = file[3]
    if name not in hub.files:
      return self._error("EntryNotFound", 404)
    return self._send_file(name, hub.files[name])

  def _send_file(self, name: str, content: bytes):
    headers = {
      "ETag": f'"{etag(name, content)}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes",
      "Content-Type": "application/octet-stream",
    }  # fmt: skip
    if name in self.hub.corrupt:
      content = bytes([content[0] ^ 1]) + content[1:]
    wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
    if wanted:
      start = int(wanted[1])
      headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
      return self._send(content[start:], headers, 206)
    if self.command == "GET" and name in self.hub.break_after:
      return self._send(content, headers, cut=self.hub.break_after.pop(name))
    return self._send(content, headers)

  def _send(self, body: bytes, headers: dict, status: int = 200, cut: int | None = None):
    self.send_response(status)
    for name, value in {**headers, "Content-Length": str(len(body))}.items():
      self.send_header(name, value)
    self.end_headers()
    if self.command == "GET":
      self.wfile.write(body[:cut])
    if cut is not None:
      self.close_connection = True

  def _error(self, code: str, status: int):
    self._send(b"{}", {"X-Error-Code": code, "X-Error-Message": code}, status)
