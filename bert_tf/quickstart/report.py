"""The summary table, the curves and what to run next."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from bert_tf.files import atomic_writer
from bert_tf.processes import Cost
from bert_tf.quickstart.plan import Layout, exported_classifier, program
from bert_tf.quickstart.results import Results, curve
from bert_tf.quickstart.size import Scale

_BLUE, _ORANGE, _GREY = "#1f5fa8", "#d9731a", "#777777"


def summary(results: Results, costs: Mapping[str, Cost], layout: Layout, scale: Scale) -> str:
  """What was achieved, what it took and where it is, as text."""
  rows = [
    ("masked LM, held-out documents", results.masked_lm, results.masked_lm_baseline),
    ("next sentence, held-out documents", results.next_sentence, results.next_sentence_baseline),
    ("areas, from pretrained weights", results.areas_pretrained, results.areas_baseline),
    ("areas, from random weights", results.areas_random, results.areas_baseline),
  ]
  if results.areas_longer is not None:
    rows.append(("areas, pretrained, for longer", results.areas_longer, results.areas_baseline))
  lines = [f"{'accuracy':36}{'model':>8}{'baseline':>10}   the baseline always answers"]
  lines += [
    f"{name:36}{percent(accuracy):>8}{percent(baseline.accuracy):>10}   {baseline.answer}"
    for name, accuracy, baseline in rows
  ]
  lines += ["", "Sentences never seen, by the exported model:"]
  lines += [
    f"  {answer['label']:22}{percent(answer['probability']):>7}  {answer['text']}"
    for answer in results.areas
  ]
  lines += ["", *masked_words(results.masks)]
  return "\n".join([*lines, "", *cost_table(costs), "", *_files(layout, scale)])


def masked_words(masks: Sequence[Mapping[str, Any]]) -> list[str]:
  """Lines of sentences and what fill-mask puts into their gaps."""
  lines = ["Masked words:"]
  for answer in masks:
    words = [
      ", ".join(f"{word['token']} {percent(word['probability'])}" for word in mask)
      for mask in answer["masks"]
    ]
    lines.append(f"  {answer['text']}  ->  {'; '.join(words)}")
  return lines


def next_steps(layout: Layout, scale: Scale) -> str:
  """The command lines for the user's own text."""
  out, bert_tf = layout.output_dir, program()
  python = "python" if bert_tf == "bert-tf" else bert_tf.partition(" ")[0]
  records = f"{out}/mine.tfrecord"
  return f"""\
Your own text, one sentence a line and a blank line between documents:
  {bert_tf} pretraining-data --input_file='my_text/*.txt' --output_file={records} \\
    --vocab_file={layout.vocab_file} --max_seq_length={scale.max_seq_length} \\
    --max_predictions_per_seq={scale.max_predictions_per_seq} --dupe_factor=10
  {bert_tf} pretrain --input_file={records} --bert_config_file={layout.config_file} \\
    --output_dir={out}/mine --do_train --do_eval --max_seq_length={scale.max_seq_length} \\
    --max_predictions_per_seq={scale.max_predictions_per_seq} \\
    --init_checkpoint={out}/pretraining --num_train_steps=20000 --num_warmup_steps=1000 \\
    --learning_rate={scale.learning_rate} --train_batch_size={scale.train_batch_size}
Your own labels, in my_task/train.tsv and my_task/dev.tsv with columns text and label:
  {bert_tf} classify --task_name=table --data_dir=my_task --do_train --do_eval \\
    --vocab_file={layout.vocab_file} --bert_config_file={layout.config_file} \\
    --init_checkpoint={out}/pretraining --output_dir={out}/my_classifier \\
    --max_seq_length={scale.classifier_seq_length} --learning_rate={scale.longer_learning_rate}
The exported model:
  echo 'Read a line from the socket.' | {bert_tf} predict {out}/export/area
Curves in the browser:
  {python} -m tensorboard.main --logdir {out}"""


def write_curves(path: str, results: Results, layout: Layout) -> None:
  """Draws losses and accuracies as a PNG."""
  import matplotlib

  matplotlib.use("Agg")
  from matplotlib import pyplot

  with pyplot.rc_context(
    {
      "axes.spines.top": False,
      "axes.spines.right": False,
      "axes.grid": True,
      "grid.color": "#e6e6e6",
      "axes.axisbelow": True,
      "axes.titlesize": 11,
      "axes.titleweight": "bold",
      "axes.titlelocation": "left",
      "font.size": 9.5,
    }
  ):
    figure, axes = pyplot.subplots(2, 2, figsize=(10, 6.8), layout="constrained")
    _draw_pretraining(axes[:, 0], results, layout)
    _draw_classifiers(axes[:, 1], results, layout)
    try:
      with atomic_writer(path, "wb") as file:
        figure.savefig(file, format="png", dpi=120)
    finally:
      pyplot.close(figure)


