"""Configuration for servers and their monitoring, written beside the versions."""

from __future__ import annotations

import importlib.resources
import os
import re

from absl import logging

from bert_tf.files import atomic_writer

# Templates; what is between @ is put in.
_FILES = (
  "models.config",
  "batching.config",
  "monitoring.config",
  "docker-compose.yml",
  "kubernetes.yaml",
  "Dockerfile",
  "prometheus.yml",
  "alerts.yml",
  "dashboard.json",
)


def model_name(export_dir: str) -> str:
  """The name that the model is served under: that of its directory, in harmless characters."""
  name = os.path.basename(os.path.abspath(export_dir))
  return re.sub(r"[^A-Za-z0-9._-]", "-", name).strip(".-") or "bert"


def write(export_dir: str) -> None:
  """Writes what is not there of `<export_dir>/serving/`; what is there stays as it is.

  Raises:
    UserError: a file cannot be written; none of this call is left then.
  """
  name = model_name(export_dir)
  dns_name = re.sub(r"[^a-z0-9-]", "-", name.lower()).strip("-")[:50].strip("-") or "bert"
  if not dns_name[0].isalpha():  # Kubernetes wants a letter first in the name of a service.
    dns_name = f"bert-{dns_name}"
  written: list[str] = []
  edited: list[str] = []
  try:
    for file_name in _FILES:
      path = os.path.join(export_dir, "serving", file_name)
      template = importlib.resources.files("bert_tf.export").joinpath(f"serving_files/{file_name}")
      text = template.read_text("utf-8").replace("@NAME@", name).replace("@DNS_NAME@", dns_name)
      if os.path.lexists(path):
        edited += [file_name] if _differs(path, text) else []
        continue
      with atomic_writer(path) as file:
        file.write(text)
      written.append(path)
  except BaseException:
    for path in written:
      os.remove(path)
    raise
  if edited:
    logging.warning(
      "%s: left as they are, for they differ from what would be written: %s; to have them anew,"
      " move them away",
      os.path.join(export_dir, "serving"),
      ", ".join(edited),
    )


def _differs(path: str, text: str) -> bool:
  try:
    with open(path, encoding="utf-8", newline="") as file:
      return file.read() != text
  except (OSError, UnicodeDecodeError):
    return True
