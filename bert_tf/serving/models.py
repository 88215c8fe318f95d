"""The models of a server: one directory, or those of TensorFlow Serving's own models.config."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

from bert_tf.errors import UserError
from bert_tf.export import deployment
from bert_tf.serving.batching import BatchingOptions
from bert_tf.serving.errors import RequestError
from bert_tf.serving.metrics import Metrics
from bert_tf.serving.versions import Policy, VersionManager


@dataclasses.dataclass(frozen=True)
class ModelSpec:
  """A model to serve: its name in requests, its directory, which versions, and their labels."""

  name: str
  path: str
  policy: Policy = dataclasses.field(default_factory=Policy)
  labels: Mapping[str, int] = dataclasses.field(default_factory=dict)


def of_directory(path: str, name: str | None = None) -> ModelSpec:
  """The model of one directory, under its own name unless another is given."""
  return ModelSpec(name or deployment.model_name(path), path)


def of_config(path: str) -> list[ModelSpec]:
  """The models of a file that holds a ModelServerConfig (`--model_config_file` of TF Serving).

  Directories are taken as seen from the file's own where they are not absolute.

  Raises:
    UserError: the file cannot be read, or holds no model, or two of one name.
  """
  from google.protobuf import text_format
  from tensorflow_serving.config import model_server_config_pb2

  try:
    with open(path, encoding="utf-8") as file:
      config = text_format.Parse(file.read(), model_server_config_pb2.ModelServerConfig())
  except OSError as error:
    raise UserError(f"`models_config`: cannot read {path}: {error.strerror}") from error
  except (text_format.ParseError, UnicodeDecodeError) as error:
    raise UserError(
      f"`models_config`: expected a ModelServerConfig in {path}, found at {error}; see what an"
      " export wrote into serving/models.config"
    ) from error
  models = [_of_entry(entry, path) for entry in config.model_config_list.config]
  names = [model.name for model in models]
  if not models or len(set(names)) < len(names):
    raise UserError(
      f"`models_config`: expected models of different names in model_config_list of {path}, found"
      f" {', '.join(names) or 'none'}"
    )
  return models


def _of_entry(entry, path: str) -> ModelSpec:
  if not entry.name or not entry.base_path:
    raise UserError(
      f"`models_config`: expected name and base_path of every model in {path}, found"
      f" {entry.name!r} and {entry.base_path!r}"
    )
  if entry.model_platform not in ("", "tensorflow"):
    raise UserError(
      f'`models_config`: expected model_platform: "tensorflow" of {entry.name}, found'
      f" {entry.model_platform!r}"
    )
  wanted = entry.model_version_policy
  policy = Policy()
  if wanted.HasField("all"):
    policy = Policy(latest=None)
  elif wanted.HasField("specific"):
    if not wanted.specific.versions:
      raise UserError(f"`models_config`: expected versions in specific of {entry.name}, found none")
    policy = Policy(specific=tuple(wanted.specific.versions))
  elif wanted.HasField("latest"):
    policy = Policy(latest=wanted.latest.num_versions or 1)
  base = os.path.join(os.path.dirname(os.path.abspath(path)), entry.base_path)
  return ModelSpec(entry.name, os.path.normpath(base), policy, dict(entry.version_labels))


class Models:
  """What is served, by name.

  Attributes:
    names: of the models, in the order in which they were given.
    stopping: whether the server takes no new requests.
  """

  def __init__(
    self,
    specs: Iterable[ModelSpec],
    options: BatchingOptions,
    metrics: Metrics,
    stall_seconds: float,
  ):
    """Loads all models; raises UserError where that is impossible.

    Args:
      specs: the models.
      options: how requests are put together.
      metrics: is told of every run.
      stall_seconds: after so long in one run of all its workers a model counts as stuck.
    """
    self._managers: dict[str, VersionManager] = {}
    self._stall_seconds = stall_seconds
    self.stopping = False
    for spec in specs:
      observe = metrics.observer(spec.name)
      try:
        self._managers[spec.name] = VersionManager(
          spec.path, options, observe, spec.policy, spec.labels
        )
      except UserError:
        self.close()
        raise
    self.names = list(self._managers)

  def get(self, name: str) -> VersionManager:
    """The model of a name; raises RequestError where there is none."""
    if name not in self._managers:
      raise RequestError(
        f"expected the model {' or '.join(self.names)}, found {name[:80]!r}", "NOT_FOUND"
      )
    return self._managers[name]

  def waiting_rows(self) -> dict[str, int]:
    """Rows that wait for their run, by model."""
    return {
      name: sum(batcher.waiting_rows for batcher in manager.batchers())
      for name, manager in self._managers.items()
    }

  def not_ready(self, name: str = "") -> str:
    """Why the server, or one model, should be asked nothing just now; "" where it can be.

    Raises:
      RequestError: there is no model of the name.
    """
    if self.stopping:
      return "the server is being stopped"
    for model in [name] if name else self.names:
      batchers = self.get(model).batchers()
      stalled = max((batcher.stalled_seconds for batcher in batchers), default=0.0)
      if stalled > self._stall_seconds:
        return f"all workers of {model} have been in one run each for {stalled:.0f} s"
    return ""

  def watch(self, seconds: float) -> None:
    """Looks for new versions at intervals."""
    for manager in self._managers.values():
      manager.watch(seconds)

  def close(self, seconds: float | None = None) -> bool:
    """Closes all at the same time; see `VersionManager.close`."""
    self.stopping = True
    with ThreadPoolExecutor(max(1, len(self._managers))) as pool:
      return all(list(pool.map(lambda manager: manager.close(seconds), self._managers.values())))
