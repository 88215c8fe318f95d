"""What would fail later, found out at once: a directory that cannot be written, a model that no
memory holds. Needs no TensorFlow, and leaves nothing behind.
"""

from __future__ import annotations

import os
import subprocess
import tempfile

from bert_tf.config import BertConfig
from bert_tf.errors import UserError

# float32 weight, gradient and two moments.
_BYTES_PER_PARAMETER = 16


def check(config: BertConfig, output_dir: str, replicas: int = 1) -> None:
  """Checks what a training needs besides its data.

  Args:
    config: the model's.
    output_dir: of the run.
    replicas: how many copies of the model share the memory of the host, where there are no GPUs.

  Raises:
    UserError: one of the checks below fails.
  """
  check_memory(config, replicas)
  check_writable(output_dir)


def check_memory(config: BertConfig, replicas: int = 1) -> None:
  """Raises UserError where the weights and what an update needs of them cannot fit.

  Only what cannot be is refused: activations and the head come on top.
  """
  available, where = _memory()
  if where == "this machine":
    available //= replicas
  needed = _BYTES_PER_PARAMETER * parameter_count(config)
  if available and needed > available:
    raise UserError(
      f"expected a model that fits into the memory of {where} ({_gb(available)} for each copy),"
      f" found one of {parameter_count(config):,} parameters, whose weights, gradients and moments"
      f" take {_gb(needed)}; check the sizes in `bert_config_file` ({_sizes(config)})"
    )


def parameter_count(config: BertConfig) -> int:
  """How many numbers the encoder and the pooler have, by the config alone."""
  hidden, inner = config.hidden_size, config.intermediate_size
  rows = config.vocab_size + config.type_vocab_size + config.max_position_embeddings
  norm = 2 * hidden
  attention = 4 * (hidden * hidden + hidden) + norm
  feed_forward = 2 * hidden * inner + inner + hidden + norm
  pooler = hidden * hidden + hidden
  return rows * hidden + norm + config.num_hidden_layers * (attention + feed_forward) + pooler


def check_writable(output_dir: str) -> None:
  """Raises UserError where a directory cannot be created or written; leaves nothing there.

  To be sure something is written, in the directory or the nearest one above that exists.
  """
  place = os.path.abspath(output_dir)
  while not os.path.lexists(place) and os.path.dirname(place) != place:
    place = os.path.dirname(place)
  try:
    os.rmdir(tempfile.mkdtemp(prefix=".writable-", dir=place))
  except OSError as error:
    raise UserError(
      f"`output_dir`: cannot write in {output_dir}: {error.strerror}; give another directory"
    ) from error


def _memory() -> tuple[int, str]:
  """Bytes of the smallest GPU, or of this machine; 0 where that cannot be told."""
  gpus = _gpu_memory()
  if gpus:
    return min(gpus), "the smallest GPU"
  return _host_memory(), "this machine"


def _host_memory() -> int:
  """What the machine has, or what a container is granted of it."""
  try:
    found = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
  except (ValueError, OSError, AttributeError):
    return 0
  for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
    try:
      with open(path, encoding="ascii") as file:
        found.append(int(file.read()))
    except (OSError, ValueError):  # No such limit, or "max".
      continue
  return min(found)


def _gpu_memory() -> list[int]:
  """Bytes of every visible NVIDIA GPU; none where there are none."""
  if not os.path.exists("/dev/nvidiactl") or os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
    return []
  command = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
  try:
    told = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout
    return [int(line) << 20 for line in told.split()]
  except (OSError, subprocess.SubprocessError, ValueError):
    return []


def _gb(number: int) -> str:
  return f"{number / 1e9:,.1f} GB"


def _sizes(config: BertConfig) -> str:
  names = "vocab_size", "hidden_size", "num_hidden_layers", "intermediate_size"
  return ", ".join(f"{name} {getattr(config, name):,}" for name in names)
