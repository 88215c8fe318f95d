"""An export without any Python of TensorFlow's: what servers in other languages do."""

from __future__ import annotations

import pathlib
import subprocess
import sys

import numpy as np
import pytest

from bert_tf.export import fresh_process_check as check


@pytest.mark.parametrize(
  "kind",
  ["classifier", *(pytest.param(k, marks=pytest.mark.long) for k in ("questions", "tokens"))],
)
def test_the_warm_up_gets_the_same_answers_through_the_c_api(exports, tmp_path, kind):
  import tensorflow as tf

  packages = pathlib.Path(tf.__file__).parent.parent
  if not (packages / "tensorflow" / "libtensorflow_cc.so.2").exists():
    pytest.skip("needs TensorFlow's C library, which is in its wheels for Linux")
  script = pathlib.Path(__file__).with_name("c_api_client.py")
  output = tmp_path / "answers.npz"
  done = subprocess.run(
    [sys.executable, script, packages, exports[kind], output],
    capture_output=True, text=True, check=False, timeout=300,
  )  # fmt: skip
  assert done.returncode == 0, done.stderr[-2000:]
  answer = check.session_loader(str(exports[kind]))
  with np.load(output) as found:
    names = set(found.files)
    for number, (signature, inputs) in enumerate(check.warmup_requests(str(exports[kind]))):
      expected = answer(signature, inputs)
      for name, value in expected.items():
        names.discard(f"{number}|{name}")
        other = check.decoded(found[f"{number}|{name}"])
        if value.dtype == object:
          np.testing.assert_array_equal(other, value, f"{signature} {name}")
        else:
          np.testing.assert_allclose(other, value, atol=1e-5, err_msg=f"{signature} {name}")
  assert not names
