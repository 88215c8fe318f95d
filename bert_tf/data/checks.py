"""Looks at TFRecords before (or after) TensorFlow does, to say which file and record is wrong.

TensorFlow names neither: it reports a parse error, a lost checksum, or an index outside of an
embedding table (on GPUs not even that: rows outside are silently zero).
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping, Sequence

from bert_tf.data.quick_check import QuickCheck
from bert_tf.data.records import (
  FeatureSpec,
  Field,
  decode_example,
  pretraining,
  read_records,
  unmasked_pretraining,
)
from bert_tf.errors import UserError

_LIMIT_NAMES = {
  "vocab_size": "use the vocabulary that the records were made with, or create them again",
  "type_vocab_size": "use a configuration with more segment types, or create them again",
}


_MASKED = "masked_lm_ids"
# Features that only these scripts write.
_ORIGINS = {
  "start_positions": "run_squad.py",
  "unique_ids": "run_squad.py",
  "label_ids": "run_classifier.py or run_ner.py",
  "next_sentence_labels": "create_pretraining_data.py",
}
_CHUNK = 1024


def check_records(
  files: Sequence[str],
  spec: FeatureSpec,
  *,
  limits: dict[str, int] | None = None,
  records_per_file: int | None = 20,
) -> int:
  """Checks records against `spec`: present, of the right length and type, ids in range.

  The first records of each file are decoded. Of all others the integers are looked at, see
  `quick_check`; on one core that takes some ten microseconds a record.

  Args:
    files: TFRecord files, gzip if they end in `.gz`.
    spec: what a record must hold; more features than that are fine.
    limits: values of the model's "vocab_size" and "type_vocab_size"; what is not given is not
      checked.
    records_per_file: how many records to decode at the start of each file; None: all (some 30,000
      a second).

  Returns:
    how many records were decoded.

  Raises:
    UserError: a missing, empty, truncated or corrupt file, or a record that does not fit; names
      file and record (the first is 1).
  """
  decoded = total = 0
  quick = QuickCheck(spec, limits or {}, _MASKED if _is_unmasked(spec) else None)
  for path in files:
    if not os.path.exists(path):
      raise UserError(f"expected TFRecords, found nothing at {path!r}; check the path")
    records, number = read_records(path), 0
    for data in itertools.islice(records, records_per_file):
      number += 1
      check_record(data, spec, f"{path}, record {number}", limits or {})
    decoded += number
    while chunk := list(itertools.islice(records, _CHUNK)):
      for index in quick.suspects(chunk):
        check_record(chunk[index], spec, f"{path}, record {number + index + 1}", limits or {})
      number += len(chunk)
    total += number
  if not total:
    raise UserError(
      f"expected TFRecords, found no record in {', '.join(files) or 'an empty list of files'}; "
      "create them again"
    )
  return decoded


def check_record(data: bytes, spec: FeatureSpec, where: str, limits: dict[str, int]) -> None:
  """Checks one serialized tf.Example; raises UserError that starts with `where`."""
  try:
    example = decode_example(data)
  except ValueError as error:
    raise UserError(f"{where}: {error}; give TFRecords of tf.Examples") from error
  if _is_unmasked(spec) and _MASKED in example:
    raise UserError(
      f"{where}: expected a whole sequence, as in the records before, found a masked one; give "
      "records of one kind, made all with `dynamic_masking` or all without it"
    )
  for name, field in spec.items():
    if name not in example:
      raise UserError(
        f"{where}: expected the feature {name}, found {', '.join(example) or 'none'}"
        f"{_origin(example, spec)}; create the records with the script and mode of this task"
      )
    _check_values(example[name], name, field, where)
    _check_range(example[name], name, field, where, limits)


# Kinds of pretraining records, as an error names them.
_MASKED_KIND, _WHOLE, _WITH_WORDS = "masked ones", "whole sequences", "whole sequences with words"


def _is_unmasked(spec: FeatureSpec) -> bool:
  """Whether whole sequences are expected, to be masked when they are read."""
  return "next_sentence_labels" in spec and _MASKED not in spec


def _origin(example: Mapping[str, list], spec: FeatureSpec) -> str:
  """Which script made a record, if it is of another task."""
  for name, script in _ORIGINS.items():
    if name in example and name not in spec:
      return f", as in records of {script}"
  return ""


def _check_values(values: list, name: str, field: Field, where: str) -> None:
  kind = {int: "int64", float: "float"}.get(type(values[0]), "bytes") if values else field.kind
  if kind != field.kind:
    raise UserError(f"{where}: expected {field.kind} values in {name}, found {kind}")
  if len(values) == field.size:
    return
  flag = "max_predictions_per_seq" if name.startswith("masked_lm_") else "max_seq_length"
  remedy = (
    f"; pass `{flag}={len(values)}` or create the records again with `{flag}={field.size}`"
    if field.length is not None and field.length > 1
    else "; create the records again"
  )
  raise UserError(f"{where}: expected {field.size} values in {name}, found {len(values)}{remedy}")


def _check_range(values: list, name: str, field: Field, where: str, limits: dict[str, int]) -> None:
  below = limits.get(field.below) if isinstance(field.below, str) else field.below
  if below is None or (max(values) < below and min(values) >= 0):
    return
  wrong = next(value for value in values if not 0 <= value < below)
  source = f" ({field.below})" if isinstance(field.below, str) else ""
  remedy = _LIMIT_NAMES.get(str(field.below), "create the records again")
  raise UserError(
    f"{where}: expected {name} from 0 to {below - 1}{source}, found {wrong}; {remedy}"
  )


def find_record_error(
  files: Sequence[str], spec: FeatureSpec, limits: dict[str, int] | None = None
) -> UserError | None:
  """Finds the record behind an error that TensorFlow raised while it read `files`.

  Reads all records, so call it only once something has failed. Returns None where every record is
  sound: then the error has another cause.
  """
  try:
    check_records(files, spec, limits=limits, records_per_file=None)
  except UserError as error:
    return error
  return None


def pretraining_spec(
  files: Sequence[str], max_seq_length: int, max_predictions_per_seq: int, *, dynamic_masking: bool
) -> FeatureSpec:
  """What to read from pretraining records; masks are left out if they are drawn anew anyway.

  With `dynamic_masking` both kinds of records serve: whole sequences, and masked ones, whose masks
  must be read to be undone; but not both at once. The first record of each file is looked at.

  Raises:
    UserError: whole sequences without `dynamic_masking`, files of both kinds, records of another
      task, or no records at all.
  """
  kinds: dict[str, str] = {}
  for path in files:
    for data in itertools.islice(read_records(path), 1):
      where = f"{path}, record 1"
      kinds.setdefault(_kind(data, where, dynamic_masking), path)
  if not kinds:
    raise UserError(f"expected TFRecords, found no record in {', '.join(files)}; create them again")
  if len(kinds) > 1:
    found = " and ".join(f"{kind} in {path}" for kind, path in sorted(kinds.items()))
    raise UserError(
      f"expected records of one kind, found {found}; give files made all with `dynamic_masking` or"
      " all without it, and with words or without"
    )
  if _MASKED_KIND in kinds:
    return pretraining(max_seq_length, max_predictions_per_seq)
  return unmasked_pretraining(max_seq_length, words=_WITH_WORDS in kinds)


def _kind(data: bytes, where: str, dynamic_masking: bool) -> str:
  """What a pretraining record is; refuses one of another task, or that needs a flag."""
  try:
    example = decode_example(data)
  except ValueError as error:
    raise UserError(f"{where}: {error}; give TFRecords of tf.Examples") from error
  if _MASKED in example:
    return _MASKED_KIND
  if origin := _origin(example, unmasked_pretraining(1)):
    raise UserError(
      f"{where}: expected a record of create_pretraining_data.py, found the features"
      f" {', '.join(example)}{origin}; give records made for pretraining"
    )
  if not dynamic_masking:
    raise UserError(
      f"{where}: expected masked records, found whole sequences; pass `dynamic_masking`, or create "
      "the records without it"
    )
  return _WITH_WORDS if "word_continues" in example else _WHOLE