def _draw_pretraining(axes: Sequence, results: Results, layout: Layout) -> None:
  metrics = layout.path("pretraining", "metrics.jsonl")
  losses, accuracies = axes
  losses.set_title("Pretraining: loss")
  for name, label, color in (
    ("masked_lm_loss", "masked LM", _BLUE),
    ("next_sentence_loss", "next sentence", _ORANGE),
  ):
    _plot(losses, curve(metrics, "train", name), f"{label}, training", color, alpha=0.45)
    _plot(losses, curve(metrics, "eval", name), f"{label}, held out", color, marker="o")
  accuracies.set_title("Pretraining: accuracy on held-out documents")
  for name, label, color, final, baseline in (
    ("masked_lm_accuracy", "masked LM", _BLUE, results.masked_lm, results.masked_lm_baseline),
    (
      "next_sentence_accuracy",
      "next sentence",
      _ORANGE,
      results.next_sentence,
      results.next_sentence_baseline,
    ),
  ):
    _plot_accuracy(accuracies, curve(metrics, "eval", name), label, color, final)
    _baseline(accuracies, baseline.accuracy, color)
  _finish(losses, accuracies)


def _draw_classifiers(axes: Sequence, results: Results, layout: Layout) -> None:
  losses, accuracies = axes
  losses.set_title("Areas of the library: loss")
  accuracies.set_title("Areas of the library: accuracy on other modules")
  for name, color, final in (
    ("pretrained", _BLUE, results.areas_pretrained),
    ("random", _ORANGE, results.areas_random),
  ):
    metrics = layout.path(f"classifier_{name}", "metrics.jsonl")
    label = f"from {name} weights"
    _plot(losses, curve(metrics, "train", "loss"), label, color)
    _plot_accuracy(accuracies, curve(metrics, "eval", "accuracy"), label, color, final)
  _baseline(accuracies, results.areas_baseline.accuracy, _GREY)
  _finish(losses, accuracies)


def _plot(axis, points: tuple[Sequence[int], Sequence[float]], label: str, color: str, **style):
  steps, values = points
  if steps:
    axis.plot(steps, values, color=color, label=label, markersize=3.5, linewidth=1.6, **style)


def _plot_accuracy(axis, points, label: str, color: str, final: float) -> None:
  """A curve; only the final value where nothing was measured on the way."""
  steps, _ = points
  if steps:
    _plot(axis, points, f"{label}: {percent(final)}", color, marker="o")
  else:
    axis.axhline(final, color=color, linewidth=1.6, label=f"{label}: {percent(final)}")


def _baseline(axis, accuracy: float, color: str) -> None:
  label = f"always the most frequent: {percent(accuracy)}"
  axis.axhline(accuracy, color=color, linewidth=1.2, linestyle=":", label=label)


def _finish(losses, accuracies) -> None:
  for axis in (losses, accuracies):
    axis.set_xlabel("step")
    axis.set_ylim(bottom=0)
    axis.legend(frameon=False, fontsize=8.5)
  losses.set_ylabel("cross entropy, nats")
  accuracies.set_ylabel("accuracy")
  top = accuracies.get_ylim()[1]
  accuracies.set_ylim(0, min(1.0, math.ceil(top * 10) / 10))
  accuracies.yaxis.set_major_formatter(lambda value, unused_position: f"{value:.0%}")


def cost_table(costs: Mapping[str, Cost]) -> list[str]:
  """Lines of what the steps took."""
  lines = [f"{'step':28}{'seconds':>9}{'CPU seconds':>13}{'peak memory':>14}"]
  total = sum(costs.values(), Cost())
  for name, cost in [*costs.items(), ("all", total)]:
    lines.append(
      f"{name.replace('_', ' '):28}{cost.seconds:9.1f}{cost.cpu_seconds:13.1f}"
      f"{cost.peak_bytes / 2**30:10.2f} GiB"
    )
  return lines


def _files(layout: Layout, scale: Scale) -> list[str]:
  return [
    f"{layout.path('curves.png')}: loss and accuracy curves",
    f"{layout.path('pretraining')}: the pretrained model",
    f"{exported_classifier(layout, scale)}: the classifier",
    f"{layout.path('export', 'area')}: the classifier for TensorFlow Serving",
  ]


def percent(share: float) -> str:
  """A share from 0 to 1 for readers."""
  return f"{100 * share:.1f}%"
