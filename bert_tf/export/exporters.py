"""From a checkpoint to a SavedModel that takes raw text and needs nothing of this package."""

from __future__ import annotations

import contextlib
import dataclasses
import os

from bert_tf.export import bundle, card, kinds, lite, python_pipeline, samples, weights
from bert_tf.export.graphs.text import TextModule
from bert_tf.export.options import ExportOptions, GraphPlan, signature_lengths
from bert_tf.files import atomic_writer
from bert_tf.model_dir import writing


def graph_of(checkpoint: weights.Checkpoint, plan: GraphPlan) -> TextModule:
  """Returns the graph of a model, to be asked in this process; errors as of `export`."""
  kinds.check(plan)
  kind = kinds.kind_of(plan.about.head)
  return kind.graph(weights.read(checkpoint, kind, plan), plan)


def export(checkpoint: weights.Checkpoint, plan: GraphPlan, options: ExportOptions) -> str:
  """Exports a model as `<export_dir>/<version>`, which is a model directory as well.

  What it takes and answers depends on the head, see `bert_tf.export.graphs`. Of all heads are the
  signatures `serving_default` on text, `tensors` on ids, `examples` on serialized tf.Examples, and
  `tokenize`, which shows what text becomes; of most `pairs` on two texts.

  Args:
    checkpoint: prefix, file or directory of a checkpoint, or a model that holds the weights.
    plan: what the graph computes.
    options: where and how to write.

  Returns:
    The directory of the version.

  Raises:
    UserError: bad input, an unwritable directory, or an export that fails its check; nothing is
      left behind.
  """
  options.check_possible()
  kinds.check(plan)
  with contextlib.ExitStack() as stack:
    check = stack.enter_context(bundle.check_process()) if options.check else None
    return _export(checkpoint, plan, options, check)


def _export(
  checkpoint: weights.Checkpoint,
  plan: GraphPlan,
  options: ExportOptions,
  check: bundle.Check | None,
) -> str:
  kind = kinds.kind_of(plan.about.head)
  model = weights.read(checkpoint, kind, plan)
  module = kind.graph(model, plan)
  checked = kind.samples(model, module, plan)
  signatures = module.signatures(kind.takes_pairs and bool(plan.about.pairs))
  facts = _facts(kind, module, plan, options)
  assets = {
    **writing.contents(plan.about),
    "serving.json": bundle.to_json(facts).encode(),
    bundle.CARD_FILE: card.model_card(kind, facts, plan.about, signatures).encode(),
  }

  def finish(saved: str) -> None:
    if options.lite:
      _write_lite(module, os.path.join(saved, "lite"), options)

  return bundle.write(module, signatures, assets, checked, options, finish, check)


def _facts(
  kind: kinds.Kind, module: TextModule, plan: GraphPlan, options: ExportOptions
) -> dict[str, object]:
  """What serving.json says to servers and clients."""
  return {
    **plan.text.facts(),
    **kind.facts(plan),
    "task": plan.about.head,
    "pairs": kind.takes_pairs and bool(plan.about.pairs),
    "dtype": plan.dtype,
    "checked": options.check,
    "required_ops": list(module.tokenizer.required_ops),
    "widths": module.widths(),
  }


def _write_lite(module: TextModule, directory: str, options: ExportOptions) -> None:
  """Writes LiteRT files and what was measured of them."""
  longest = module.text.max_seq_length
  lengths = signature_lengths(options.lite_lengths, longest)
  text = dataclasses.replace(module.text, static_length=True)
  first, second = zip(*samples.TEXTS, strict=True)
  features = python_pipeline.features(first, second, text)
  reports = lite.export_lite(module, directory, features, options.lite, lengths)
  with atomic_writer(os.path.join(directory, "README.md")) as file:
    file.write(
      "# LiteRT\n\nEvery file has a signature `length_N` for sequences of N tokens, to be padded"
      f" to it: {', '.join(map(str, lengths))}. All of them use the same weights.\n\n"
      "Measured by the LiteRT runtime on one thread of the exporting machine:\n\n"
      "| file | MiB | largest difference from the model's outputs |"
      f"{''.join(f' ms for {length} tokens |' for length in lengths)}\n"
      f"|{'---|' * (3 + len(lengths))}\n"
    )
    file.writelines(
      f"| {os.path.basename(report.path)} | {report.size / 2**20:.1f} | {report.difference:.2g} |"
      f"{''.join(f' {report.milliseconds[length]:.1f} |' for length in lengths)}\n"
      for report in reports
    )
