"""The floor plan: upper floors import lower ones, no circles, and nothing heavy at the door."""

from __future__ import annotations

import ast
import collections
import subprocess
import sys

import pytest

# The rooms of bert_tf from the ground up. A room imports from the floors below its own, and from
# itself; rooms of one floor do not know each other.
FLOORS = [
  {"errors"},
  {"files", "script", "ops", "progress_bars", "processes"},
  {"config", "names", "fused_ops"},
  {"execution", "model_features"},
  {"layers", "tokenization", "keras_model"},
  {"modeling", "data"},
  {"heads", "model_dir"},
  {"checkpoints", "optimization", "document_classifier"},
  {"training"},
  {"tasks"},
  {"export"},
  {"trained_model"},
  {"estimators", "serving"},
  {"quickstart", "experiments", "recipes"},
  {"scripts"},
  {"__main__"},
]
SCRIPTS = [
  "create_pretraining_data", "run_pretraining", "run_classifier", "run_squad", "run_ner",
  "extract_features", "export_model", "convert_checkpoint",
]  # fmt: skip


def floor(room: str) -> int:
  found = [number for number, rooms in enumerate(FLOORS) if room in rooms]
  assert found, f"bert_tf/{room} stands on no floor; give it one in FLOORS and in docs/design.md"
  return found[0]


def imports_of(package) -> dict[str, set[str]]:
  """Module -> the modules of bert_tf that it imports, wherever in the file; names below bert_tf."""
  paths = {}
  for path in package.rglob("*.py"):
    parts = path.relative_to(package).with_suffix("").parts
    paths[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path

  def named(node) -> list[str]:
    if isinstance(node, ast.Import):
      return [a.name[len("bert_tf.") :] for a in node.names if a.name.startswith("bert_tf.")]
    if not isinstance(node, ast.ImportFrom) or node.level or not node.module:
      return []
    if node.module.split(".")[0] != "bert_tf":
      return []
    base = node.module[len("bert_tf.") :]
    full = [f"{base}.{alias.name}".strip(".") for alias in node.names]
    return [name if name in paths else base for name in full]

  return {
    module: {name for node in ast.walk(ast.parse(path.read_text("utf-8"))) for name in named(node)}
    - {module, ""}
    for module, path in paths.items()
    if module
  }


@pytest.fixture(scope="module")
def imports(root) -> dict[str, set[str]]:
  return imports_of(root / "bert_tf")


def test_no_room_imports_its_own_floor_or_one_above(imports):
  wrong = []
  for module, others in imports.items():
    room = module.split(".")[0]
    for other in others:
      above = floor(other.split(".")[0]) >= floor(room)
      if other.split(".")[0] != room and above:
        wrong.append(f"{module} imports {other}")
  assert not wrong


def circles(imports: dict[str, set[str]]) -> list[list[str]]:
  """Takes away what imports nothing that is left, until only circles and what needs them are."""
  left = {module: set(others) for module, others in imports.items()}
  while free := [module for module, others in left.items() if not others & left.keys()]:
    for module in free:
      del left[module]
  users = collections.Counter(other for others in left.values() for other in others)
  return [sorted(left)] if left and users else []


def test_no_circle_of_files(imports):
  assert not circles(imports)


def test_a_circle_would_be_found(tmp_path):
  (tmp_path / "a.py").write_text("from bert_tf import b\n")
  (tmp_path / "b.py").write_text("def f():\n  from bert_tf.c import d\n")
  (tmp_path / "c.py").write_text("import bert_tf.a\n")
  (tmp_path / "free.py").write_text("import os\n")
  assert circles(imports_of(tmp_path)) == [["a", "b", "c"]]


def test_flags_are_read_in_scripts_only(root):
  wrong = [
    str(path)
    for path in (root / "bert_tf").rglob("*.py")
    if path.parent.name != "scripts"
    and ("absl import flags" in path.read_text() or "FLAGS." in path.read_text())
  ]
  assert not wrong


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_needs_no_tensorflow(root, name):
  """What makes `--help` and the refusal of bad input fast is that TensorFlow is not loaded."""
  code = (
    f"import sys; sys.argv = ['{name}.py', '--help']; sys.path.insert(0, '{root}')\n"
    "import runpy\n"
    "try:\n"
    f"  runpy.run_path('{root / name}.py', run_name='__main__')\n"
    "except SystemExit as end: assert not end.code, end.code\n"
    "heavy = {'tensorflow', 'keras', 'sklearn', 'seqeval', 'scipy', 'matplotlib'}\n"
    "heavy &= set(sys.modules)\n"
    "assert not heavy, heavy\n"
  )
  result = subprocess.run(
    [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
  )
  assert result.returncode == 0, result.stderr
  assert "--output" in result.stdout or "--export" in result.stdout


def test_package_and_commands_import_without_tensorflow(root):
  code = (
    "import sys, bert_tf, bert_tf.__main__ as m, importlib\n"
    "for module, _ in m.COMMANDS.values(): importlib.import_module(module)\n"
    "assert 'tensorflow' not in sys.modules\n"
  )
  subprocess.run([sys.executable, "-c", code], check=True, timeout=60, cwd=root)


def test_no_two_files_of_tests_have_one_name(root):
  """They are modules without a package, of which Python would take the one for the other."""
  names = [path.name for path in (root / "tests").rglob("test_*.py")]
  assert len(names) == len(set(names)), sorted(n for n in set(names) if names.count(n) > 1)
