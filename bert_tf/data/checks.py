"""Looks at TFRecords before (or after) TensorFlow does, to say which file and record is wrong.

TensorFlow names neither: it reports a parse error, a lost checksum, or an index outside of an
embedding table (on GPUs not even that: rows outside are silently zero).
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence

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


def check_records(
  files: Sequence[str],
  spec: FeatureSpec,
  *,
  limits: dict[str, int] | None = None,
  records_per_file: int | None = 20,
) -> int:
  """Checks records against `spec`: present, of the right length and type, ids in range.

  Args:
    files: TFRecord files, gzip if they end in `.gz`.
    spec: what a record must hold; more features than that are fine.
    limits: values of the model's "vocab_size" and "type_vocab_size"; what is not given is not
      checked.
    records_per_file: how many records from the start of each file; None: all (some 30,000 a
      second).

  Returns:
    how many records were looked at.

  Raises:
    UserError: a missing, empty, truncated or corrupt file, or a record that does not fit; names
      file and record (the first is 1).
  """
  total = 0
  for path in files:
    if not os.path.exists(path):
      raise UserError(f"expected TFRecords, found nothing at {path!r}; check the path")
    number = 0
    for data in itertools.islice(read_records(path), records_per_file):
      number += 1
      check_record(data, spec, f"{path}, record {number}", limits or {})
    total += number
  if not total:
    raise UserError(
      f"expected TFRecords, found no record in {', '.join(files) or 'an empty list of files'}; "
      "create them again"
    )
  return total


def check_record(data: bytes, spec: FeatureSpec, where: str, limits: dict[str, int]) -> None:
  """Checks one serialized tf.Example; raises UserError that starts with `where`."""
  try:
    example = decode_example(data)
  except ValueError as error:
    raise UserError(f"{where}: {error}; give TFRecords of tf.Examples") from error
  for name, field in spec.items():
    if name not in example:
      raise UserError(
        f"{where}: expected the feature {name}, found {', '.join(example) or 'none'}; "
        "create the records with the script and mode of this task"
      )
    _check_values(example[name], name, field, where)
    _check_range(example[name], name, field, where, limits)


def _check_values(values: list, name: str, field: Field, where: str) -> None:
  kind = {int: "int64", float: "float"}.get(type(values[0]), "bytes") if values else field.kind
  if kind != field.kind:
    raise UserError(f"{where}: expected {field.kind} values in {name}, found {kind}")
  if len(values) == field.size:
    return
  flag = "max_predictions_per_seq" if name.startswith("masked_lm_") else "max_seq_length"
  remedy = (
    f"; pass --{flag}={len(values)} or create the records again with --{flag}={field.size}"
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
  remedy = _LIMIT_NAMES.get(field.below, "create the records again")
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
  must be read to be undone.

  Raises:
    UserError: whole sequences without `dynamic_masking`, or no records at all.
  """
  for path in files:
    for data in read_records(path):
      masked = "masked_lm_ids" in decode_example(data)
      if not masked and not dynamic_masking:
        raise UserError(
          f"{path}, record 1: expected masked records, found whole sequences; pass "
          "--dynamic_masking, or create the records without it"
        )
      if masked:
        return pretraining(max_seq_length, max_predictions_per_seq)
      return unmasked_pretraining(max_seq_length)
  raise UserError(f"expected TFRecords, found no record in {', '.join(files)}; create them again")
