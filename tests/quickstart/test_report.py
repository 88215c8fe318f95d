from __future__ import annotations

import json

import pytest

from bert_tf.processes import Cost
from bert_tf.quickstart import plan, report
from bert_tf.quickstart.results import Baseline, Results
from bert_tf.quickstart.size import FULL

_RESULTS = Results(
  masked_lm=0.1872,
  next_sentence=0.61,
  areas_pretrained=0.55,
  areas_random=0.42,
  areas_longer=0.6,
  masked_lm_baseline=Baseline("the", 0.045),
  next_sentence_baseline=Baseline("random", 0.57),
  areas_baseline=Baseline("internet", 0.23),
  areas=[{"text": "Wait for the lock.", "label": "concurrency", "probability": 0.8}],
  masks=[
    {
      "text": "A [MASK] of [MASK].",
      "masks": [
        [{"token": "list", "probability": 0.25}, {"token": "set", "probability": 0.125}],
        [{"token": "names", "probability": 0.5}],
      ],
      "filled": "A list of names.",
    }
  ],
)


@pytest.fixture
def layout(tmp_path) -> plan.Layout:
  layout = plan.Layout(str(tmp_path))
  for run, losses in (
    ("pretraining", ("masked_lm_loss", "next_sentence_loss", "loss")),
    ("classifier_pretrained", ("loss",)),
    ("classifier_random", ("loss",)),
  ):
    (tmp_path / run).mkdir()
    with open(tmp_path / run / "metrics.jsonl", "w") as file:
      for step in range(100, 1100, 100):
        line = {"kind": "train", "step": step, **dict.fromkeys(losses, 500 / (step + 50))}
        file.write(json.dumps(line) + "\n")
  return layout


def test_summary_tells_accuracies_beside_baselines(layout):
  lines = report.summary(_RESULTS, {"text": Cost(1, 2, 2**30)}, layout, FULL).splitlines()
  assert lines[1].split() == [
    "masked", "LM,", "held-out", "documents", "18.7%", "4.5%", "the",
  ]  # fmt: skip
  assert [line.split()[-3:] for line in lines[2:6]] == [
    ["61.0%", "57.0%", "random"],
    ["55.0%", "23.0%", "internet"],
    ["42.0%", "23.0%", "internet"],
    ["60.0%", "23.0%", "internet"],
  ]
  text = "\n".join(lines)
  assert "concurrency             80.0%  Wait for the lock." in text
  assert "A [MASK] of [MASK].  ->  list 25.0%, set 12.5%; names 50.0%" in text


def test_summary_adds_up_costs(layout):
  costs = {"text": Cost(1, 2, 2**30), "records_train": Cost(10, 20, 2**31)}
  lines = report.summary(_RESULTS, costs, layout, FULL).splitlines()
  assert "records train                    10.0         20.0      2.00 GiB" in lines
  assert "all                              11.0         22.0      2.00 GiB" in lines


@pytest.mark.parametrize("evaluations", [False, True])
def test_draws_curves(layout, tmp_path, evaluations):
  if evaluations:
    line = {"kind": "eval", "step": 500, "masked_lm_loss": 5.0, "masked_lm_accuracy": 0.1}
    with open(tmp_path / "pretraining" / "metrics.jsonl", "a") as file:
      file.write(json.dumps(line) + "\n")
  path = tmp_path / "curves.png"
  report.write_curves(str(path), _RESULTS, layout)
  data = path.read_bytes()
  assert data.startswith(b"\x89PNG")
  width, height = (int.from_bytes(data[at : at + 4], "big") for at in (16, 20))
  assert (width, height) == (1200, 816)
  assert len(data) > 20_000


def test_next_steps_name_what_is_there(layout):
  text = report.next_steps(layout, FULL)
  for path in (layout.vocab_file, layout.config_file, layout.path("export", "area")):
    assert path in text
