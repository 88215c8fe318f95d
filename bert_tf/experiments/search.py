"""Tries values of a script's flags; every trial is a run, and dev scores choose among them."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from bert_tf.errors import UserError
from bert_tf.experiments import report, seeds
from bert_tf.experiments.driver import Driver
from bert_tf.experiments.plan import FINISHED, Result, Run, without
from bert_tf.experiments.space import Settings, Space, Tpe, grid, random, value_of
from bert_tf.files import atomic_writer

SAMPLERS = ("grid", "random", "tpe")
TRIALS_FILE = "trials.jsonl"


@dataclasses.dataclass(frozen=True)
class SearchOptions:
  """What is searched.

  Attributes:
    script: see `SeedsOptions`, as are the next three and `metrics` and `export_dir`.
    flags: those that no trial changes.
    output_dir: of the search.
    space: flag -> its values.
    sampler: one of SAMPLERS.
    trials: how many; of a grid at most so many, in an order that is drawn; None: all of a grid.
    seed: of what is drawn.
    workers: see `SeedsOptions`.
    halving: keep the best 1 of so many trials at each rung of a successive halving; 0: do all
      trials to their end.
    metrics: see `SeedsOptions`.
    export_dir: see `SeedsOptions`.
  """

  script: str
  flags: tuple[str, ...]
  output_dir: str
  space: Space
  sampler: str
  trials: int | None = None
  seed: int = 12345
  workers: int = 1
  halving: int = 0
  metrics: tuple[str, ...] = ()
  export_dir: str | None = None

  def __post_init__(self) -> None:
    if not self.space:
      raise UserError("expected values to try, found none; give `grid=paper`, `values` or `range`")
    if self.sampler not in SAMPLERS:
      raise UserError(f"`sampler`: expected one of {', '.join(SAMPLERS)}, found {self.sampler!r}")
    if self.sampler != "grid" and self.trials is None:
      raise UserError(f"`trials`: expected how many, for `sampler={self.sampler}`, found none")
    if self.halving == 1 or self.halving < 0:
      raise UserError(f"`halving`: expected 0 or at least 2, found {self.halving}")
    if self.halving and self.sampler == "tpe":
      raise UserError("`halving`: expected grid or random as `sampler`, found tpe")


def run(options: SearchOptions) -> dict[str, Result]:
  """Does the search, prints a table and leaves it, JSON lines and a picture.

  Returns:
    Trial -> its last result.

  Raises:
    UserError: trials failed; the others are reported all the same.
    Stopped: a signal arrived; started again, it goes on.
  """
  with Driver(options.output_dir, options.workers) as driver:
    if options.halving:
      runs = _halve(driver, options)
    elif options.sampler == "tpe":
      runs = _estimate(driver, options)
    else:
      runs = [_trial(options, n, chosen) for n, chosen in enumerate(_settings(options))]
      driver.do(runs)
    last = {run.directory: run for run in runs if run.name in driver.records.results}
    results = {name: driver.records.results[run.name] for name, run in last.items()}
    print(_report(options, last, results), flush=True)
    if options.export_dir:
      chosen = seeds.best(_furthest(list(last.values())), list(results.values()))
      seeds.export(driver, chosen, options.export_dir)
  seeds.refuse_failed(list(results.values()))
  return results


def _settings(options: SearchOptions) -> list[Settings]:
  """Those of all trials, where they do not depend on scores."""
  if options.sampler == "random":
    return [random(options.space, options.seed, n) for n in range(options.trials or 0)]
  everything = grid(options.space)
  if options.trials is None or options.trials >= len(everything):
    return everything
  import numpy as np

  order = np.random.default_rng(options.seed).permutation(len(everything))
  return [everything[n] for n in order[: options.trials]]


def _trial(
  options: SearchOptions, number: int, settings: Settings, stop_at: float = 1.0, before: str = ""
) -> Run:
  """The run of a trial, or of a part of it.

  Args: `before`, the name of the part that it goes on from.
  """
  directory = f"trial-{number:03d}"
  own = [f"--{name}={value}" for name, value in settings.items()]
  if stop_at < 1:
    own.append(f"--stop_at={stop_at:g}")
  flags = without(options.flags, *settings, "stop_at")
  if not any(word.startswith("--keep_checkpoint_max") for word in flags):
    own.append("--keep_checkpoint_max=1")
  return Run(
    directory if stop_at == 1 else f"{directory}.to-{stop_at:g}",
    options.script,
    (*flags, *own),
    directory,
    settings=dict(settings),
    metrics=options.metrics,
    needs=(before,) if before else (),
  )


def _estimate(driver: Driver, options: SearchOptions) -> list[Run]:
  """Trial by trial, as many at a time as there are workers, each where others scored well."""
  sampler = Tpe(options.space, options.seed)
  runs: list[Run] = []
  while len(runs) < (options.trials or 0):
    numbers = range(len(runs), min(len(runs) + options.workers, options.trials or 0))
    results = {result.name: result for result in driver.records.of(runs)}
    scored = [
      (run.settings, score)
      for run in runs
      if run.name in results and (score := results[run.name].score) is not None
    ]
    wave = [_trial(options, n, sampler.ask(n, scored)) for n in numbers]
    driver.do(wave)
    runs += wave
  return runs


def _halve(driver: Driver, options: SearchOptions) -> list[Run]:
  """Successive halving (Jamieson and Talwalkar 2016): all trials for a part of their steps, the
  best for more, and so on to the end.

  The schedule of each is that of its whole, so that those which come to the end are what they would
  have been without a rung.
  """
  settings = _settings(options)
  rate = options.halving
  rungs = _rungs(len(settings), rate)
  alive = list(range(len(settings)))
  runs: list[Run] = []
  latest: dict[int, Run] = {}
  for rung in reversed(range(rungs)):
    stop_at = float(f"{rate**-rung:.4g}")
    wave = [
      _trial(options, n, settings[n], stop_at, latest[n].name if n in latest else "") for n in alive
    ]
    results = {result.name: result for result in driver.do(wave)}
    runs += wave
    latest |= dict(zip(alive, wave, strict=True))
    scores = {
      n: results[run.name].score
      for n, run in latest.items()
      if n in alive and run.name in results and results[run.name].status == FINISHED
    }
    # Of equals the first.
    ranked = sorted(scores, key=lambda n: (-(scores[n] or 0.0), n))
    alive = sorted(ranked[: max(1, len(wave) // rate)])
  return runs


def _rungs(trials: int, rate: int) -> int:
  """How many rungs bring so many trials down to one."""
  count = 1
  while trials >= rate:
    trials, count = trials // rate, count + 1
  return count


def _furthest(runs: Sequence[Run]) -> list[Run]:
  """The runs that went to the end: others are no models to take."""
  return [run for run in runs if run.name == run.directory]


def _report(options: SearchOptions, runs: Mapping[str, Run], results: Mapping[str, Result]) -> str:
  """Writes table, JSON lines and picture; returns the table, the best first."""
  names = list(options.space)
  ended = {name for name, run in runs.items() if run.name == run.directory}

  def rank(name: str) -> tuple[Any, ...]:
    score = results[name].score
    return name not in ended, score is None, -(score or 0.0), name

  order = sorted(runs, key=rank)
  rows: list[list[str]] = []
  lines: list[dict[str, Any]] = []
  for name in order:
    result, chosen = results[name], runs[name].settings
    part = next((w.partition("=")[2] for w in runs[name].flags if w.startswith("--stop_at=")), "1")
    note = result.error or ("learnt nothing" if result.learnt_nothing else "")
    rows.append(
      [name, *(str(chosen[n]) for n in names), part, report.number(result.score),
       f"{result.seconds:.0f}", note]
    )  # fmt: skip
    lines.append(
      {"trial": name, "settings": {n: value_of(chosen[n]) for n in names}, "part": float(part),
       "score": result.score, "status": result.status, "seconds": result.seconds,
       "driver_bytes": result.driver_bytes}
    )  # fmt: skip
  with atomic_writer(os.path.join(options.output_dir, TRIALS_FILE)) as file:
    file.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
  text = report.table(("trial", *names, "part", "score", "seconds", ""), rows)
  report.write(options.output_dir, text, lines)
  points = [(line["settings"], line["score"]) for line in lines if line["score"] is not None]
  report.draw_search(os.path.join(options.output_dir, report.PICTURE_FILE), points)
  return text
