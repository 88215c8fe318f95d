"""What `--help` and `--helpfull` show: the flags that matter first, then all others by topic."""

from __future__ import annotations

import inspect
import os
import re
import textwrap
from types import ModuleType

from absl import flags

FLAGS = flags.FLAGS

Groups = dict[str, str]

_TO_TRAIN = "train_batch_size learning_rate num_train_epochs"
# Script -> title -> the flags that most command lines need.
FIRST: dict[str, Groups] = {
  "create_pretraining_data": {
    "Files": "input_file output_file vocab_file",
    "Text": "do_lower_case max_seq_length do_whole_word_mask",
    "Records": "max_predictions_per_seq masked_lm_prob dupe_factor random_seed num_workers",
  },
  "run_pretraining": {
    "What to do": "do_train do_eval",
    "Files": "input_file bert_config_file init_checkpoint output_dir",
    "Records": "max_seq_length max_predictions_per_seq",
    "Training": "train_batch_size learning_rate num_train_steps num_warmup_steps",
  },
  "run_classifier": {
    "What to do": "do_train do_eval do_predict",
    "Data": "task_name data_dir",
    "Model": "init_checkpoint output_dir export_dir max_seq_length",
    "Training": _TO_TRAIN,
  },
  "run_ner": {
    "What to do": "do_train do_eval do_predict",
    "Data": "data_dir label_column",
    "Model": "init_checkpoint output_dir export_dir max_seq_length",
    "Training": _TO_TRAIN,
  },
  "run_squad": {
    "What to do": "do_train do_predict",
    "Data": "train_file predict_file version_2_with_negative",
    "Model": "init_checkpoint output_dir max_seq_length doc_stride",
    "Training": _TO_TRAIN,
  },
  "extract_features": {
    "Files": "input_file output_file",
    "Model": "init_checkpoint bert_config_file vocab_file do_lower_case",
    "Vectors": "layers max_seq_length batch_size",
  },
  "export_model": {
    "Files": "init_checkpoint export_dir",
    "Model": "task labels_file max_seq_length do_lower_case",
    "Export": "version lite dtype check",
  },
  "convert_checkpoint": {
    "Files": "input output to",
    "Model": "bert_config_file vocab_file do_lower_case labels task",
  },
}
# Of the flags that are not among those, in the order of a page.
TOPICS: Groups = {
  "More of the model": (
    "bert_config_file vocab_file do_lower_case init_checkpoint allow_missing export_dir"
  ),
  "Optimization": (
    "optimizer weight_decay max_grad_norm warmup_proportion adam_bias_correction"
    " layerwise_lr_decay reinit_layers gradient_accumulation_steps tokens_per_batch seed seeds"
  ),
  "Evaluation and stopping": (
    "eval_steps early_stopping_patience eval_batch_size max_eval_steps predict_batch_size"
    " total_training_time"
  ),
  "Checkpoints and reports": (
    "save_checkpoints_steps keep_checkpoint_max iterations_per_loop steps_per_loop log_steps"
    " profile_steps wandb_project allow_config_change skip_nonfinite_steps stop_at dry_run"
  ),
  "Devices": (
    "distribution_strategy dtype enable_xla recompute_activations deterministic cluster_resolver"
    " worker_timeout use_tpu tpu_name tpu_zone gcp_project master num_tpu_cores"
  ),
}
_WIDTH = 100


def page(module: ModuleType, program: str, complete: bool) -> str:
  """The help of a script.

  Args:
    module: the script, whose docstring says what it does.
    program: as the user started it.
    complete: whether to show all flags.
  """
  every = {flag.name for flag in FLAGS.get_key_flags_for_module(module)}
  first = groups_of(module.__name__.rpartition(".")[2], every)
  left = every - {name for names in first.values() for name in names}
  program = os.path.basename(program)
  lines = [inspect.getdoc(module) or "", "", f"Usage: {program} --flag=value ..."]
  lines += _sections(first)
  if complete:
    lines += _sections(_by_topic(left))
    lines += ["", "Logging and debugging flags are those of absl: --verbosity, --pdb and others."]
  else:
    lines += ["", f"{len(left)} more flags: {program} --helpfull"]
  return "\n".join(lines)


def is_required(flag: flags.Flag) -> bool:
  """Whether the script cannot do without it."""
  return any("must have a value" in validator.message for validator in flag.validators)


def groups_of(script: str, every: set[str]) -> dict[str, list[str]]:
  """Title -> the flags of a script that matter first; all of them where no table names any."""
  if script not in FIRST:
    return {"Flags": sorted(every)}
  groups = {title: names.split() for title, names in FIRST[script].items()}
  return {title: [n for n in names if n in every] for title, names in groups.items()}


def _by_topic(left: set[str]) -> dict[str, list[str]]:
  """Title -> the flags of that topic which are left; a topic without any is left out."""
  topics = {title: [n for n in names.split() if n in left] for title, names in TOPICS.items()}
  rest = left - {name for names in topics.values() for name in names}
  groups = {"More": sorted(rest), **topics}
  return {title: names for title, names in groups.items() if names}


def _sections(groups: dict[str, list[str]]) -> list[str]:
  lines = []
  for title, names in groups.items():
    lines += ["", f"{title}:"]
    for name in names:
      lines += _lines_of(FLAGS[name])
  return lines


def _lines_of(flag: flags.Flag) -> list[str]:
  """The flag with its default in a line of its own, and its help below."""
  # absl puts the choices of an enumeration before its help; here they stand behind its name.
  said = re.sub(r"^<[^>]*>: ", "", flag.help)
  text = textwrap.wrap(f"{said}{_default(flag)}", _WIDTH - 6)
  return [f"  {_spelled(flag)}", *(f"      {line}" for line in text)]


def _spelled(flag: flags.Flag) -> str:
  if flag.boolean:
    return f"--[no]{flag.name}"
  choices = getattr(flag.parser, "enum_values", None)
  kind = "|".join(choices) if choices else (flag.flag_type() or "string").upper()
  return f"--{flag.name}={kind}"


def _default(flag: flags.Flag) -> str:
  """Behind the help: that the flag is required, or its default where its help names none."""
  if is_required(flag):
    return " (required)"
  if flag.default in (None, []) or "default:" in flag.help:
    return ""
  shown = str(flag.default).lower() if flag.boolean else flag.default_as_str or flag.default
  return f" (default: {str(shown).strip(chr(39))})"
