"""Pickles of torch: read without torch, and refused where they are programs."""

from __future__ import annotations

import collections
import io
import os
import pickle
import zipfile

import numpy as np
import pytest

from bert_tf.checkpoints.torch_file import TorchFile
from bert_tf.errors import UserError


class Global:
  """Pickles as a reference to a function, without importing the module it lives in."""

  def __init__(self, module, name):
    self.module, self.name = module, name

  def __reduce__(self):
    return f"{self.module}.{self.name}"


class Call:
  """Pickles as a call of a function."""

  def __init__(self, function, *args):
    self.function, self.args = function, args

  def __reduce__(self):
    return self.function, self.args


class TorchPickler(pickle._Pickler):
  """Writes what torch.save writes: globals by name, storages as persistent ids."""

  def persistent_id(self, obj):
    return obj.pid if isinstance(obj, Storage) else None

  def save(self, obj, save_persistent_id=True):
    if isinstance(obj, Global):
      self.write(pickle.GLOBAL + f"{obj.module}\n{obj.name}\n".encode())
    else:
      super().save(obj, save_persistent_id)

  def save_reduce(self, func, args, *rest, **options):
    self.save(func)
    self.save(args)
    self.write(pickle.REDUCE)


class Storage:
  def __init__(self, kind, key, size):
    self.pid = ("storage", Global("torch", kind), key, "cpu", size)


REBUILD = Global("torch._utils", "_rebuild_tensor_v2")


def tensor(kind, key, storage_size, offset, shape, strides):
  return Call(
    REBUILD, Storage(kind, key, storage_size), offset, shape, strides, False,
    collections.OrderedDict(),
  )  # fmt: skip


def dump(obj):
  stream = io.BytesIO()
  TorchPickler(stream, 2).dump(obj)
  return stream.getvalue()


def write_zip(path, content, storages, **more):
  with zipfile.ZipFile(path, "w") as file:
    file.writestr("archive/data.pkl", content)
    for key, array in storages.items():
      file.writestr(f"archive/data/{key}", array.tobytes())
    for name, value in more.items():
      file.writestr(f"archive/{name}", value)
  return str(path)


ARRAY = np.arange(24, dtype=np.float32)


def test_views_strides_and_types(tmp_path):
  values = {
    "whole": tensor("FloatStorage", "0", 24, 0, (4, 6), (6, 1)),
    "transposed": tensor("FloatStorage", "0", 24, 0, (6, 4), (1, 6)),
    "part": tensor("FloatStorage", "0", 24, 7, (2, 3), (6, 2)),
    "scalar": tensor("FloatStorage", "0", 24, 23, (), ()),
    "ids": tensor("LongStorage", "1", 3, 0, (3,), (1,)),
    "epoch": 3,
  }
  path = write_zip(tmp_path / "m.bin", dump(values), {"0": ARRAY, "1": np.arange(3)})
  file = TorchFile(path)
  assert file.shapes == {
    "whole": (4, 6), "transposed": (6, 4), "part": (2, 3), "scalar": (), "ids": (3,),
  }  # fmt: skip
  matrix = ARRAY.reshape(4, 6)
  np.testing.assert_array_equal(file.read("whole"), matrix)
  np.testing.assert_array_equal(file.read("transposed"), matrix.T)
  np.testing.assert_array_equal(file.read("part"), [[7, 9, 11], [13, 15, 17]])
  assert file.read("scalar") == 23
  np.testing.assert_array_equal(file.read("ids"), [0, 1, 2])


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
  "function",
  [("posix", "system"), ("builtins", "eval"), ("subprocess", "Popen"), ("torch", "load"),
   ("torch.serialization", "_get_restore_location"), ("collections", "Counter"),
   ("collections", "OrderedDict.__init__"), ("numpy.core.multiarray", "_reconstruct")],
)  # fmt: skip
def test_code_is_refused_and_not_run(tmp_path, legacy, function):
  trace = tmp_path / "ran"
  attack = {"bert.pooler.dense.bias": Call(Global(*function), f"touch {trace}")}
  path = tmp_path / "pytorch_model.bin"
  if legacy:
    path.write_bytes(pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2)
                     + pickle.dumps({"little_endian": True}, 2) + dump(attack))  # fmt: skip
  else:
    write_zip(path, dump(attack), {})
  with pytest.raises(UserError, match=rf"refused: this pickle would run {function[0]}\."):
    TorchFile(str(path))
  assert not trace.exists()


