"""What `python -m bert_tf serve` is told, and which directories it takes for versions."""

from __future__ import annotations

import argparse

import pytest

from bert_tf.errors import UserError
from bert_tf.serving import locate, server


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    (["--port", "-1"], "`port`: expected from 0 to 65535, found -1"),
    (["--port", "65536"], "`port`: expected from 0 to 65535"),
    (["--grpc_port", "-2"], "`grpc_port`: expected from -1 to 65535"),
    (["--poll_seconds", "0"], "`poll_seconds`: expected more than 0"),
    (["--poll_seconds", "nan"], "`poll_seconds`: expected more than 0"),
    (["--batch_timeout_ms", "-1"], "`batch_timeout_ms`: expected at least 0"),
    (["--max_queue", "0"], "`max_queue`: expected at least 1"),
    (["--log_format", "xml"], "`log_format`: expected one of text, json, found 'xml'"),
    (["--models_config", "x"], "expected DIR or `models_config`, found both"),
    (["--tls_key", "x"], "expected `tls_certificate` and `tls_key`, found one"),
    (["--tls_key", "x", "--tls_certificate", "x"], "`tls_certificate`: expected a PEM file"),
  ],
)
def test_bad_arguments_are_refused(arguments, message, tmp_path):
  parser = argparse.ArgumentParser()
  server.add_arguments(parser)
  with pytest.raises(UserError, match=message):
    server.run(parser.parse_args([str(tmp_path), *arguments]))


def test_directories_that_are_versions(tmp_path):
  for name in ("0", "2", "10", "007", "9" * 19, "1a", "²", ".exporting-3"):
    (tmp_path / name).mkdir()
    (tmp_path / name / "saved_model.pb").write_bytes(b"")
  (tmp_path / "11").mkdir()
  assert locate.versions(str(tmp_path)) == [0, 2, 10]


def test_version_0_is_tried(tmp_path):
  pytest.importorskip("tensorflow_serving", reason="needs the extra serving")
  (tmp_path / "0").mkdir()
  (tmp_path / "0" / "saved_model.pb").write_bytes(b"not a model")
  with pytest.raises(UserError, match="found 0: "):
    server.Server(server.ServerOptions(str(tmp_path)))
