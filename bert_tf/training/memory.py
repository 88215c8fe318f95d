"""How much memory this process and its devices take."""

from __future__ import annotations

import os

import tensorflow as tf


def memory_metrics() -> dict[str, float]:
  """`memory_gb`, resident in the host's memory now; `gpu_memory_gb`, the peak of the first GPU."""
  metrics = {}
  if os.path.exists("/proc/self/statm"):
    with open("/proc/self/statm", encoding="ascii") as file:
      pages = int(file.read().split()[1])
    metrics["memory_gb"] = pages * os.sysconf("SC_PAGE_SIZE") / 1e9
  for device in tf.config.list_logical_devices("GPU")[:1]:
    name = device.name.removeprefix("/device:")
    metrics["gpu_memory_gb"] = tf.config.experimental.get_memory_info(name)["peak"] / 1e9
  return metrics
