"""What a fine-tuning script reads of the model before it reads its data. Needs no TensorFlow."""

from __future__ import annotations

from typing import Protocol

from bert_tf.config import BertConfig
from bert_tf.errors import UserError
from bert_tf.files import existing_checkpoint
from bert_tf.tokenization import (
  FullTokenizer,
  require_special_tokens,
  validate_case_matches_checkpoint,
)
from bert_tf.training.output_dir import complete_checkpoints


class ModelFlags(Protocol):
  """Flags that the scripts share; see `training_flags`."""

  bert_config_file: str
  vocab_file: str
  output_dir: str
  init_checkpoint: str | None
  do_lower_case: bool
  max_seq_length: int
  do_train: bool


def read_model_files(flags: ModelFlags) -> tuple[BertConfig, FullTokenizer]:
  """Reads config and vocabulary.

  Raises:
    UserError: one is wrong, they do not fit together or to the lengths and the case that the flags
      say, or there are no weights.
  """
  config = BertConfig.from_json_file(flags.bert_config_file)
  config.check_sequence_length(flags.max_seq_length)
  tokenizer = FullTokenizer(flags.vocab_file, flags.do_lower_case)
  require_special_tokens(tokenizer.vocab, path=flags.vocab_file)
  config.check_vocabulary_size(len(tokenizer.vocab), flags.vocab_file)
  if flags.init_checkpoint:
    existing_checkpoint(flags.init_checkpoint)
  elif not flags.do_train and not complete_checkpoints(flags.output_dir):
    raise UserError(
      f"expected a checkpoint in --output_dir ({flags.output_dir}), found none; train first, or"
      " give --init_checkpoint"
    )
  validate_case_matches_checkpoint(flags.do_lower_case, flags.init_checkpoint, tokenizer.vocab)
  return config, tokenizer
