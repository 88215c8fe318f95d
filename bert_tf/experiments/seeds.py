"""The same run with several seeds: what a score is worth (Dodge et al. 2020, arXiv:2002.06305)."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence

from bert_tf.errors import UserError
from bert_tf.experiments import report
from bert_tf.experiments.driver import Driver, program
from bert_tf.experiments.plan import FAILED, FINISHED, Result, Run, name_of, without
from bert_tf.processes import Processes

FIRST_SEED = 12345


@dataclasses.dataclass(frozen=True)
class SeedsOptions:
  """What is done.

  Attributes:
    script: that fine-tunes, such as "run_classifier".
    flags: of the script, without `output_dir`; `seed` is the first one.
    output_dir: of the plan.
    seeds: how many.
    workers: how many at the same time.
    metrics: see `Run`.
    export_dir: where the best by its score is exported; None: nothing is.
  """

  script: str
  flags: tuple[str, ...]
  output_dir: str
  seeds: int
  workers: int = 1
  metrics: tuple[str, ...] = ()
  export_dir: str | None = None


def runs_of(
  script: str,
  flags: Sequence[str],
  seeds: int,
  group: str = "",
  metrics: tuple[str, ...] = (),
  needs: tuple[str, ...] = (),
) -> list[Run]:
  """A run for each of several seeds, which count up from that of the flags.

  Args: `group`, which their names begin with; the others as in `Run`.
  """
  given = [word.partition("=")[2] for word in flags if name_of(word) == "seed"]
  first = int(given[-1]) if given else FIRST_SEED
  found = []
  for seed in range(first, first + seeds):
    name = f"{group}.seed-{seed}" if group else f"seed-{seed}"
    words = (*without(flags, "seed"), f"--seed={seed}")
    found.append(Run(name, script, words, name, group, seed, {"seed": seed}, metrics, needs=needs))
  return found


def run(options: SeedsOptions) -> list[Result]:
  """Does the runs, prints a table, and leaves it, a picture and the curve in the output directory.

  Raises:
    UserError: runs failed; those that did not are reported all the same.
    Stopped: a signal arrived; started again, it goes on.
  """
  runs = runs_of(options.script, options.flags, options.seeds, metrics=options.metrics)
  with Driver(options.output_dir, options.workers) as driver:
    results = driver.do(runs)
    print(report.of_seeds(options.output_dir, runs, results), flush=True)
    if options.export_dir:
      export(driver, best(runs, results), options.export_dir)
  refuse_failed(results)
  return results


def best(runs: Sequence[Run], results: Sequence[Result]) -> Run:
  """The run of the best score, the first of equals; raises UserError where none has one."""
  scored = {r.name: r.score for r in results if r.status == FINISHED and r.score is not None}
  candidates = [run for run in runs if run.name in scored]
  if not candidates:
    raise UserError("expected a run with a score, found none; see the logs of the failed ones")
  return max(candidates, key=lambda run: scored[run.name] or 0.0)


def export(driver: Driver, chosen: Run, export_dir: str) -> None:
  """Exports the weights of a run; raises UserError where that fails."""
  flags = [f"--init_checkpoint={driver.path(chosen)}", f"--export_dir={export_dir}"]
  with Processes() as processes:
    processes.start([*program("export_model"), *flags], driver.environment())
    ended = processes.wait()
  if ended.code:
    raise UserError(f"the export of {chosen.name} ended with exit code {ended.code}; see above")
  print(f"{chosen.name}, the best, is exported to {os.path.abspath(export_dir)}", flush=True)


def refuse_failed(results: Sequence[Result]) -> None:
  """Raises UserError where runs failed, so that the command does too."""
  if failed := [result for result in results if result.status == FAILED]:
    raise UserError(
      f"{len(failed)} of {len(results)} runs failed: {', '.join(r.name for r in failed[:5])}"
      f" ({failed[0].error}); mend what is wrong and start the same command again: only these are"
      " done"
    )
