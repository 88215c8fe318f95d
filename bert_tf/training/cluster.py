"""Which processes train together. Needs no TensorFlow.

A worker listens at its own address; every worker knows the addresses of all of them. They are
named by the environment variable TF_CONFIG (which Kubeflow, Vertex AI and others set), or worked
out from what Slurm or an indexed Job of Kubernetes set.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Mapping, Sequence

from bert_tf.errors import UserError
from bert_tf.training.options import DeviceOptions

_PORT = 8888
_MOST_PORT = 65535
_EXAMPLE = (
  '{"cluster": {"worker": ["host0:2222", "host1:2222"]}, "task": {"type": "worker", "index": 0}}'
)


@dataclasses.dataclass(frozen=True)
class Cluster:
  """The workers of a run and which of them this process is.

  Attributes:
    workers: addresses, "host:port".
    index: of this process; number 0, the chief, writes checkpoints and logs.
  """

  workers: tuple[str, ...]
  index: int

  def __post_init__(self) -> None:
    for worker in self.workers:
      if not re.fullmatch(r"[^:/\s]+:\d{1,5}|\[[0-9a-fA-F:]+\]:\d{1,5}", str(worker)):
        raise UserError(f"workers: expected addresses such as host:2222, found {worker!r}")
      if not 0 < int(str(worker).rpartition(":")[2]) <= _MOST_PORT:
        raise UserError(f"workers: expected a port from 1 to {_MOST_PORT}, found {worker!r}")
    if len(set(self.workers)) < len(self.workers):
      raise UserError(f"workers: expected different addresses, found {', '.join(self.workers)}")
    if not 0 <= self.index < len(self.workers):
      raise UserError(
        f"workers: expected an index from 0 to {len(self.workers) - 1}, found {self.index}"
      )

  def to_tf_config(self) -> str:
    """The cluster as the value of TF_CONFIG."""
    task = {"type": "worker", "index": self.index}
    return json.dumps({"cluster": {"worker": list(self.workers)}, "task": task})


def find_cluster(
  options: DeviceOptions, environment: Mapping[str, str] = os.environ
) -> Cluster | None:
  """The cluster that the environment names, or None where this process is to train alone.

  Raises:
    UserError: the environment is malformed, or names no workers although `options` want some.
  """
  if options.distribution_strategy not in ("auto", "multi_worker_mirrored"):
    return None
  if options.cluster_resolver == "slurm":
    return from_slurm(environment)
  if options.cluster_resolver == "kubernetes":
    return from_kubernetes(environment)
  cluster = from_tf_config(environment.get("TF_CONFIG", ""))
  wanted = options.cluster_resolver == "tf_config"
  if not cluster and (wanted or options.distribution_strategy == "multi_worker_mirrored"):
    raise UserError(
      "multi_worker_mirrored: expected the workers in the environment variable TF_CONFIG, found"
      f" none there; set it to something like {_EXAMPLE}, or give `cluster_resolver`"
    )
  return cluster


def is_chief(options: DeviceOptions) -> bool:
  """Whether this process writes into the output directory; of several workers only one does."""
  cluster = find_cluster(options)
  return cluster is None or cluster.index == 0


def from_tf_config(text: str) -> Cluster | None:
  """Reads TF_CONFIG; None where it names no workers.

  A "chief" counts as the first worker. Raises UserError where the text is malformed.
  """
  if not text.strip():
    return None
  try:
    config = json.loads(text)
    cluster = config.get("cluster", {})
    chief, workers = list(cluster.get("chief", [])), list(cluster.get("worker", []))
    if not chief and not workers:
      return None
    kind, index = config["task"]["type"], int(config["task"]["index"])
  except (ValueError, TypeError, KeyError, AttributeError) as error:
    raise UserError(f"TF_CONFIG: expected something like {_EXAMPLE}, found {text!r}") from error
  others = set(cluster) - {"chief", "worker"}
  if others or kind not in ("chief", "worker"):
    found = ", ".join(sorted(others)) or kind
    raise UserError(f"TF_CONFIG: expected tasks of type chief and worker only, found {found}")
  return Cluster((*chief, *workers), index + (len(chief) if kind == "worker" else 0))


def from_slurm(environment: Mapping[str, str]) -> Cluster:
  """Works out the cluster in a job step of Slurm (`srun`): one worker for every task.

  TensorFlow's own resolver sorts hosts by name, so that node10 comes before node2, while Slurm
  numbers tasks in the order of the node list; a worker would then wait at another's address.
  """

  def variable(*names: str) -> str:
    for name in names:
      if environment.get(name):
        return environment[name]
    raise UserError(
      f"`cluster_resolver=slurm`: expected the environment variable {names[0]}, found none;"
      " start the script with srun"
    )

  hosts = expand_hostlist(variable("SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST"))
  tasks = _expand_counts(variable("SLURM_STEP_TASKS_PER_NODE", "SLURM_TASKS_PER_NODE"))
  if len(tasks) != len(hosts):
    raise UserError(f"Slurm: expected as many task counts as hosts, found {tasks} for {hosts}")
  port = _PORT + int(environment.get("SLURM_JOB_ID", "0")) % 10000
  workers = tuple(
    f"{host}:{port + i}" for host, count in zip(hosts, tasks, strict=True) for i in range(count)
  )
  return Cluster(workers, int(variable("SLURM_PROCID")))


def expand_hostlist(text: str) -> list[str]:
  """Spells out Slurm's notation for hosts: "a[1,08-10],b" -> a1, a08, a09, a10, b."""
  hosts = []
  for part in re.findall(r"(?:[^,\[]|\[[^\]]*\])+", text):
    match = re.fullmatch(r"([^\[]*)\[([^\]]*)\](.*)", part)
    if not match:
      hosts.append(part)
      continue
    prefix, ranges, rest = match.groups()
    for item in ranges.split(","):
      first, _, last = item.partition("-")
      for number in range(int(first), int(last or first) + 1):
        hosts += [f"{prefix}{number:0{len(first)}}{r}" for r in expand_hostlist(rest) or [""]]
  return hosts