def test_the_attack_of_the_previous_test_is_a_real_one(tmp_path):
  trace = tmp_path / "ran"
  pickle.loads(dump({"x": Call(Global("posix", "system"), f"touch {trace}")}))
  assert trace.exists()


def test_newer_ways_to_name_a_function_are_refused(tmp_path):
  trace = tmp_path / "ran"

  class Attack:
    def __reduce__(self):
      return os.system, (f"touch {trace}",)

  for protocol in range(6):
    path = write_zip(tmp_path / f"{protocol}.bin", pickle.dumps(Attack(), protocol), {})
    with pytest.raises(UserError, match=r"would run (posix|nt)\.system"):
      TorchFile(path)
  assert not trace.exists()


@pytest.mark.parametrize(
  "bad",
  [
    tensor("FloatStorage", "0", 24, 0, (4, 7), (7, 1)),
    tensor("FloatStorage", "0", 24, 1, (4, 6), (6, 1)),
    tensor("FloatStorage", "0", 24, -1, (2,), (1,)),
    tensor("FloatStorage", "0", 24, 5, (2,), (-1,)),
    tensor("FloatStorage", "0", 24, 0, (1 << 40,), (0,)),
    tensor("FloatStorage", "0", 24, 0, (1 << 40, 1 << 40), (0, 0)),
    tensor("FloatStorage", "0", 24, 0, (2, 3), (1,)),
    tensor("FloatStorage", "0", "24", 0, (2,), (1,)),
  ],
)
def test_tensors_outside_of_their_storage(tmp_path, bad):
  path = write_zip(tmp_path / "m.bin", dump({"x": bad}), {"0": ARRAY})
  with pytest.raises(UserError, match=r"expected a complete file of torch\.save"):
    TorchFile(path)


def test_storage_shorter_than_the_pickle_says(tmp_path):
  values = {"x": tensor("FloatStorage", "0", 24, 0, (24,), (1,))}
  path = write_zip(tmp_path / "m.bin", dump(values), {"0": ARRAY[:20]})
  with pytest.raises(UserError, match="80 bytes of 96"):
    TorchFile(path).read("x")
  path = write_zip(tmp_path / "n.bin", dump(values), {})
  with pytest.raises(UserError, match="truncated or damaged"):
    TorchFile(path).read("x")


def test_compressed_entries_are_refused(tmp_path):
  """A file of zeros that is a thousand times smaller than what it unpacks to."""
  values = {"x": tensor("FloatStorage", "0", 1 << 22, 0, (1 << 22,), (1,))}
  path = str(tmp_path / "m.bin")
  with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
    file.writestr(zipfile.ZipInfo("archive/data.pkl"), dump(values))
    file.writestr("archive/data/0", bytes(1 << 24))
  with pytest.raises(UserError, match="archive/data/0 is compressed"):
    TorchFile(path).read("x")


def test_big_endian_is_refused(tmp_path):
  values = {"x": tensor("FloatStorage", "0", 24, 0, (24,), (1,))}
  path = write_zip(tmp_path / "m.bin", dump(values), {"0": ARRAY}, byteorder=b"big")
  with pytest.raises(UserError, match="byte order"):
    TorchFile(path)


@pytest.mark.parametrize("name", ["BertForTokenClassification", "BertForQuestionAnswering"])
def test_every_truncation_is_noticed(golden, tmp_path, name):
  content = (golden / "formats" / "huggingface" / name / "pytorch_model.bin").read_bytes()
  path = tmp_path / "pytorch_model.bin"
  for length in [*range(1, 600, 7), *range(600, len(content), 97), len(content) - 1]:
    path.write_bytes(content[:length])
    with pytest.raises(UserError):
      TorchFile(str(path))


def test_damaged_bytes_never_raise_anything_but_user_error(golden, tmp_path):
  source = golden / "formats" / "huggingface" / "BertForQuestionAnswering" / "pytorch_model.bin"
  content = bytearray(source.read_bytes())
  rng = np.random.RandomState(0)
  path = tmp_path / "pytorch_model.bin"
  refused = 0
  for _ in range(400):
    damaged = bytearray(content)
    for position in rng.randint(0, 5000, 3):
      damaged[position] = rng.randint(256)
    path.write_bytes(damaged)
    try:
      file = TorchFile(str(path))
      for tensor_name in file.shapes:
        file.read(tensor_name)
    except UserError:
      refused += 1
  assert refused > 200


