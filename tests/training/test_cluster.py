from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from bert_tf.errors import UserError
from bert_tf.training import cluster
from bert_tf.training.cluster import Cluster
from bert_tf.training.options import DeviceOptions


def tf_config(**changes) -> str:
  config = {
    "cluster": {"worker": ["a:1", "b:2"]},
    "task": {"type": "worker", "index": 1},
  }
  return json.dumps({**config, **changes})


def test_tf_config_names_workers():
  assert cluster.from_tf_config(tf_config()) == Cluster(("a:1", "b:2"), 1)
  with_chief = tf_config(
    cluster={"chief": ["c:3"], "worker": ["a:1"]}, task={"type": "worker", "index": 0}
  )
  assert cluster.from_tf_config(with_chief) == Cluster(("c:3", "a:1"), 1)
  again = cluster.from_tf_config(cluster.from_tf_config(with_chief).to_tf_config())
  assert again == Cluster(("c:3", "a:1"), 1)


@pytest.mark.parametrize("text", ["", "  ", "{}", '{"cluster": {}}', '{"environment": "cloud"}'])
def test_tf_config_without_workers_means_one_process(text):
  assert cluster.from_tf_config(text) is None
  assert cluster.find_cluster(DeviceOptions(), {"TF_CONFIG": text}) is None
  for options in (
    DeviceOptions(distribution_strategy="multi_worker_mirrored"),
    DeviceOptions(cluster_resolver="tf_config"),
  ):
    with pytest.raises(UserError, match="expected the workers in the environment variable TF_CONF"):
      cluster.find_cluster(options, {"TF_CONFIG": text})


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ('{"cluster": ', "TF_CONFIG: expected something like"),
    ("[1]", "TF_CONFIG: expected something like"),
    ('{"cluster": {"worker": ["a:1"]}}', "TF_CONFIG: expected something like"),
    (tf_config(task={"type": "worker", "index": "x"}), "TF_CONFIG: expected something like"),
    (tf_config(task={"type": "worker", "index": 2}), "an index from 0 to 1, found 2"),
    (tf_config(task={"type": "ps", "index": 0}), "chief and worker only, found ps"),
    (tf_config(cluster={"worker": ["a:1"], "ps": ["b:1"]}), "chief and worker only, found ps"),
    (tf_config(cluster={"worker": ["a", "b:2"]}), "addresses such as host:2222, found 'a'"),
    (tf_config(cluster={"worker": ["a:1", "a:1"]}), "different addresses"),
    (tf_config(cluster={"worker": ["a:65536", "b:2"]}), "a port from 1 to 65535, found 'a:65536'"),
    (tf_config(cluster={"worker": ["a:0", "b:2"]}), "a port from 1 to 65535, found 'a:0'"),
    (tf_config(cluster={"worker": [1, 2]}), "addresses such as host:2222, found 1"),
  ],
)
def test_malformed_tf_config_is_refused(text, message):
  with pytest.raises(UserError, match=message):
    cluster.find_cluster(DeviceOptions(), {"TF_CONFIG": text})


def test_the_script_refuses_malformed_tf_config_before_tensorflow(root):
  command = [
    sys.executable,
    "-X",
    "importtime",
    str(root / "run_pretraining.py"),
    "--bert_config_file=none",
    "--input_file=none",
    "--output_dir=none",
  ]
  environment = {**os.environ, "TF_CONFIG": "{"}
  result = subprocess.run(
    command, capture_output=True, text=True, cwd=root, env=environment, timeout=60
  )
  assert result.returncode == 1
  assert "error: TF_CONFIG: expected something like" in result.stderr
  assert " tensorflow\n" not in result.stderr


@pytest.mark.parametrize(
  ("text", "hosts"),
  [
    ("node1", ["node1"]),
    ("node[08-10]", ["node08", "node09", "node10"]),
    ("a[2,10],b,c-[1-2].site", ["a2", "a10", "b", "c-1.site", "c-2.site"]),
    ("r[1-2]n[1-2]", ["r1n1", "r1n2", "r2n1", "r2n2"]),
  ],
)
def test_slurm_hosts(text, hosts):
  assert cluster.expand_hostlist(text) == hosts


def test_slurm_numbers_workers_in_the_order_of_the_nodes():
  """Sorted by name, as TensorFlow's own resolver does, n10 would come before n2."""
  environment = {
    "SLURM_JOB_ID": "120042",
    "SLURM_STEP_NODELIST": "n[2,10-11]",
    "SLURM_STEP_TASKS_PER_NODE": "2(x2),1",
    "SLURM_PROCID": "3",
  }
  found = cluster.find_cluster(DeviceOptions(cluster_resolver="slurm"), environment)
  workers = ("n2:8930", "n2:8931", "n10:8930", "n10:8931", "n11:8930")
  assert found == Cluster(workers, 3)
  with pytest.raises(UserError, match="SLURM_PROCID, found none; start the script with srun"):
    cluster.from_slurm({k: v for k, v in environment.items() if k != "SLURM_PROCID"})
  with pytest.raises(UserError, match="as many task counts as hosts"):
    cluster.from_slurm({**environment, "SLURM_STEP_NODELIST": "n2"})


def test_an_indexed_job_of_kubernetes():
  environment = {
    "JOB_COMPLETION_INDEX": "1",
    "HOSTNAME": "bert-large-1",
    "BERT_TF_NUM_WORKERS": "2",
    "BERT_TF_SERVICE": "workers",
  }
  found = cluster.find_cluster(DeviceOptions(cluster_resolver="kubernetes"), environment)
  assert found == Cluster(("bert-large-0.workers:8888", "bert-large-1.workers:8888"), 1)
  with pytest.raises(UserError, match="expected the environment variable BERT_TF_SERVICE"):
    cluster.from_kubernetes({**environment, "BERT_TF_SERVICE": ""})
