"""The floor plan: upper floors import lower ones, and nothing heavy at the door."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest

# From the ground up. A module may import from its own floor and from those below.
FLOORS = [
  {"errors"},
  {"files", "script"},
  {"config", "ops", "fused_ops"},
  {"tokenization", "data", "layers", "modeling", "heads"},
  {"checkpoints"},
  {"optimization"},
  {"training", "tasks"},
  {"serving"},
  {"compress", "quickstart"},
  {"__main__"},
]
SCRIPTS = [
  "create_pretraining_data", "run_pretraining", "run_classifier", "run_squad", "run_ner",
  "extract_features", "export_model", "convert_checkpoint",
]  # fmt: skip


def floor(name: str) -> int:
  return next(i for i, names in enumerate(FLOORS) if name in names)


def imported(path) -> set[str]:
  """The rooms of bert_tf that a file imports, wherever in the file."""
  rooms = set()
  for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
    if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
      if node.module == "bert_tf":
        rooms |= {alias.name for alias in node.names}
      elif node.module.startswith("bert_tf."):
        rooms.add(node.module.split(".")[1])
    elif isinstance(node, ast.Import):
      rooms |= {a.name.split(".")[1] for a in node.names if a.name.startswith("bert_tf.")}
  return rooms - {"BertConfig", "BertModel", "UserError", "__version__"}


def test_no_floor_imports_one_above_it(root):
  wrong = []
  for path in sorted((root / "bert_tf").rglob("*.py")):
    room = path.relative_to(root / "bert_tf").parts[0].removesuffix(".py")
    if room == "__init__":
      continue
    wrong += [
      f"{path.relative_to(root)} imports {other}"
      for other in imported(path)
      if floor(other) > floor(room)
    ]
  assert not wrong


def test_flags_are_read_in_scripts_only(root):
  wrong = [
    str(path)
    for path in (root / "bert_tf").rglob("*.py")
    if "absl import flags" in path.read_text() or "FLAGS." in path.read_text()
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
