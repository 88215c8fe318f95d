"""Searches: what is tried, halving, killed and continued, memory, and what is refused."""

from __future__ import annotations

import importlib.util
import json

import numpy as np
import pytest

from bert_tf import UserError
from bert_tf.experiments import search, space
from bert_tf.experiments.search import SearchOptions

# A script in little: its score is best at a rate of 3e-5, and grows with the part that is done.
SCRIPT = """
import json, math, os, pathlib, sys
flags = dict(word[2:].partition("=")[::2] for word in sys.argv[1:])
out = pathlib.Path(flags["output_dir"])
out.mkdir(parents=True, exist_ok=True)
(out / "starts").open("a").write(flags.get("stop_at", "1") + " ")
off = abs(math.log(float(flags["learning_rate"]) / 3e-5)) + 0.1 * (flags.get("depth") == "deep")
json.dump({"accuracy": float(flags.get("stop_at", 1)) / (1 + off)},
          (out / "eval_metrics.json").open("w"))
"""


@pytest.fixture
def options(tmp_path):
  path = tmp_path / "script.py"
  path.write_text(SCRIPT)

  def make(**more) -> SearchOptions:
    values = {
      "space": {"learning_rate": space.Choices(("1e-5", "3e-5", "9e-5"))},
      "sampler": "grid",
      **more,
    }
    return SearchOptions(str(path), ("--learning_rate=1",), str(tmp_path / "out"), **values)

  return make


def trials(tmp_path) -> list[dict]:
  return [json.loads(line) for line in (tmp_path / "out" / "trials.jsonl").read_text().splitlines()]


def starts(tmp_path) -> dict[str, str]:
  return {path.parent.name: path.read_text() for path in (tmp_path / "out").glob("runs/*/starts")}


def test_the_grid_of_the_paper():
  found = space.grid({name: space.Choices(values) for name, values in space.PAPER.items()})
  assert len(found) == 18
  assert found[0] == {
    "train_batch_size": "16", "learning_rate": "5e-5", "num_train_epochs": "2"
  }  # fmt: skip
  assert len({tuple(settings.values()) for settings in found}) == 18


def test_a_grid_is_tried_once_and_the_best_is_first(options, tmp_path, capfd):
  first = search.run(options())
  found = trials(tmp_path)
  assert [line["settings"]["learning_rate"] for line in found] == [3e-5, 1e-5, 9e-5]
  assert found[0]["trial"] == "trial-001" and found[0]["score"] == 1.0
  assert (tmp_path / "out" / "scores.png").read_bytes().startswith(b"\x89PNG")
  assert capfd.readouterr().out.splitlines()[-3].split()[:2] == ["trial-001", "3e-5"]
  assert search.run(options()) == first
  assert starts(tmp_path) == {f"trial-00{n}": "1 " for n in range(3)}


def test_a_random_search_draws_the_same_again_and_within_its_bounds(options, tmp_path):
  rates = space.Range(1e-5, 1e-3, "log")
  depths = space.Choices(("flat", "deep"))
  wanted = options(
    space={"learning_rate": rates, "depth": depths}, sampler="random", trials=4, workers=2
  )
  first = search.run(wanted)
  assert (
    len(first) == 4 and len({line["settings"]["learning_rate"] for line in trials(tmp_path)}) == 4
  )
  more = options(space=wanted.space, sampler="random", trials=6, workers=2)
  assert search.run(more).items() >= first.items()
  drawn = [space.random(wanted.space, 1, n) for n in range(2000)]
  values = np.array([float(settings["learning_rate"]) for settings in drawn])
  assert values.min() >= 1e-5 and values.max() <= 1e-3
  # Uniform in the logarithm: half of them are below the geometric mean.
  assert np.mean(values < 1e-4) == pytest.approx(0.5, abs=0.05)
  assert {settings["depth"] for settings in drawn} == {"flat", "deep"}
  whole = [space.Range(2, 4, "int").draw(np.random.default_rng(n)) for n in range(100)]
  assert set(whole) == {"2", "3", "4"}


