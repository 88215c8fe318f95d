"""Contextual vectors of every token as JSON lines (BERT paper, section 5.3: features from layers).

The files are those of the original's extract_features.py. Lines are read, computed and written in
bounded chunks, so memory does not grow with the input.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from bert_tf.config import BertConfig
from bert_tf.data.report import UNKNOWN, TokenizationReport
from bert_tf.errors import UserError
from bert_tf.files import existing_file
from bert_tf.tokenization import FullTokenizer

if TYPE_CHECKING:
  import tensorflow as tf

T = TypeVar("T")

_PAIR = re.compile(r"(.*) \|\|\| (.*)", re.DOTALL)
# Lines with this many tokens are sorted by length together; their vectors are held in memory
# (200 MB for four layers of BERT-base).
_CHUNK_TOKENS = 16384
# Padded lengths are multiples of this, so that few shapes occur.
_LENGTH_MULTIPLE = 8


@dataclasses.dataclass(frozen=True, slots=True)
class InputExample:
  """One line: `text_a`, or `text_a ||| text_b`."""

  unique_id: int
  text_a: str
  text_b: str | None


@dataclasses.dataclass(frozen=True, slots=True)
class InputFeatures:
  """[CLS] a [SEP] or [CLS] a [SEP] b [SEP], not padded."""

  unique_id: int
  tokens: list[str]
  input_ids: list[int]
  input_type_ids: list[int]


# Takes from the tokens of two texts what `max_seq_length` has no room for.
Cut = Callable[[list[str], list[str], int], None]
# input_ids, input_mask, input_type_ids: int32 [B, S] -> the wanted layers, float32 [L, B, S, H].
Encode = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def read_examples(path: str) -> Iterator[InputExample]:
  """Yields the lines of a UTF-8 file, blank ones included, with white space at the ends removed.

  Raises:
    UserError: no such file, or a line that is no UTF-8.
  """
  existing_file(path, "`input_file`")
  with open(path, "rb") as file:
    for index, line in enumerate(file):
      try:
        text = line.decode("utf-8").strip()
      except UnicodeDecodeError as error:
        raise UserError(
          f"{path}: line {index + 1}: expected UTF-8, found {error.reason} at byte {error.start};"
          " convert the file to UTF-8"
        ) from error
      pair = _PAIR.fullmatch(text)
      yield InputExample(index, *(pair.groups() if pair else (text, None)))


def convert_examples_to_features(
  examples: Iterable[InputExample],
  tokenizer: FullTokenizer,
  max_seq_length: int,
  report: TokenizationReport | None = None,
  cut: Cut | None = None,
) -> Iterator[InputFeatures]:
  """What the model reads, line by line; too long texts lose tokens at the end, the longer first.

  Args:
    examples: the lines.
    tokenizer: of the model's vocabulary.
    max_seq_length: longest sequence, special tokens included.
    report: counts the lines and what they lose.
    cut: takes from the tokens of both texts, in place, what is too long; default: see above.

  Raises:
    UserError: max_seq_length leaves no room beside the special tokens.
  """
  if max_seq_length < 3:
    raise UserError(
      f"expected `max_seq_length` of at least 3 ([CLS], [SEP] and the text), found {max_seq_length}"
    )
  counted = TokenizationReport() if report is None else report
  cut = cut or truncate
  return (_features_of(example, tokenizer, max_seq_length, counted, cut) for example in examples)


def _features_of(
  example: InputExample,
  tokenizer: FullTokenizer,
  max_seq_length: int,
  report: TokenizationReport,
  cut: Cut,
) -> InputFeatures:
  tokens_a = tokenizer.tokenize(example.text_a)
  tokens_b = tokenizer.tokenize(example.text_b) if example.text_b else []
  whole = [tokens_a.copy(), tokens_b.copy()]
  cut(tokens_a, tokens_b, max_seq_length)
  report.add_tokens(whole, len(tokens_a) + len(tokens_b))
  if any(UNKNOWN in tokens for tokens in whole):
    report.name_unknown(filter(None, (example.text_a, example.text_b)), tokenizer)
  tokens = ["[CLS]", *tokens_a, "[SEP]"]
  input_type_ids = [0] * len(tokens)
  if tokens_b:
    tokens += [*tokens_b, "[SEP]"]
    input_type_ids += [1] * (len(tokens_b) + 1)
  input_ids = tokenizer.convert_tokens_to_ids(tokens)
  return InputFeatures(example.unique_id, tokens, input_ids, input_type_ids)


def truncate(tokens_a: list[str], tokens_b: list[str], max_seq_length: int) -> None:
  """Makes room for two special tokens, or for three where there is a second text, in place."""
  truncate_seq_pair(tokens_a, tokens_b, max_seq_length - (3 if tokens_b else 2))


def truncate_seq_pair(tokens_a: list[str], tokens_b: list[str], max_length: int) -> None:
  """Shortens both to `max_length` in all, in place: the longer one first, b if they are equal."""
  while len(tokens_a) + len(tokens_b) > max(max_length, 0):
    (tokens_a if len(tokens_a) > len(tokens_b) else tokens_b).pop()


def parse_layers(layers: str, num_hidden_layers: int) -> list[int]:
  """Reads the flag --layers: "-1,-2" are the last layer and the one before it.

  Raises:
    UserError: no integers, or layers that the model does not have.
  """
  try:
    indexes = [int(layer) for layer in layers.split(",")]
  except ValueError as error:
    raise UserError(
      f"`layers`: expected integers with commas between them, found {layers!r};"
      " -1 is the last layer"
    ) from error
  for index in indexes:
    if not -num_hidden_layers <= index < num_hidden_layers:
      raise UserError(
        f"`layers`: expected layers from {-num_hidden_layers} to {num_hidden_layers - 1} of a model"
        f" with {num_hidden_layers} layers, found {index} in {layers!r}"
      )
  return indexes


def json_line(features: InputFeatures, layer_indexes: Sequence[int], layers: np.ndarray) -> str:
  """One line of output, without the line feed.

  Args:
    features: the line's tokens.
    layer_indexes: [L], as the user names them.
    layers: float32 [L, S, H], without padding.
  """
  values = _round6(layers.swapaxes(0, 1)).tolist()  # [S][L][H]
  return json.dumps(
    {
      "linex_index": features.unique_id,
      "features": [
        {
          "token": token,
          "layers": [
            {"index": index, "values": vector}
            for index, vector in zip(layer_indexes, vectors, strict=True)
          ],
        }
        for token, vectors in zip(features.tokens, values, strict=True)
      ],
    }
  )


def _round6(values: np.ndarray) -> np.ndarray:
  """float32 to the float64 that `round(float(value), 6)` gives.

  A float32 has 24 bits and 10^6 needs 14 beside a power of two, so the product is exact, ties go to
  even as in `round`, and the division gives the float64 nearest to the decimal number.
  """
  return np.rint(values.astype(np.float64) * 1e6) / 1e6


def extract(
  features: Iterable[InputFeatures],
  encode: Encode,
  layer_indexes: Sequence[int],
  batch_size: int,
  max_seq_length: int,
) -> Iterator[str]:
  """Yields the JSON line of every input, in order.

  Batches hold lines of similar length and are padded no further than to the longest of them.

  Args:
    features: the lines.
    encode: the model.
    layer_indexes: [L], the layers that `encode` returns, as the user names them.
    batch_size: how many lines at once; a smaller last batch is not filled up.
    max_seq_length: batches are never padded beyond.
  """
  for chunk in _chunks(features, batch_size):
    vectors: dict[int, np.ndarray] = {}
    for places, layers in by_length(chunk, encode, batch_size, max_seq_length):
      for row, place in enumerate(places):
        # A copy, so that the padding can go.
        vectors[place] = layers[:, row, : len(chunk[place].input_ids)].copy()
    for index, line in enumerate(chunk):
      yield json_line(line, layer_indexes, vectors.pop(index))


def by_length(
  sequences: Sequence[InputFeatures],
  compute: Callable[[np.ndarray, np.ndarray, np.ndarray], T],
  batch_size: int,
  max_seq_length: int,
) -> Iterator[tuple[list[int], T]]:
  """Computes batches of sequences of similar length, so that there is little padding.

  Args:
    sequences: in any order.
    compute: input_ids, input_mask and input_type_ids, int32 [B, S], to anything.
    batch_size: how many at once; a smaller last batch is not filled up.
    max_seq_length: batches are never padded beyond.

  Yields:
    Where in `sequences` the rows of a batch are, and what `compute` returns of it.
  """
  order = sorted(range(len(sequences)), key=lambda place: len(sequences[place].input_ids))
  for start in range(0, len(order), batch_size):
    places = order[start : start + batch_size]
    yield places, compute(*_padded([sequences[place] for place in places], max_seq_length))


def _chunks(features: Iterable[InputFeatures], batch_size: int) -> Iterator[list[InputFeatures]]:
  """Runs of lines with about _CHUNK_TOKENS tokens, at least a batch each."""
  chunk: list[InputFeatures] = []
  tokens = 0
  for line in features:
    chunk.append(line)
    tokens += len(line.input_ids)
    if len(chunk) >= batch_size and tokens >= _CHUNK_TOKENS:
      yield chunk
      chunk, tokens = [], 0
  if chunk:
    yield chunk


def _padded(
  batch: Sequence[InputFeatures], max_seq_length: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """input_ids, input_mask and input_type_ids of a batch, int32 [B, S]."""
  longest = max(len(features.input_ids) for features in batch)
  length = min(-(-longest // _LENGTH_MULTIPLE) * _LENGTH_MULTIPLE, max_seq_length)
  arrays = np.zeros([3, len(batch), length], np.int32)
  for row, features in enumerate(batch):
    size = len(features.input_ids)
    arrays[0, row, :size] = features.input_ids
    arrays[1, row, :size] = 1
    arrays[2, row, :size] = features.input_type_ids
  return arrays[0], arrays[1], arrays[2]


def create_encode(
  config: BertConfig,
  init_checkpoint: str,
  layer_indexes: Sequence[int],
  dtype: str = "float32",
  strategy: tf.distribute.Strategy | None = None,
) -> Encode:
  """Loads an encoder.

  Args:
    config: its shape.
    init_checkpoint: its weights; the pooler may be missing.
    layer_indexes: [L], which layers to return; 0 is the first, -1 the last.
    dtype: Keras dtype policy.
    strategy: where to compute; of several replicas all compute the same.

  Raises:
    UserError: no checkpoint, or one of another shape.
  """
  import tensorflow as tf

  from bert_tf import checkpoints, names
  from bert_tf.modeling import BertModel

  strategy = strategy or tf.distribute.get_strategy()
  with strategy.scope():
    model = BertModel(config, dtype)
    checkpoints.load(model, init_checkpoint, allow_missing=names.POOLER)

  def layers(input_ids: tf.Tensor, input_mask: tf.Tensor, segment_ids: tf.Tensor) -> tf.Tensor:
    features = {"input_ids": input_ids, "input_mask": input_mask, "segment_ids": segment_ids}
    outputs = model(features)["encoder_layers"]
    return tf.cast(tf.stack([outputs[index] for index in layer_indexes]), tf.float32)

  @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int32)] * 3, autograph=False)
  def run(*arrays: tf.Tensor) -> tf.Tensor:
    return strategy.experimental_local_results(strategy.run(layers, arrays))[0]

  return lambda *arrays: run(*map(tf.constant, arrays)).numpy()
