"""What the benchmarks of serving share: texts, an export, and a server in a process of its own."""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import subprocess
import sys
from collections.abc import Iterator

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
DATA = pathlib.Path(os.environ.get("BERT_TF_DATA", ROOT.parent / "shared" / "data"))
GOLDEN = ROOT / "tests" / "golden"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
NAME = "bench"
PREDICT = f"/v1/models/{NAME}:predict"


def texts() -> list[str]:
  """Sentences of the lengths that users send."""
  path = DATA / "glue" / "SST-2" / "dev.tsv"
  if path.exists():
    lines = path.read_text(encoding="utf-8").splitlines()[1:]
    return [line.split("\t")[0] for line in lines]
  return [line for line in (GOLDEN / "corpus.txt").read_text("utf-8").splitlines() if line.strip()]


def vocabulary() -> str:
  """The released uncased vocabulary, or the tests' one."""
  path = DATA / "vocabs" / "bert-base-uncased-vocab.txt"
  found = sorted((DATA / "vocabs").glob("*uncased*")) if DATA.is_dir() else []
  return str(path if path.exists() else found[0] if found else GOLDEN / "vocab.txt")


def export_classifier(
  directory: str, layers: int, hidden: int, dtype: str = "float32", static: bool = False
) -> str:
  """Exports a classifier with random weights; returns the version's directory."""
  from bert_tf.config import BertConfig
  from bert_tf.export.exporters import export
  from bert_tf.export.options import ExportOptions, GraphPlan
  from bert_tf.heads import ClassifierModel
  from bert_tf.model_dir import Description
  from bert_tf.tokenization import load_vocab

  tokens = tuple(load_vocab(vocabulary()))
  heads = max(1, hidden // 64)
  config = BertConfig(len(tokens), hidden, layers, heads, 4 * hidden, type_vocab_size=2)
  about = Description(config, tokens, labels=("negative", "positive"), head="classification")
  plan = GraphPlan(about, static, dtype=dtype)
  return export(ClassifierModel(config, 2), plan, ExportOptions(directory, 1, check=False))


@contextlib.contextmanager
def running_server(model_dir: str, *flags: str) -> Iterator[tuple[subprocess.Popen, int]]:
  """`python -m bert_tf serve` as a process, and its port."""
  command = [sys.executable, "-m", "bert_tf", "serve", model_dir, "--name", NAME, "--port", "0"]
  process = subprocess.Popen(
    [*command, "--grpc_port", "-1", *flags],
    stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT,
  )  # fmt: skip
  try:
    for line in process.stdout:
      if match := re.search(r"REST\s+http://[^:]+:(\d+)", line):
        yield process, int(match.group(1))
        break
    else:
      raise RuntimeError("the server did not start")
  finally:
    process.terminate()
    if process.wait(120):
      print(f"the server ended with {process.returncode}", file=sys.stderr)


def resident_mib(process: subprocess.Popen) -> float:
  """Memory of a process."""
  status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
  return int(re.search(r"VmRSS:\s+(\d+)", status).group(1)) / 1024


def processor_seconds(process: subprocess.Popen) -> float:
  """Processor time that a process has used, which other work on the machine does not change."""
  fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
  return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
