"""Which checkpoint a path means: files of one, state files from elsewhere, one shard of several."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest

from bert_tf.checkpoints import formats, locate, tf1
from bert_tf.errors import UserError


def write(directory, *names):
  directory.mkdir(exist_ok=True)
  for number, name in enumerate(names):
    tf1.write(str(directory / name), {"x": np.float32(number)})
  return directory


@pytest.mark.parametrize(
  "ending", ["", ".index", ".meta", ".data-00000-of-00001", ".data-00003-of-00012"]
)
def test_every_file_of_a_checkpoint_stands_for_it(tmp_path, ending):
  prefix = str(write(tmp_path / "d", "bert_model.ckpt") / "bert_model.ckpt")
  if ending:
    open(prefix + ending, "a").close()
  assert locate.find(prefix + ending) == prefix


def test_a_file_whose_index_is_missing(tmp_path):
  for ending in (".meta", ".data-00000-of-00001"):
    path = tmp_path / f"bert_model.ckpt{ending}"
    path.write_bytes(b"x")
    with pytest.raises(UserError, match=r"expected bert_model\.ckpt\.index beside it, found none"):
      formats.open_checkpoint(str(path))
  assert locate.find(str(tmp_path / "other.ckpt.meta")) is None


def state(directory, *paths):
  lines = [f'model_checkpoint_path: "{paths[-1]}"']
  lines += [f'all_model_checkpoint_paths: "{path}"' for path in paths]
  (directory / "checkpoint").write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("where", ["/other/machine/", "gs://bucket/run/", ""])
def test_a_state_file_from_elsewhere(tmp_path, where):
  directory = write(tmp_path / "d", "model.ckpt-10", "model.ckpt-20")
  state(directory, f"{where}model.ckpt-20", f"{where}model.ckpt-10")
  # The last one that was written, not the largest number.
  assert locate.find(str(directory)) == str(directory / "model.ckpt-10")


def test_a_copied_run_is_read_where_it_is(tmp_path):
  """The state file of a copy names the original's directory, which is there too."""
  first = write(tmp_path / "first", "model.ckpt-10")
  state(first, str(first / "model.ckpt-10"))
  second = tmp_path / "second"
  shutil.copytree(first, second)
  assert locate.find(str(second)) == str(second / "model.ckpt-10")
  # Nothing lies here: TensorFlow's meaning of the file holds, and is said.
  for path in second.glob("model.ckpt*"):
    path.unlink()
  assert locate.find(str(second)) == str(first / "model.ckpt-10")


def test_a_state_file_that_lists_what_is_gone(tmp_path):
  directory = write(tmp_path / "d", "model.ckpt-10", "model.ckpt-20")
  state(directory, "model.ckpt-10", "model.ckpt-30")
  assert locate.find(str(directory)) == str(directory / "model.ckpt-10")


@pytest.mark.parametrize("content", ["", "no state", 'model_checkpoint_path: ""\n'])
def test_without_a_state_file_that_says_anything(tmp_path, content):
  directory = write(tmp_path / "d", "model.ckpt-9", "model.ckpt-10")
  (directory / "checkpoint").write_text(content)
  assert locate.find(str(directory)) == str(directory / "model.ckpt-10")
  write(directory, "bert_model.ckpt")
  with pytest.raises(UserError, match=r"found 3 and no state file .*bert_model\.ckpt, model\.ckpt"):
    locate.find(str(directory))


@pytest.mark.parametrize("name", ["model-00001-of-00002.safetensors"])
def test_one_shard_of_several(golden, tmp_path, name):
  source = golden / "formats" / "huggingface" / "BertForMaskedLM"
  whole = formats.open_checkpoint(str(source)).shapes
  assert formats.open_checkpoint(str(source / name)).shapes == whole
  shutil.copy(source / name, tmp_path / name)
  with pytest.raises(UserError, match=r"expected model\.safetensors\.index\.json beside this one"):
    formats.open_checkpoint(str(tmp_path / name))
  only = tmp_path / "model-00001-of-00001.safetensors"
  os.rename(tmp_path / name, only)
  assert formats.open_checkpoint(str(only)).shapes
