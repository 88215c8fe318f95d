"""Configuration for the stock image of TensorFlow Serving, written beside the versions."""

from __future__ import annotations

import os
import re

from absl import logging

from bert_tf.files import atomic_writer

_FILES = {
  "models.config": """\
model_config_list {
  config {
    name: "@NAME@"
    base_path: "/models/@NAME@"
    model_platform: "tensorflow"
    # A new version is loaded before the old one is unloaded; a broken one is never served.
    model_version_policy { latest { num_versions: 1 } }
  }
}
""",
  "batching.config": """\
# Requests that wait for each other for up to 2 ms are answered together.
max_batch_size { value: 32 }
batch_timeout_micros { value: 2000 }
max_enqueued_batches { value: 100 }
num_batch_threads { value: 4 }
# Requests with ids of different lengths can share a batch; 0 is the id of [PAD].
pad_variable_length_inputs: true
""",
  "monitoring.config": """\
prometheus_config {
  enable: true
  path: "/monitoring/prometheus/metrics"
}
""",
  "docker-compose.yml": """\
# docker compose -f serving/docker-compose.yml up
# Then: curl http://127.0.0.1:8501/v1/models/@NAME@
services:
  "@DNS_NAME@":
    image: tensorflow/serving:${TF_SERVING_VERSION:-latest}
    command:
      - --model_config_file=/models/@NAME@/serving/models.config
      - --enable_batching=true
      - --batching_parameters_file=/models/@NAME@/serving/batching.config
      - --monitoring_config_file=/models/@NAME@/serving/monitoring.config
    ports:
      # Of this machine only; put what checks who is asking in front before you open it.
      - "127.0.0.1:8500:8500"
      - "127.0.0.1:8501:8501"
    volumes:
      - "..:/models/@NAME@:ro"
    cap_drop: [ALL]
    security_opt: ["no-new-privileges:true"]
    restart: unless-stopped
""",
  "kubernetes.yaml": """\
# The claim @DNS_NAME@ must hold this model's directory: the numbered versions and serving/.
apiVersion: apps/v1
kind: Deployment
metadata:
  name: "@DNS_NAME@"
  labels: {app: "@DNS_NAME@"}
spec:
  replicas: 2
  selector:
    matchLabels: {app: "@DNS_NAME@"}
  template:
    metadata:
      labels: {app: "@DNS_NAME@"}
      annotations:
        prometheus.io/scrape: "true"
        prometheus.io/port: "8501"
        prometheus.io/path: /monitoring/prometheus/metrics
    spec:
      automountServiceAccountToken: false
      containers:
        - name: serving
          image: tensorflow/serving:latest
          args:
            - --model_config_file=/models/@NAME@/serving/models.config
            - --enable_batching=true
            - --batching_parameters_file=/models/@NAME@/serving/batching.config
            - --monitoring_config_file=/models/@NAME@/serving/monitoring.config
          ports:
            - {name: grpc, containerPort: 8500}
            - {name: rest, containerPort: 8501}
          readinessProbe:
            httpGet: {path: /v1/models/@NAME@, port: rest}
            periodSeconds: 5
          livenessProbe:
            tcpSocket: {port: grpc}
            initialDelaySeconds: 60
          resources:
            requests: {cpu: "1", memory: 2Gi}
            limits: {memory: 4Gi}
          securityContext:
            allowPrivilegeEscalation: false
            capabilities: {drop: [ALL]}
          volumeMounts:
            - {name: model, mountPath: /models/@NAME@, readOnly: true}
      volumes:
        - name: model
          persistentVolumeClaim: {claimName: "@DNS_NAME@", readOnly: true}
---
apiVersion: v1
kind: Service
metadata:
  name: "@DNS_NAME@"
spec:
  selector: {app: "@DNS_NAME@"}
  ports:
    - {name: grpc, port: 8500, targetPort: grpc}
    - {name: rest, port: 8501, targetPort: rest}
""",
}


def model_name(export_dir: str) -> str:
  """The name that the model is served under: that of its directory, in harmless characters."""
  name = os.path.basename(os.path.abspath(export_dir))
  return re.sub(r"[^A-Za-z0-9._-]", "-", name).strip(".-") or "bert"


def write(export_dir: str) -> None:
  """Writes what is not there of `<export_dir>/serving/`; files that were edited stay as they are.

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
    for file_name, template in _FILES.items():
      path = os.path.join(export_dir, "serving", file_name)
      text = template.replace("@NAME@", name).replace("@DNS_NAME@", dns_name)
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
    logging.info(
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