def _expand_counts(text: str) -> list[int]:
  """Spells out Slurm's notation for counts: "2(x3),1" -> 2, 2, 2, 1."""
  counts = []
  for item in text.split(","):
    number, _, times = item.partition("(x")
    counts += [int(number)] * int(times.rstrip(")") or 1)
  return counts


def from_kubernetes(environment: Mapping[str, str]) -> Cluster:
  """Works out the cluster in an indexed Job of Kubernetes with a headless service.

  Pod i of the Job NAME has the host name NAME-i and is reached at NAME-i.SERVICE. Kubernetes
  sets JOB_COMPLETION_INDEX and HOSTNAME; the manifest must set BERT_TF_NUM_WORKERS (the Job's
  completions) and BERT_TF_SERVICE (its subdomain), and may set BERT_TF_PORT.
  """
  names = "JOB_COMPLETION_INDEX", "HOSTNAME", "BERT_TF_NUM_WORKERS", "BERT_TF_SERVICE"
  for name in names:
    if not environment.get(name):
      raise UserError(
        f"`cluster_resolver=kubernetes`: expected the environment variable {name}, found none;"
        " see docs/scaling.md for a manifest"
      )
  index, host, count, service = (environment[name] for name in names)
  job = host.removesuffix(f"-{index}")
  port = environment.get("BERT_TF_PORT", str(_PORT))
  workers = tuple(f"{job}-{i}.{service}:{port}" for i in range(int(count)))
  return Cluster(workers, int(index))


def names_of(workers: Sequence[str]) -> str:
  """The workers in a line of log."""
  return ", ".join(f"{i}: {worker}" for i, worker in enumerate(workers))