def legacy(values, keys, *storages):
  head = [pickle.dumps(value, 2) for value in (0x1950A86A20F9469CFC6C, 1001)]
  head.append(pickle.dumps({"little_endian": True}, 2))
  head += [dump(values), pickle.dumps(keys, 2)]
  return b"".join([*head, *(len(a).to_bytes(8, "little") + a.tobytes() for a in storages)])


def test_legacy_storages(tmp_path):
  path = tmp_path / "m.bin"
  # Storages of tensors that are no entry of the dictionary take their place in the file too.
  values = {
    "nested": {"x": tensor("LongStorage", "9", 3, 0, (3,), (1,))},
    "a": tensor("FloatStorage", "7", 24, 2, (5,), (1,)),
  }
  path.write_bytes(legacy(values, ["9", "7"], np.arange(3), ARRAY))
  np.testing.assert_array_equal(TorchFile(str(path)).read("a"), ARRAY[2:7])
  for keys, storages in ((["7"], [ARRAY]), ([["9"], "7"], []), (["9", "7"], [ARRAY, ARRAY])):
    path.write_bytes(legacy(values, keys, *storages))
    with pytest.raises(UserError, match="truncated or damaged"):
      TorchFile(str(path))


@pytest.mark.parametrize("value", [[1, 2], {"a": 1}, "text", {}])
def test_no_dictionary_of_tensors(tmp_path, value):
  path = write_zip(tmp_path / "m.bin", pickle.dumps(value, 2), {})
  with pytest.raises(UserError, match="expected a dictionary of tensors"):
    TorchFile(path)


def test_memo_bomb(tmp_path):
  # LONG_BINPUT 0xffffffff: the interpreter would reserve 64 GB for its memo.
  path = write_zip(tmp_path / "m.bin", b"\x80\x02}r\xff\xff\xff\xff.", {})
  with pytest.raises(UserError, match="memo entry out of range"):
    TorchFile(path)


def test_git_lfs_pointer(tmp_path):
  path = tmp_path / "pytorch_model.bin"
  path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 440473133\n")
  with pytest.raises(UserError, match="found a git-LFS pointer"):
    TorchFile(str(path))


NESTED = {"bias": tensor("FloatStorage", "0", 24, 0, (24,), (1,))}


@pytest.mark.parametrize(
  "values",
  [
    {"model_state_dict": NESTED, "epoch": 3, "optimizer_state_dict": {"state": {0: {"m": 1}}}},
    {"state_dict": NESTED, "hyper_parameters": {"lr": 0.1}},
    {"model": NESTED, "optimizer": {"exp_avg": NESTED["bias"]}, "files": [1, 2]},
    {"my_network": NESTED, "step": 1},
  ],
)
def test_what_trainers_wrap_around_the_weights(tmp_path, caplog, values):
  path = write_zip(tmp_path / "m.bin", dump(values), {"0": ARRAY})
  with caplog.at_level("INFO", logger="absl"):
    file = TorchFile(path)
  np.testing.assert_array_equal(file.read("bias"), ARRAY)
  taken, *others = values
  assert f"taking {taken!r} and leaving out {', '.join(others)}" in caplog.text


def test_several_unknown_dictionaries_of_tensors(tmp_path):
  path = write_zip(tmp_path / "m.bin", dump({"one": NESTED, "other": NESTED}), {"0": ARRAY})
  with pytest.raises(UserError, match="expected one dictionary of tensors, found one, other"):
    TorchFile(path)


@pytest.mark.parametrize(
  ("kind", "dtype", "exact"),
  [("Half", "float16", True), ("BFloat16", "bfloat16", True), ("Double", "float64", True),
   ("Float", "float32", True), ("Long", "int64", False), ("Char", "int8", False)],
)  # fmt: skip
def test_types(tmp_path, kind, dtype, exact):
  import ml_dtypes

  storage = ARRAY.astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
  values = {"x": tensor(f"{kind}Storage", "0", 24, 0, (24,), (1,))}
  array = TorchFile(write_zip(tmp_path / "m.bin", dump(values), {"0": storage})).read("x")
  assert (array.dtype == np.float32) == exact
  np.testing.assert_array_equal(array, ARRAY)
