from __future__ import annotations

import re

import pytest

from bert_tf.errors import UserError
from bert_tf.export import deployment


@pytest.mark.parametrize(
  ("directory", "name", "dns_name"),
  [
    ("sst2", "sst2", "sst2"),
    ("My Model_1", "My-Model_1", "my-model-1"),
    ("日本", "bert", "bert"),
    ("2024", "2024", "bert-2024"),
  ],
)
def test_files_name_the_model(tmp_path, directory, name, dns_name):
  deployment.write(str(tmp_path / directory))
  files = {path.name: path.read_text() for path in (tmp_path / directory / "serving").iterdir()}
  assert sorted(files) == [
    "Dockerfile", "alerts.yml", "batching.config", "dashboard.json", "docker-compose.yml",
    "kubernetes.yaml", "models.config", "monitoring.config", "prometheus.yml",
  ]  # fmt: skip
  assert not re.search("@[A-Z_]+@", "".join(files.values()))
  assert f'base_path: "/models/{name}"' in files["models.config"]
  assert f'  name: "{dns_name}"\n' in files["kubernetes.yaml"]
  # Ports are opened to this machine alone.
  assert set(re.findall(r'- "(\S*?):850\d:', files["docker-compose.yml"])) == {"127.0.0.1"}


def test_configs_are_what_tensorflow_serving_reads(tmp_path):
  from google.protobuf import text_format

  config = pytest.importorskip(
    "tensorflow_serving.config.model_server_config_pb2", reason="needs the extra serving"
  )
  deployment.write(str(tmp_path / "m"))
  serving = tmp_path / "m" / "serving"
  models = text_format.Parse((serving / "models.config").read_text(), config.ModelServerConfig())
  assert models.model_config_list.config[0].base_path == "/models/m"


@pytest.mark.parametrize("directory", ["on", "1e3", "null"])
def test_names_that_yaml_takes_for_something_else(tmp_path, directory):
  yaml = pytest.importorskip("yaml")
  deployment.write(str(tmp_path / directory))
  serving = tmp_path / directory / "serving"
  documents = list(yaml.safe_load_all((serving / "kubernetes.yaml").read_text()))
  names = {document["metadata"]["name"] for document in documents}
  names |= set(yaml.safe_load((serving / "docker-compose.yml").read_text())["services"])
  [deployed] = (document for document in documents if document["kind"] == "Deployment")
  names.add(deployed["spec"]["template"]["metadata"]["labels"]["app"])
  assert names == {directory if directory.isalpha() else f"bert-{directory}"}


def test_edited_files_stay_and_are_named(tmp_path, caplog):
  deployment.write(str(tmp_path / "m"))
  deployment.write(str(tmp_path / "m"))
  assert "left as they are" not in caplog.text
  serving = tmp_path / "m" / "serving"
  edited = "max_batch_size { value: 64 }\n"
  (serving / "batching.config").write_text(edited)
  (serving / "monitoring.config").unlink()
  deployment.write(str(tmp_path / "m"))
  assert (serving / "batching.config").read_text() == edited
  assert (serving / "monitoring.config").exists()
  assert re.search("left as they are, .*: batching.config; to have", caplog.text)


def test_what_cannot_be_written_leaves_nothing(tmp_path, monkeypatch):
  writer = deployment.atomic_writer

  def refuse(path):
    if path.endswith("kubernetes.yaml"):
      raise UserError("cannot write")
    return writer(path)

  monkeypatch.setattr(deployment, "atomic_writer", refuse)
  with pytest.raises(UserError, match="cannot write"):
    deployment.write(str(tmp_path / "m"))
  assert list((tmp_path / "m" / "serving").iterdir()) == []
