"""The package as users get it: what a wheel and a source distribution hold, and that they work."""

from __future__ import annotations

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile

import pytest

pytest.importorskip("wheel", reason="needs the extra test")


@pytest.fixture(scope="module")
def source(root, tmp_path_factory) -> pathlib.Path:
  """A copy of what git knows, since a build leaves files behind."""
  directory = tmp_path_factory.mktemp("source")
  try:
    listed = subprocess.run(
      ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
      cwd=root, capture_output=True, check=True,
    ).stdout.decode()  # fmt: skip
  except (OSError, subprocess.CalledProcessError):
    pytest.skip("needs a checkout")
  for name in filter(None, listed.split("\0")):
    if (root / name).is_file() and not name.startswith("tests/golden/"):
      (directory / name).parent.mkdir(parents=True, exist_ok=True)
      shutil.copy(root / name, directory / name)
  return directory


def build(source: pathlib.Path, output: pathlib.Path, kind: str) -> pathlib.Path:
  command = [sys.executable, "setup.py", "-q", kind, "--dist-dir", str(output)]
  ended = subprocess.run(command, cwd=source, capture_output=True, text=True, timeout=300)
  assert ended.returncode == 0, ended.stderr
  [path] = output.iterdir()
  return path


@pytest.fixture(scope="module")
def wheel(source, tmp_path_factory) -> pathlib.Path:
  return build(source, tmp_path_factory.mktemp("wheel"), "bdist_wheel")


def test_a_wheel_holds_the_package_and_nothing_else(wheel, root):
  with zipfile.ZipFile(wheel) as archive:
    names = archive.namelist()
    [entry_points] = [n for n in names if n.endswith("entry_points.txt")]
    assert "bert-tf = bert_tf.__main__:console" in archive.read(entry_points).decode()
    [metadata] = [n for n in names if n.endswith("METADATA")]
    metadata = archive.read(metadata).decode()
  assert {name.split("/")[0].split("-")[0] for name in names} == {"bert_tf"}
  package = {str(p.relative_to(root)) for p in (root / "bert_tf").rglob("*.py")}
  assert package <= set(names)
  assert {"bert_tf/py.typed", "bert_tf/serving/page.html"} <= set(names)
  assert not [name for name in names if name.startswith("bert_tf/") and "test" in name]
  for line in (
    "License: Apache-2.0", "Requires-Python: >=3.10,<3.14", "Project-URL: Paper",
    "Programming Language :: Python :: 3.13", "Provides-Extra: model-garden",
  ):  # fmt: skip
    assert line in metadata, line
  required = [line for line in metadata.splitlines() if line.startswith("Requires-Dist: tf-models")]
  assert all("extra ==" in line for line in required)


def test_every_extra_of_the_documents_exists(root):
  setup = (root / "setup.py").read_text(encoding="utf-8")
  extras = set(re.findall(r'^  "([\w-]+)": \[', setup, re.M))
  pages = [root / "README.md", *(root / "docs").glob("*.md"), *(root / "bert_tf").rglob("*.py")]
  named = {
    extra
    for page in pages
    for listed in re.findall(r"(?:bert_tf|\.)\[([\w,-]+)\]['\" `@]", page.read_text("utf-8"))
    for extra in listed.split(",")
  }
  assert named and named <= extras
  # Releases of pip before 23.3 do not find an extra with an underscore.
  assert not [extra for extra in extras if "_" in extra]


def test_a_source_distribution_holds_scripts_tests_and_documents(source, tmp_path):
  with tarfile.open(build(source, tmp_path, "sdist")) as archive:
    names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
  for name in (
    "run_classifier.py", "sample_text.txt", "Makefile", "constraints.txt", "LICENSE",
    "CHANGELOG.md", "docs/migration.md", "docs/quickstart.png", "tests/test_wheel.py",
    "tests/conftest.py", "examples/custom_head.py", "benchmarks/step.py", "mkdocs.yml",
    "bert_tf/serving/page.html",
  ):  # fmt: skip
    assert name in names, name
  assert not [name for name in names if "__pycache__" in name]


def _environment() -> dict[str, str]:
  """That of this process, without the checkout."""
  return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


@pytest.fixture(scope="module")
def fresh(wheel, tmp_path_factory) -> pathlib.Path:
  """An environment with the wheel; what it depends on is that of the environment of the tests."""
  directory = tmp_path_factory.mktemp("fresh")
  venv.create(directory, with_pip=True)
  paths = {"base": str(directory), "platbase": str(directory)}
  site = pathlib.Path(sysconfig.get_path("purelib", "venv", vars=paths))
  before = set(os.listdir(site))
  pip = [directory / "bin" / "pip", "install", "-q", "--no-deps", "--no-index", wheel]
  # Or pip takes the checkout on the path, once it has been installed from, for the package.
  subprocess.run(pip, check=True, timeout=300, env=_environment())
  assert {name.split("-")[0] for name in set(os.listdir(site)) - before} == {"bert_tf"}
  (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
  return directory / "bin"


@pytest.mark.long
def test_the_installed_wheel_is_all_that_one_needs(fresh, golden, tmp_path):
  """In an empty directory: quickstart, classify, export, predict."""
  environment = _environment()
  environment["PATH"] = f"{fresh}{os.pathsep}{environment['PATH']}"

  def run(*command: str) -> str:
    ended = subprocess.run(
      command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=900
    )
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-2000:]
    return ended.stdout

  assert run("bert-tf", "--version").startswith("bert_tf ")
  where = run("python", "-c", "import bert_tf; print(bert_tf.__file__)")
  assert where.startswith(str(fresh.parent))
  closing = run("bert-tf", "quickstart", "--fast")
  assert "  bert-tf classify --task_name=table" in closing
  assert "python " not in closing.rsplit("=" * 80, 1)[1].replace("python -m tensorboard", "")
  run(
    "bert-tf", "classify", "--task_name=mrpc", f"--data_dir={golden / 'glue' / 'MRPC'}",
    "--init_checkpoint=quickstart/pretraining", "--output_dir=mrpc", "--do_train", "--do_eval",
    "--max_seq_length=32", "--num_train_epochs=1", "--vocab_file=quickstart/vocab.txt",
  )  # fmt: skip
  run("bert-tf", "export", "--init_checkpoint=mrpc", "--export_dir=models/mrpc")
  answers = run("bert-tf", "predict", "quickstart/export/area", "Read a line from the socket.")
  answer = json.loads(answers)
  assert answer["label"] == max(answer["probabilities"], key=answer["probabilities"].get)
