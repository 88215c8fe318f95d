"""Fine-tuning here and in transformers: the same scores, in how much time?

python benchmarks/finetuning.py scores --glue DIR --init_checkpoint DIR --peers PYTHON
python benchmarks/finetuning.py speed --glue DIR --vocab_file FILE --peers PYTHON

`scores` fine-tunes a Hugging Face checkpoint on GLUE's tasks with run_classifier.py and with
transformers, with the same hyperparameters, several seeds each, and prints the scores on the dev
sets. `speed` measures examples per second of BERT-base on the lengths of the tasks: here with
length buckets, here padded to 128, and transformers with dynamic padding. Every run is a process of
its own on one core. `--peers` names a Python that has benchmarks/peers-requirements.txt. Figures
are added to --json, and runs that are in it already are not repeated.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
LEARNING_RATE, BATCH, LENGTH, WARMUP = 1e-4, 32, 128, 0.1


@dataclasses.dataclass(frozen=True)
class GlueTask:
  """Where a task's texts and labels are, and which score GLUE wants first.

  Attributes:
    columns: numbers of the columns of text.
    label: number of the column of labels.
    header: whether the first row names the columns.
    score: key of eval_metrics.json.
    epochs: to compare the scores after.
    flags: of run_classifier.py.
  """

  directory: str
  columns: tuple[int, ...]
  label: int
  score: str
  epochs: float
  flags: tuple[str, ...]
  header: bool = True


def _table(text: str, label: str, pair: str | None = None, kind: str = "classification"):
  flags = ("--task_name=table", f"--text_column={text}", f"--label_column={label}")
  return (*flags, f"--task_type={kind}", *([f"--text_pair_column={pair}"] if pair else []))


DEFAULTS = {
  "scores": {
    "tasks": "mrpc,cola,sts-b",
    "seeds": "1,2,3",
    "contenders": "ours bfloat16,transformers bfloat16",
  },
  "speed": {
    "tasks": "mrpc,sst-2",
    "seeds": "1",
    "contenders": "ours bfloat16,ours bfloat16 padded,transformers bfloat16",
  },
}
BERT_BASE = {
  "vocab_size": 30522, "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
  "intermediate_size": 3072, "type_vocab_size": 2, "max_position_embeddings": 512,
  "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1,
  "initializer_range": 0.02,
}  # fmt: skip
TASKS = {
  "mrpc": GlueTask("MRPC", (3, 4), 0, "f1", 2, ("--task_name=mrpc",)),
  "cola": GlueTask("CoLA", (3,), 1, "matthews", 2, ("--task_name=cola",), header=False),
  "sts-b": GlueTask(
    "STS-B", (7, 8), 9, "pearson", 2, _table("sentence1", "score", "sentence2", "regression")
  ),
  "sst-2": GlueTask("SST-2", (0,), 1, "accuracy", 0.1, _table("sentence", "label")),
}


def read(glue: str, task: GlueTask, split: str) -> tuple[list[tuple[str, ...]], list[float]]:
  """Texts and labels of a split, as GLUE's files give them."""
  path = pathlib.Path(glue) / task.directory / f"{split}.tsv"
  with open(path, encoding="utf-8-sig", newline="") as file:
    rows = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))[int(task.header) :]
  return [tuple(row[i] for i in task.columns) for row in rows], [float(r[task.label]) for r in rows]


