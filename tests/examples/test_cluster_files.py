"""What starts training on clusters, checked by the tools that know the formats, where they are."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from bert_tf.export import deployment

yaml = pytest.importorskip("yaml")
MANIFESTS = ("kubernetes.yaml", "jobset.yaml")
SCRIPTS = ("slurm.sh", "tpu_vm.sh")


@pytest.fixture(scope="module")
def files(root, tmp_path_factory):
  """All manifests, scripts and Dockerfiles, by name; those of an export among them."""
  model = tmp_path_factory.mktemp("models") / "sst2"
  deployment.write(str(model))
  found = {path.name: path for path in (root / "examples" / "cluster").iterdir()}
  return {
    **found,
    **{f"serving-{path.name}": path for path in (model / "serving").iterdir()},
  }


def documents(path) -> list[dict]:
  return list(yaml.safe_load_all(path.read_text()))


def containers(files) -> list[dict]:
  """Of all workloads of all manifests."""
  pods = []
  for name in (*MANIFESTS, "serving-kubernetes.yaml"):
    for document in documents(files[name]):
      spec = document["spec"]
      jobs = [job["template"]["spec"] for job in spec.get("replicatedJobs", [])] or [spec]
      pods += [job["template"]["spec"] for job in jobs if "template" in job]
  assert len(pods) == 3
  for pod in pods:
    assert pod["terminationGracePeriodSeconds"] >= 60 and pod["volumes"]
  return [container for pod in pods for container in pod["containers"]]


def test_nothing_is_left_to_be_filled_in(files):
  for path in files.values():
    assert "..." not in re.sub(r"#.*", "", path.read_text()), path
  for container in containers(files):
    assert {"requests", "limits"} == set(container["resources"])
    assert container["securityContext"]["allowPrivilegeEscalation"] is False


def test_flags_are_those_of_the_script(files, root):
  """Of all that start a training."""
  text = "".join(files[name].read_text() for name in (*MANIFESTS, *SCRIPTS))
  text = re.sub("#.*", "", text)
  flags = set(re.findall(r"--([a-z_]+)(?:=| \\|\n)", text))
  sources = (
    "".join(path.read_text() for path in (root / "bert_tf" / "scripts").glob("*.py"))
    + (root / "bert_tf" / "training" / "options.py").read_text()
  )
  unknown = {flag for flag in flags if not re.search(rf"\b{flag}\b", sources)}
  assert len(flags) > 10 and not unknown, unknown


def test_the_names_of_pods_are_those_that_the_workers_look_for(files):
  from bert_tf.training import cluster

  [jobset] = documents(files["jobset.yaml"])
  [job] = jobset["spec"]["replicatedJobs"]
  names = [f"{jobset['metadata']['name']}-{job['name']}-0-{index}" for index in range(4)]
  env = {e["name"]: e["value"] for e in containers(files)[1]["env"]}
  found = cluster.from_kubernetes({**env, "JOB_COMPLETION_INDEX": "2", "HOSTNAME": names[2]})
  assert found.index == 2 and [worker.split(".")[0] for worker in found.workers] == names
  assert env["BERT_TF_SERVICE"] == jobset["spec"]["network"]["subdomain"]


def test_kubernetes_takes_the_manifests(files, tmp_path):
  """JobSet is not of Kubernetes itself: the Job within is."""
  if not (validate := shutil.which("kubernetes-validate")):
    pytest.skip("needs kubernetes-validate")
  [jobset] = documents(files["jobset.yaml"])
  job = jobset["spec"]["replicatedJobs"][0]["template"]
  inner = tmp_path / "job.yaml"
  inner.write_text(
    yaml.safe_dump({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "x"}, **job})
  )
  for path in (files["kubernetes.yaml"], files["serving-kubernetes.yaml"], inner):
    done = subprocess.run([validate, "--strict", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["Dockerfile", "serving-Dockerfile"])
def test_hadolint_takes_the_dockerfiles(files, name):
  if not (hadolint := shutil.which("hadolint")):
    pytest.skip("needs hadolint")
  done = subprocess.run([hadolint, files[name]], capture_output=True, text=True, check=False)
  assert done.returncode == 0 and not done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_are_shell(files, name):
  subprocess.run(["bash", "-n", files[name]], check=True)
  if shellcheck := shutil.which("shellcheck"):
    done = subprocess.run([shellcheck, files[name]], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_a_slurm_job_that_runs_out_of_time_is_queued_again(files, tmp_path):
  """With stand-ins for Slurm's own programs: the tasks are told first, then the job is queued."""
  said = tmp_path / "said"
  for name, script in (
    ("srun", f'trap "sleep 0.5; echo saved >> {said}; exit 143" TERM; echo began >> {said};'
             " while true; do sleep 0.1; done"),
    ("scontrol", f'echo "scontrol $*" >> {said}'),
  ):  # fmt: skip
    (tmp_path / name).write_text(f"#!/bin/bash\n{script}\n")
    (tmp_path / name).chmod(0o755)
  env = {
    "PATH": f"{tmp_path}:/usr/bin:/bin",
    "SLURM_JOB_ID": "7",
    "BERT_DATA": "d",
    "BERT_OUT": "o",
  }
  with subprocess.Popen(["bash", files["slurm.sh"]], env=env) as process:
    while not (said.exists() and "began" in said.read_text()):
      assert process.poll() is None
    process.terminate()
    assert process.wait(20) == 0
  assert said.read_text().splitlines() == ["began", "saved", "scontrol requeue 7"]
