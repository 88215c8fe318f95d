"""Which devices to train on."""

from __future__ import annotations

import os

import tensorflow as tf

from bert_tf.errors import UserError
from bert_tf.training.options import DeviceOptions


def create_strategy(options: DeviceOptions) -> tf.distribute.Strategy:
  """Creates the strategy that `options` asks for.

  "auto" takes a TPU where one is named, several workers where TF_CONFIG names them, all GPUs
  where there are several, and one device otherwise.

  Raises:
    UserError: the TPU cannot be reached.
  """
  name = options.distribution_strategy
  if name == "auto":
    name = _found(options)
  if name == "tpu":
    return _tpu_strategy(options)
  if name == "multi_worker_mirrored":
    return tf.distribute.MultiWorkerMirroredStrategy()
  if name == "mirrored":
    return tf.distribute.MirroredStrategy(_local_devices())
  return tf.distribute.OneDeviceStrategy(_local_devices()[0])


def describe(strategy: tf.distribute.Strategy, global_batch_size: int) -> str:
  """One line on the devices and the share of the batch that each computes."""
  replicas = strategy.num_replicas_in_sync
  kind = type(strategy).__name__.removesuffix("V2").removesuffix("V1")
  return (
    f"{kind}: {replicas} replica(s), {global_batch_size // replicas} of {global_batch_size}"
    " examples of a batch each"
  )


def _found(options: DeviceOptions) -> str:
  if options.tpu_name:
    return "tpu"
  if "worker" in os.environ.get("TF_CONFIG", ""):
    return "multi_worker_mirrored"
  return "mirrored" if len(_local_devices()) > 1 and _gpus() else "one_device"


def _gpus() -> list[str]:
  return [device.name for device in tf.config.list_logical_devices("GPU")]


def _local_devices() -> list[str]:
  return _gpus() or [device.name for device in tf.config.list_logical_devices("CPU")]


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
      f"--tpu_name={options.tpu_name}: expected a TPU that can be reached, found none ({reason});"
      " start it, or train with --distribution_strategy=one_device"
    ) from error
  return tf.distribute.TPUStrategy(resolver)