def run_ours(args, task: GlueTask, seed: int, variant: str) -> dict:
  """One run of run_classifier.py; `variant` is a dtype and maybe "padded", "uncorrected"."""
  dtype, *options = variant.split()
  with tempfile.TemporaryDirectory() as directory:
    command = [
      sys.executable, str(ROOT / "run_classifier.py"), *task.flags,
      f"--data_dir={pathlib.Path(args.glue) / task.directory}", f"--output_dir={directory}/out",
      f"--bert_config_file={args.config_file}", f"--vocab_file={args.vocab_file}",
      f"--max_seq_length={LENGTH}", f"--train_batch_size={BATCH}", f"--seed={seed}",
      f"--learning_rate={LEARNING_RATE}", f"--warmup_proportion={WARMUP}", f"--dtype={dtype}",
      f"--num_train_epochs={epochs(args, task)}", f"--pad_to_max_length={'padded' in options}",
      f"--adam_bias_correction={'uncorrected' not in options}",
      "--do_train", f"--do_eval={args.what == 'scores'}", "--save_checkpoints_steps=1000000",
      "--iterations_per_loop=5", "--log_steps=5", "--eval_batch_size=32",
    ]  # fmt: skip
    if args.init_checkpoint:
      command.append(f"--init_checkpoint={args.init_checkpoint}")
    subprocess.run(command, check=True, capture_output=True, text=True)
    lines = pathlib.Path(directory, "out", "metrics.jsonl").read_text().splitlines()
    records = [r for r in map(json.loads, lines) if r["kind"] == "train"]
    result = speed([(5 * BATCH, 5 * BATCH / r["examples_per_second"]) for r in records])
    if args.what == "scores":
      scores = json.loads(pathlib.Path(directory, "out", "eval_metrics.json").read_text())
      result["score"] = scores[task.score]
  return result


