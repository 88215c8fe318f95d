"""Sets of reading comprehension by name: which files of a directory to train on and to answer."""

from __future__ import annotations

import os

from bert_tf.errors import UserError

# Names of the training and of the development set, as the authors and CLUE call them.
_FILES = {
  "cmrc2018": (("cmrc2018_train.json", "train.json"), ("cmrc2018_dev.json", "dev.json")),
  "drcd": (
    ("DRCD_training.json", "drcd_train.json", "train.json"),
    ("DRCD_dev.json", "drcd_dev.json", "dev.json"),
  ),
}
NAMES = tuple(_FILES)


def files_of(name: str, data_dir: str | None) -> tuple[str | None, str | None]:
  """The training and the development set in a directory; None for one that is not there.

  Raises:
    UserError: an unknown name, no directory, or neither file in it.
  """
  if name.lower() not in _FILES:
    raise UserError(
      f"`task_name`: expected {' or '.join(NAMES)}, found {name!r}; other sets are named by"
      " `train_file` and `predict_file`"
    )
  if data_dir is None or not os.path.isdir(data_dir):
    found = "none" if data_dir is None else f"nothing at {data_dir!r}"
    raise UserError(f"`data_dir`: expected a directory, found {found}")
  paths = [[os.path.join(data_dir, file) for file in files] for files in _FILES[name.lower()]]
  train, dev = (next(filter(os.path.exists, alternatives), None) for alternatives in paths)
  if train is None and dev is None:
    wanted = ", ".join(os.path.basename(path) for alternatives in paths for path in alternatives)
    raise UserError(f"`data_dir`: expected some of {wanted} in {data_dir}, found none")
  return train, dev