def test_successive_halving_takes_the_best_to_the_end(options, tmp_path):
  rates = tuple(f"{n}e-5" for n in (1, 2, 3, 4, 5, 6, 7, 8, 9))
  wanted = options(space={"learning_rate": space.Choices(rates)}, halving=3)
  results = search.run(wanted)
  done = starts(tmp_path)
  assert sorted(done.values()) == sorted(["0.1111 "] * 6 + ["0.1111 0.3333 "] * 2
                                         + ["0.1111 0.3333 1 "])  # fmt: skip
  assert done["trial-002"] == "0.1111 0.3333 1 "
  found = trials(tmp_path)
  assert found[0]["trial"] == "trial-002" and found[0]["part"] == 1
  assert results["trial-002"].score == 1.0
  assert search.run(wanted) == results and starts(tmp_path) == done
  assert [search._rungs(n, 3) for n in (1, 2, 3, 8, 9, 26, 27)] == [1, 1, 2, 2, 3, 3, 4]


def test_memory_of_the_driver_is_flat_over_trials(options, tmp_path):
  rates = space.Choices(tuple(f"{n}e-5" for n in range(1, 21)))
  results = search.run(options(space={"learning_rate": rates}))
  memory = [results[f"trial-{n:03d}"].driver_bytes for n in range(20)]
  assert memory[-1] - memory[1] < 4e6


@pytest.mark.skipif(not importlib.util.find_spec("optuna"), reason="needs Optuna")
def test_tpe_goes_where_scores_were_good_and_asks_the_same_again(options, tmp_path):
  rates = space.Range(1e-6, 1e-3, "log")
  wanted = options(space={"learning_rate": rates}, sampler="tpe", trials=16)
  first = search.run(wanted)
  assert search.run(wanted) == first
  scores = [first[f"trial-{n:03d}"].score for n in range(16)]
  assert np.mean(scores[8:]) > np.mean(scores[:5])


BAD = [
  ({"space": {}}, "expected values to try, found none"),
  ({"sampler": "random"}, "`trials`: expected how many, for `sampler=random`"),
  ({"sampler": "tpe", "trials": 3, "halving": 2}, "`halving`: expected grid or random"),
  ({"halving": 1}, "`halving`: expected 0 or at least 2"),
]


@pytest.mark.parametrize(("more", "message"), BAD)
def test_searches_that_make_no_sense(options, more, message):
  with pytest.raises(UserError, match=message):
    options(**more)


def test_a_range_has_no_grid(options):
  with pytest.raises(UserError, match="expected random or tpe for the range of learning_rate"):
    search.run(options(space={"learning_rate": space.Range(1.0, 2.0)}))


@pytest.mark.parametrize(
  ("read", "text", "message"),
  [
    (space.choices, "learning_rate", "`values`: expected a flag and values"),
    (space.choices, "learning_rate=", "`values`: expected a flag and values"),
    (space.choices, "learning_rate=1,1", "each value of learning_rate once"),
    (space.range_of, "learning_rate=1", "`range`: expected a flag, two numbers"),
    (space.range_of, "learning_rate=2:1", "the smaller one first"),
    (space.range_of, "learning_rate=1:2:cubic", "log, int or neither"),
    (space.range_of, "learning_rate=1:inf", "the smaller one first"),
    (space.range_of, "learning_rate=0:1:log", "expected bounds that suit log"),
    (space.range_of, "layers=0.5:2:int", "expected bounds that suit int"),
  ],
)
def test_values_that_are_not_written_well(read, text, message):
  with pytest.raises(UserError, match=message):
    read(text)


def test_values_that_are():
  assert space.choices("learning_rate=2e-5, 3e-5") == (
    "learning_rate", space.Choices(("2e-5", "3e-5"))
  )  # fmt: skip
  assert space.range_of("learning_rate=1e-5:1e-4:log")[1] == space.Range(1e-5, 1e-4, "log")
  assert [space.value_of(text) for text in ("16", "2e-5", "adamw")] == [16, 2e-5, "adamw"]
