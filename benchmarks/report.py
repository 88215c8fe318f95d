"""One table and one picture of what `make bench` has measured.

python benchmarks/report.py DIRECTORY

Reads the JSON files of step.py, inference.py and finetuning.py in the directory, leaves out those
that are not there, and writes peers.png beside them: how long each contender takes, where ours in
bfloat16 is 1.
"""

from __future__ import annotations

import json
import pathlib
import sys

Row = tuple[str, str, float, int | None]
OURS = "ours bfloat16"


def read(directory: pathlib.Path, name: str) -> dict:
  """The content of a JSON file; {} where there is none."""
  path = directory / name
  return json.loads(path.read_text()) if path.exists() else {}


def rows(directory: pathlib.Path) -> list[Row]:
  """(what, who, seconds, peak memory in MiB) of everything that was measured."""
  found: list[Row] = []
  for who, result in read(directory, "step.json").get("results", {}).items():
    found.append(("pretraining step", who, result["seconds"]["step"], result["peak_mib"]))
  for who, result in read(directory, "shape.json").items():
    found.append(("forward, 8 x 128", who, result["forward"] / 1000, None))
  for who, result in read(directory, "lengths.json").items():
    for padding, what in (("as long as needed", ""), ("padded to 128", ", padded")):
      if padding in result:
        found.append(("sentences of SST-2", who + what, result[padding] / 1000, None))
  for key, result in read(directory, "finetuning.json").items():
    kind, task, who = key.rsplit(" ", 1)[0].split(" ", 2)
    if kind == "speed":
      found.append((f"fine-tuning {task}", who, 32 / result["examples_per_second"], None))
  return found


def draw(found: list[Row], path: pathlib.Path) -> None:
  """Bars of the times, a panel for each thing measured."""
  import matplotlib

  matplotlib.use("Agg")
  from matplotlib import pyplot

  whats = list(dict.fromkeys(what for what, *_ in found))
  # As much room for every bar, and for the title and the axis of a panel as for two.
  rows = [2 + sum(name == what for name, *_ in found) for what in whats]
  figure, panels = pyplot.subplots(
    len(whats), 1, figsize=(7, 0.22 * sum(rows)), squeeze=False, height_ratios=rows
  )
  for panel, what in zip(panels[:, 0], whats, strict=True):
    times = {who: seconds for name, who, seconds, _ in found if name == what}
    base = times.get(OURS, min(times.values()))
    names = list(times)[::-1]
    colors = ["tab:blue" if name.startswith(("ours", "litert")) else "tab:gray" for name in names]
    bars = panel.barh(names, [times[name] / base for name in names], color=colors)
    panel.bar_label(bars, fmt="%.2f", padding=2)
    panel.set_title(what, fontsize=10)
    panel.tick_params(labelsize=8)
    panel.spines[["top", "right"]].set_visible(False)
  figure.tight_layout()
  figure.savefig(path, dpi=80)


def main() -> None:
  """Prints the table and draws the picture."""
  directory = pathlib.Path(sys.argv[1])
  found = rows(directory)
  base = {what: seconds for what, who, seconds, _ in found if who == OURS}
  print(f"{'':22} {'':34} {'seconds':>9} {'to ours':>8} {'peak MiB':>9}")
  for what, who, seconds, memory in found:
    ratio = f"{seconds / base[what]:8.2f}" if what in base else " " * 8
    print(f"{what:22} {who:34} {seconds:9.3f} {ratio} {memory or '':>9}")
  if found:
    draw(found, directory / "peers.png")


if __name__ == "__main__":
  main()
