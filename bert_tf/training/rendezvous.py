"""Workers meet before TensorFlow connects them, and find out whether they belong together.

TensorFlow alone would wait for ever for one that does not come, and train on with one that was
started with other settings. The chief listens at its address; every other worker connects to it
and says who it is and what it was told to do. The chief answers all of them once all have come, so
that whatever is wrong is known to every worker at once. Messages are lines of JSON. Needs no
TensorFlow.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import socket
import time
import uuid
from collections.abc import Mapping
from typing import Any

from absl import logging

from bert_tf.errors import UserError
from bert_tf.training.cluster import Cluster
from bert_tf.training.run_config import differences

_GREETING = "bert_tf worker"
# A line of a worker; its settings take a few kilobytes.
_LONGEST = 1 << 24
# How long one who has failed waits for those who have not come yet, to tell them.
_TELLING_SECONDS = 60.0
# How long a file takes at most to be seen from another machine (network file systems cache).
_SEEING_SECONDS = 10.0

# Whether this process has met the others; from then on TensorFlow tells them of its end.
_met = False


def meet(
  cluster: Cluster,
  timeout: float,
  settings: Mapping[str, Any] | None = None,
  output_dir: str | None = None,
) -> None:
  """Returns once all workers have come and agree.

  Args:
    cluster: who they are, and which of them this is.
    timeout: seconds to wait for them.
    settings: all that must be the same on all workers, as JSON values.
    output_dir: a directory that all must see, if any; the chief creates it.

  Raises:
    UserError: on every worker that is there: one does not come in time, or ended by an error of
      its own, has other settings, another idea of the cluster, or another directory. On this one:
      its port is in use.
  """
  global _met
  deadline = time.monotonic() + timeout
  with _listen(cluster.workers[cluster.index]) as listener:
    if cluster.index:
      _Member(cluster, deadline, timeout).meet(dict(settings or {}), output_dir)
    else:
      chief = _Chief(cluster, listener)
      try:
        chief.meet(deadline, timeout, dict(settings or {}), output_dir)
      finally:
        chief.close()
  _met = True


def tell_failure(cluster: Cluster, error: UserError, seconds: float = _TELLING_SECONDS) -> None:
  """Tells the other workers that this one ended before it met them; they end too.

  Args: `seconds`, how long to wait for who has not come yet.
  """
  if _met or isinstance(error, Apart):
    return
  deadline = time.monotonic() + seconds
  message = f"{_name(cluster, cluster.index)} ended by an error of its own: {error}"
  with contextlib.suppress(OSError, UserError):
    if cluster.index:
      _Member(cluster, deadline, seconds).say_failure(message)
      return
    with _listen(cluster.workers[0]) as listener:
      chief = _Chief(cluster, listener)
      logging.info("Telling the other workers; they may still be starting")
      chief.refuse_all(message, deadline)
      chief.close()


class Apart(UserError):
  """What all workers were told."""


@dataclasses.dataclass
class _Line:
  """A connection that lines of JSON go through."""

  socket: socket.socket
  _rest: bytes = b""

  def send(self, **message: Any) -> bool:
    """Returns whether the other side was there to take it."""
    try:
      self.socket.settimeout(5.0)
      self.socket.sendall(json.dumps(message).encode() + b"\n")
    except OSError:
      return False
    return True

  def receive(self, seconds: float) -> dict[str, Any] | None:
    """The next message; None where the other side is gone or speaks otherwise.

    Raises:
      TimeoutError: nothing came in time.
    """
    deadline = time.monotonic() + seconds
    while b"\n" not in self._rest:
      self.socket.settimeout(max(0.001, deadline - time.monotonic()))
      try:
        got = self.socket.recv(1 << 16)
      except TimeoutError:
        raise
      except OSError:
        return None
      self._rest += got
      if not got or len(self._rest) > _LONGEST:
        return None
    line, _, self._rest = self._rest.partition(b"\n")
    try:
      message = json.loads(line)
    except ValueError:
      return None
    return message if isinstance(message, dict) else None

  def is_gone(self) -> bool:
    """Whether the other side has hung up."""
    self.socket.setblocking(False)
    try:
      return not self.socket.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
      return False
    except OSError:
      return True


class _Chief:
  """Waits for the other workers and answers them."""

  def __init__(self, cluster: Cluster, listener: socket.socket):
    self._cluster = cluster
    self._listener = listener
    self._lines: dict[int, _Line] = {}
    self._said: dict[int, dict[str, Any]] = {}
    self._refused: set[int] = set()

  def close(self) -> None:
    for line in self._lines.values():
      line.socket.close()

  def meet(
    self, deadline: float, timeout: float, settings: dict[str, Any], output_dir: str | None
  ) -> None:
    own = {"workers": list(self._cluster.workers), "settings": json.loads(json.dumps(settings))}
    told = False
    while missing := self._missing():
      if time.monotonic() > deadline:
        where = ", ".join(self._cluster.workers[index] for index in missing)
        self._refuse(
          f"expected {len(self._cluster.workers)} workers within {timeout:g} s (`worker_timeout`),"
          f" found nothing at {where}; start all workers, check addresses and firewall"
        )
      if not told:
        logging.info("Waiting for the workers at %s", ", ".join(
          self._cluster.workers[index] for index in missing
        ))  # fmt: skip
        told = True
      for index in self._accept(0.2):
        self._check(index, own)
    for index, said in sorted(self._said.items()):
      self._compare(index, own["settings"], said["settings"])
    if output_dir:
      self._check_directory(output_dir)
    for line in self._lines.values():
      line.send(go=True)

  def refuse_all(self, message: str, deadline: float) -> None:
    """Gives every worker that comes the same answer, until all have had it."""
    while len(self._refused) < len(self._cluster.workers) - 1 and time.monotonic() < deadline:
      self._tell(message)
      self._accept(0.2)
    self._tell(message)

  def _missing(self) -> list[int]:
    for index in [index for index, line in self._lines.items() if line.is_gone()]:
      logging.info("%s went away; waiting for it", _name(self._cluster, index))
      self._lines.pop(index).socket.close()
      self._said.pop(index, None)
    return [index for index in range(1, len(self._cluster.workers)) if index not in self._lines]

  def _accept(self, seconds: float) -> list[int]:
    """Takes in who comes now; returns the numbers of those who said who they are."""
    self._listener.settimeout(seconds)
    try:
      connection, _ = self._listener.accept()
    except (TimeoutError, BlockingIOError):
      return []
    line = _Line(connection)
    try:
      said = line.receive(2.0)
    except TimeoutError:
      said = None
    if not said or said.get("greeting") != _GREETING or not isinstance(said.get("index"), int):
      connection.close()  # A port scan, or a health check.
      return []
    index = said["index"]
    if index in self._lines:
      self._lines[index].socket.close()
    line.send(welcome=_GREETING)
    self._lines[index], self._said[index] = line, said
    return [index]

  def _check(self, index: int, own: dict[str, Any]) -> None:
    said = self._said[index]
    if said.get("failure"):
      self._refuse(said["failure"])
    if said["workers"] != own["workers"]:
      self._refuse(
        f"expected one idea of the cluster, found {len(own['workers'])} workers"
        f" ({', '.join(own['workers'])}) on worker 0 and {len(said['workers'])}"
        f" ({', '.join(said['workers'])}) on worker {index}; start all workers with one list"
      )

  def _compare(self, index: int, own: dict[str, Any], other: dict[str, Any]) -> None:
    told = differences(own, other)
    told += [f"`{name}` on one of them only" for name in sorted(own.keys() ^ other.keys())]
    if told:
      self._refuse(
        f"expected the same settings and data on all workers, found on worker 0"
        f" {', '.join(told).replace('(now ', f'(on worker {index} ')}; start all workers with the"
        " same command, configuration, vocabulary and files"
      )

  def _check_directory(self, output_dir: str) -> None:
    """Whether all workers see the same directory: a file that the chief makes shows it."""
    path = os.path.join(output_dir, f".workers-{uuid.uuid4().hex}")
    try:
      os.makedirs(output_dir, exist_ok=True)
      with open(path, "x", encoding="ascii"):
        pass
    except OSError as error:
      self._refuse(
        f"`output_dir`: worker 0 cannot write in {output_dir}: {error.strerror}; give another"
      )
    try:
      for line in self._lines.values():
        line.send(look_for=os.path.basename(path))
      blind = [index for index, line in self._lines.items() if not _answers(line, "seen")]
    finally:
      os.remove(path)
    if blind:
      self._refuse(
        f"expected all workers to see one `output_dir`, found that worker {min(blind)} does not see"
        f" what worker 0 writes in {output_dir}; give an `output_dir` on a file system that all"
        " workers share"
      )

  def _refuse(self, message: str) -> None:
    # Who is late must not wait for its own timeout; but this one will not wait long for it.
    self.refuse_all(message, time.monotonic() + 5.0)
    raise Apart(message)

  def _tell(self, message: str) -> None:
    for index, line in list(self._lines.items()):
      if index not in self._refused and line.send(refused=message):
        self._refused.add(index)


def _answers(line: _Line, name: str) -> bool:
  try:
    said = line.receive(_SEEING_SECONDS + 5.0)
  except TimeoutError:
    return False
  return bool(said and said.get(name))


class _Member:
  """A worker that comes to the chief."""

  def __init__(self, cluster: Cluster, deadline: float, timeout: float):
    self._cluster = cluster
    self._deadline = deadline
    self._timeout = timeout
    self._found = "nothing"

  def meet(self, settings: dict[str, Any], output_dir: str | None) -> None:
    logging.info("Waiting for the chief at %s", self._cluster.workers[0])
    while True:
      line = self._come(workers=list(self._cluster.workers), settings=settings)
      if self._hears_out(line, output_dir):
        return
      # The chief went away: it may have been started again.

  def say_failure(self, message: str) -> None:
    """Tells the chief, which tells the others."""
    line = self._come(failure=message, workers=[], settings={})
    line.receive(2.0)

  def _come(self, **message: Any) -> _Line:
    """Greets the chief until it answers."""
    while True:
      line = self._greet(message)
      if line:
        return line
      if time.monotonic() > self._deadline:
        raise Apart(
          f"expected worker 0 at {self._cluster.workers[0]} within {self._timeout:g} s"
          f" (`worker_timeout`), found {self._found} there; start all workers, check addresses and"
          " firewall"
        )
      time.sleep(0.2)

  def _greet(self, message: dict[str, Any]) -> _Line | None:
    try:
      connection = socket.create_connection(_split(self._cluster.workers[0]), timeout=2.0)
    except OSError:
      return None
    line = _Line(connection)
    line.send(greeting=_GREETING, index=self._cluster.index, **message)
    try:
      answer = line.receive(5.0)
    except TimeoutError:
      answer = None
    if not answer or answer.get("welcome") != _GREETING:
      self._found = "another program, or a worker that is busy,"
      connection.close()
      return None
    return line

  def _hears_out(self, line: _Line, output_dir: str | None) -> bool:
    """Answers the chief's questions; returns whether all is well, or the chief is gone."""
    with line.socket:
      while True:
        try:
          said = line.receive(max(1.0, self._deadline - time.monotonic()) + 10.0)
        except TimeoutError:
          raise Apart(
            f"expected all {len(self._cluster.workers)} workers within {self._timeout:g} s"
            " (`worker_timeout`), found worker 0 still waiting for others; see its log"
          ) from None
        if said is None:
          return False
        if said.get("refused"):
          raise Apart(said["refused"])
        if said.get("look_for"):
          line.send(seen=_sees(output_dir, said["look_for"]))
        elif said.get("go"):
          return True


def _sees(output_dir: str | None, name: str) -> bool:
  deadline = time.monotonic() + _SEEING_SECONDS
  while output_dir and time.monotonic() < deadline:
    with contextlib.suppress(OSError):
      if name in os.listdir(output_dir):  # Listing it also renews what the file system remembers.
        return True
    time.sleep(0.2)
  return False


def _name(cluster: Cluster, index: int) -> str:
  return f"worker {index} ({cluster.workers[index]})"


def _listen(address: str) -> socket.socket:
  host, port = _split(address)
  family = socket.AF_INET6 if ":" in host else socket.AF_INET
  listener = socket.socket(family, socket.SOCK_STREAM)
  listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
  try:
    # TensorFlow's server listens on all interfaces too; loopback names stay on the loopback.
    local = host in ("localhost", "::1") or host.startswith("127.")
    listener.bind((host if local else "", port))
    listener.listen(128)
  except OSError as error:
    listener.close()
    raise UserError(
      f"expected the free port {port} for this worker ({address}), found it in use or not ours"
      f" ({error.strerror}); end the other process or take another port"
    ) from error
  return listener


def _split(address: str) -> tuple[str, int]:
  host, _, port = address.rpartition(":")
  return host.strip("[]"), int(port)
