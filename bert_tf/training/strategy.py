"""Which devices to train on."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Mapping
from typing import Any

import tensorflow as tf
from absl import logging

from bert_tf.errors import UserError
from bert_tf.training import cluster as clusters
from bert_tf.training import rendezvous, watchdog
from bert_tf.training.options import DeviceOptions


def create_strategy(
  options: DeviceOptions,
  settings: Mapping[str, Any] | None = None,
  output_dir: str | None = None,
) -> tf.distribute.Strategy:
  """Creates the strategy that `options` asks for.

  "auto" takes a TPU where one is named, several workers where the environment names them, all
  GPUs where there are several, and one device otherwise.

  Args:
    options: which devices.
    settings: what all workers must have been told alike, see `rendezvous.meet`.
    output_dir: a directory that all workers must see.

  Raises:
    UserError: the TPU or a worker cannot be reached, the cluster is wrongly described, or workers
      were started differently.
  """
  name = options.distribution_strategy
  if name == "tpu" or (name == "auto" and options.tpu_name):
    return _tpu_strategy(options)
  cluster = clusters.find_cluster(options)
  if cluster:
    rendezvous.meet(cluster, options.worker_timeout, settings, output_dir)
    return _multi_worker_strategy(cluster, options.worker_timeout)
  _warn_of_slow_types(options.dtype)
  if name == "mirrored" or (name == "auto" and len(_gpus()) > 1):
    return _mirrored_strategy(tuple(_local_devices()))
  return tf.distribute.OneDeviceStrategy(_local_devices()[0])


@functools.cache
def _mirrored_strategy(devices: tuple[str, ...]) -> tf.distribute.MirroredStrategy:
  """One for the whole process: a second would number its exchanges from the start again, and those
  of other shapes under the same number fail.
  """
  return tf.distribute.MirroredStrategy(devices)


def describe(strategy: tf.distribute.Strategy, global_batch_size: int) -> str:
  """One line on the devices and the share of the batch that each computes."""
  replicas = strategy.num_replicas_in_sync
  kind = type(strategy).__name__.removesuffix("V2").removesuffix("V1")
  kind = kind.replace("CollectiveAllReduce", "MultiWorkerMirrored")
  return (
    f"{kind}: {replicas} replica(s), {global_batch_size // replicas} of {global_batch_size}"
    " examples of a batch each"
  )


def has_several_workers(strategy: tf.distribute.Strategy) -> bool:
  """Whether other processes take part."""
  return isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)


def workers(strategy: tf.distribute.Strategy) -> tuple[int, int]:
  """How many processes take part, and the number of this one."""
  if not has_several_workers(strategy):
    return 1, 0
  resolver = strategy.cluster_resolver
  return len(resolver.cluster_spec().job_tasks("worker")), resolver.task_id


def local_replicas(strategy: tf.distribute.Strategy) -> int:
  """How many copies of the model this process holds."""
  count, _ = workers(strategy)
  return strategy.num_replicas_in_sync // count


def is_chief(strategy: tf.distribute.Strategy) -> bool:
  """Whether this process writes checkpoints and logs."""
  return not has_several_workers(strategy) or strategy.cluster_resolver.task_id == 0


def who_is_gone(strategy: tf.distribute.Strategy, message: str) -> str:
  """The worker that an error of TensorFlow is about, by the message; else "one"."""
  addresses = strategy.cluster_resolver.cluster_spec().job_tasks("worker")
  own = strategy.cluster_resolver.task_id
  found = {int(number) for number in re.findall(r"/task:(\d+)", message)} - {own}
  found |= {i for i, address in enumerate(addresses) if address in message} - {own}
  if len(addresses) == 2:
    found = {1 - own}
  if len(found) != 1:
    return "one"
  [number] = found
  return f"worker {number} ({addresses[number]})"


def _gpus() -> list[str]:
  return [device.name for device in tf.config.list_logical_devices("GPU")]


def _local_devices() -> list[str]:
  return _gpus() or [device.name for device in tf.config.list_logical_devices("CPU")]


def _warn_of_slow_types(dtype: str) -> None:
  if dtype == "float16" and not _gpus():
    logging.warning(
      "`dtype=float16` is very slow on a CPU and overflows sooner; take bfloat16 there"
    )


def _multi_worker_strategy(
  cluster: clusters.Cluster, timeout: float
) -> tf.distribute.MultiWorkerMirroredStrategy:
  logging.info(
    "Worker %d of %d (%s)", cluster.index, len(cluster.workers), clusters.names_of(cluster.workers)
  )
  os.environ["TF_CONFIG"] = cluster.to_tf_config()
  with watchdog.time_limit(timeout, "the other workers to connect (--worker_timeout)"):
    try:
      strategy = tf.distribute.MultiWorkerMirroredStrategy()
    except (tf.errors.OpError, RuntimeError, ValueError) as error:
      reason = str(error).splitlines()[0]
      raise UserError(
        f"expected {len(cluster.workers)} workers that can reach each other, found: {reason};"
        " start all workers again"
      ) from error
  return strategy


def _tpu_strategy(options: DeviceOptions) -> tf.distribute.TPUStrategy:
  try:
    resolver = tf.distribute.cluster_resolver.TPUClusterResolver(
      tpu=options.tpu_name or "", zone=options.tpu_zone, project=options.gcp_project
    )
    tf.config.experimental_connect_to_cluster(resolver)
    tf.tpu.experimental.initialize_tpu_system(resolver)
  except (tf.errors.OpError, ValueError, RuntimeError) as error:
    reason = str(error).splitlines()[0]
    raise UserError(
      f"`tpu_name={options.tpu_name}`: expected a TPU that can be reached, found none ({reason});"
      " start it, or train with `distribution_strategy=one_device`"
    ) from error
  return tf.distribute.TPUStrategy(resolver)