def speed(loops: list[tuple[int, float]]) -> dict:
  """Examples per second of (examples, seconds): of all, and without the first fifth."""
  settled = loops[-(-len(loops) // 5) :] or loops
  return {
    "seconds": sum(seconds for _, seconds in loops),
    "examples_per_second": sum(n for n, _ in settled) / sum(seconds for _, seconds in settled),
  }


def epochs(args, task: GlueTask) -> float:
  """The task's epochs, or what makes --steps."""
  if args.what == "scores":
    return task.epochs
  return args.steps * BATCH / len(read(args.glue, task, "train")[0])


def run_transformers(args, task: GlueTask, seed: int, variant: str) -> dict:
  """The same fine-tuning by a plain loop on torch: runs in the peers' Python."""
  import torch
  import transformers

  torch.set_num_threads(1)
  torch.manual_seed(seed)
  texts, labels = read(args.glue, task, "train")
  regression = task.score == "pearson"
  tokenizer = transformers.BertTokenizerFast(args.vocab_file, do_lower_case=True)
  config = transformers.BertConfig.from_json_file(args.config_file)
  config.num_labels = 1 if regression else 2
  if args.init_checkpoint:
    model = transformers.BertForSequenceClassification.from_pretrained(
      args.init_checkpoint, config=config
    )
  else:
    model = transformers.BertForSequenceClassification(config)

  def batch_of(rows):
    columns = [list(column) for column in zip(*(texts[i] for i in rows), strict=True)]
    batch = tokenizer(
      *columns, padding=True, truncation=True, max_length=LENGTH, return_tensors="pt"
    )
    kind = torch.float32 if regression else torch.long
    return {**batch, "labels": torch.tensor([labels[i] for i in rows], dtype=kind)}

  dtype, *options = variant.split()
  steps = round(len(texts) * epochs(args, task) // BATCH)
  batches = batches_of(batch_of, len(texts), steps)
  loops = torch_training(model, batches, steps, dtype, "uncorrected" not in options)
  result = speed(loops)
  if args.what == "scores":
    texts, labels = read(args.glue, task, "dev")
    model.eval()
    with torch.no_grad():
      rows = [range(i, min(i + BATCH, len(texts))) for i in range(0, len(texts), BATCH)]
      logits = torch.cat([model(**batch_of(r)).logits for r in rows]).numpy()
    result["score"] = score(task, logits, labels)
  return result


def batches_of(batch_of, count: int, steps: int):
  """So many batches of shuffled rows, epoch after epoch."""
  import torch

  order = torch.tensor([], dtype=torch.long)
  for _ in range(steps):
    if len(order) < BATCH:
      order = torch.cat([order, torch.randperm(count)])
    yield batch_of(order[:BATCH].tolist())
    order = order[BATCH:]


def torch_training(model, batches, steps: int, dtype: str, corrected: bool):
  """Trains as the recipe of BERT says; returns (examples, seconds) of every step."""
  import torch

  plain = [p for n, p in model.named_parameters() if "bias" in n or "LayerNorm" in n]
  known = set(map(id, plain))
  decayed = [p for p in model.parameters() if id(p) not in known]
  optimizer = torch.optim.AdamW(
    [{"params": decayed, "weight_decay": 0.01}, {"params": plain, "weight_decay": 0.0}],
    lr=LEARNING_RATE, eps=1e-6,
  )  # fmt: skip

  def factor(step: int) -> float:
    t = step + 1
    rate = min(t / max(1, int(steps * WARMUP)), (steps - t) / (steps - int(steps * WARMUP)))
    # What torch's bias correction multiplies updates by, taken back.
    return rate if corrected else rate * (1 - 0.9**t) / (1 - 0.999**t) ** 0.5

  schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
  model.train()
  loops, start = [], time.perf_counter()
  for batch in batches:
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bfloat16"):
      loss = model(**batch).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    schedule.step()
    optimizer.zero_grad()
    loops.append((BATCH, time.perf_counter() - start))
    start = time.perf_counter()
  return loops


def score(task: GlueTask, logits, labels: list[float]) -> float:
  """The task's first score, by scikit-learn and scipy."""
  from scipy import stats
  from sklearn import metrics

  if task.score == "pearson":
    return float(stats.pearsonr(logits[:, 0], labels).statistic)
  predicted = logits.argmax(axis=-1)
  function = {
    "f1": metrics.f1_score,
    "matthews": metrics.matthews_corrcoef,
    "accuracy": metrics.accuracy_score,
  }[task.score]
  return float(function(labels, predicted))


def run_all(args) -> dict:
  """Every wanted run that is not in the file yet."""
  path = pathlib.Path(args.json)
  results = json.loads(path.read_text()) if path.exists() else {}
  for seed in args.seeds.split(","):
    for name in args.tasks.split(","):
      for contender in args.contenders.split(","):
        key = f"{args.what} {name} {contender} {seed}"
        if key in results:
          continue
        system, _, variant = contender.partition(" ")
        if system == "ours":
          results[key] = run_ours(args, TASKS[name], int(seed), variant)
        else:
          ended = subprocess.run(
            [args.peers, __file__, *sys.argv[1:], "--config_file", args.config_file,
             "--measure", f"{name},{seed},{variant}"],
            check=True, capture_output=True, text=True,
            env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"},
          )  # fmt: skip
          results[key] = json.loads(ended.stdout.splitlines()[-1])
        print(key, json.dumps(results[key]), flush=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(results, indent=1) + "\n")
  return results


def main() -> None:
  """Runs what was asked for."""
  parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
  parser.add_argument("what", choices=["scores", "speed"])
  parser.add_argument("--glue", required=True, help="directory with MRPC, CoLA, STS-B and SST-2")
  parser.add_argument("--init_checkpoint", help="a directory with config, vocabulary and weights")
  parser.add_argument("--config_file", help="default: in --init_checkpoint; without, BERT-base")
  parser.add_argument("--vocab_file", help="default: in --init_checkpoint")
  parser.add_argument("--peers", help="Python with benchmarks/peers-requirements.txt")
  parser.add_argument("--tasks", help="default: mrpc,cola,sts-b, and of `speed` mrpc,sst-2")
  parser.add_argument("--seeds", help="default: 1,2,3, and of `speed` 1")
  parser.add_argument("--steps", type=int, default=60, help="of `speed`")
  parser.add_argument("--contenders", help="default: those in bfloat16; with float32, more")
  parser.add_argument("--json", default="bench_out/finetuning.json")
  parser.add_argument("--measure", help=argparse.SUPPRESS)
  args = parser.parse_args()
  for name, value in DEFAULTS[args.what].items():
    setattr(args, name, getattr(args, name) or value)
  if args.init_checkpoint:
    args.config_file = args.config_file or os.path.join(args.init_checkpoint, "config.json")
    args.vocab_file = args.vocab_file or os.path.join(args.init_checkpoint, "vocab.txt")
  if args.measure:
    name, seed, variant = args.measure.split(",")
    print(json.dumps(run_transformers(args, TASKS[name], int(seed), variant)))
    return
  if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
  with tempfile.TemporaryDirectory() as directory:
    if not args.config_file:
      args.config_file = os.path.join(directory, "config.json")
      pathlib.Path(args.config_file).write_text(json.dumps(BERT_BASE))
    run_all(args)


if __name__ == "__main__":
  main()
