"""What belongs to a model's weights and lies beside them: one reader, one writer.

`describe(path)` says all that is known of a model without its weights; `write(directory, about)`
leaves it where it will be found.
"""

from __future__ import annotations

from bert_tf.model_dir.beside import Beside, directories_of, local_path
from bert_tf.model_dir.description import Description, Given, describe
from bert_tf.model_dir.head_kinds import HEADS
from bert_tf.model_dir.writing import update_settings, write

__all__ = [
  "HEADS", "Beside", "Description", "Given", "describe", "directories_of", "local_path",
  "update_settings", "write",
]  # fmt: skip
