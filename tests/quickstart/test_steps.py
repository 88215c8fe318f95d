from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import pytest

from bert_tf.errors import UserError
from bert_tf.processes import Cost, show_command
from bert_tf.quickstart.steps import Runner, Step
from bert_tf.script import Stopped
from bert_tf.training.output_dir import Lock

_APPEND = "import sys; open(sys.argv[1], 'a').write(sys.argv[2])"


@pytest.fixture
def runner(tmp_path) -> Runner:
  return Runner(tmp_path / "out", python_path=str(tmp_path))


def _step(tmp_path: pathlib.Path, text: str = "x", **options) -> Step:
  """Appends a text to a file: done twice, it is there twice."""
  output = str(tmp_path / "out" / "result")
  values = {
    "name": "append",
    "title": "Append",
    "command": (sys.executable, "-c", _APPEND, output, text),
    "inputs": (),
    "outputs": (output,),
  }
  return Step(**{**values, **options})


def _result(tmp_path: pathlib.Path) -> str:
  return (tmp_path / "out" / "result").read_text()


def test_a_finished_step_is_not_done_again(runner, tmp_path, capfd):
  first = runner.run(_step(tmp_path), "[1/1]")
  second = runner.run(_step(tmp_path), "[1/1]")
  assert _result(tmp_path) == "x"
  assert first == second
  assert first.seconds > 0 and first.cpu_seconds > 0 and first.peak_bytes > 1e6
  out = capfd.readouterr().out
  assert out.count("$ ") == 1
  assert "[1/1] Append: done before" in out


def test_another_command_is_done_anew_without_old_outputs(runner, tmp_path):
  runner.run(_step(tmp_path), "")
  runner.run(_step(tmp_path, "y"), "")
  assert _result(tmp_path) == "y"


def test_another_input_is_done_anew(runner, tmp_path):
  source = tmp_path / "out" / "in.txt"
  source.parent.mkdir()
  source.write_text("1")
  step = _step(tmp_path, inputs=(str(tmp_path / "out" / "in*.txt"),))
  runner.run(step, "")
  os.utime(source)
  runner.run(step, "")
  assert _result(tmp_path) == "x"
  (tmp_path / "out" / "result").write_text("old")
  source.write_text("2")
  runner.run(step, "")
  assert _result(tmp_path) == "x"


def test_a_missing_output_is_made_again(runner, tmp_path):
  runner.run(_step(tmp_path), "")
  (tmp_path / "out" / "result").unlink()
  runner.run(_step(tmp_path), "")
  assert _result(tmp_path) == "x"


def test_a_missing_input_is_refused(runner, tmp_path):
  step = _step(tmp_path, inputs=(str(tmp_path / "out" / "nothing.txt"),))
  with pytest.raises(UserError, match=r"expected .*nothing\.txt, which an earlier step writes"):
    runner.run(step, "")


def test_a_moved_output_directory_is_still_done(runner, tmp_path):
  runner.run(_step(tmp_path), "")
  (tmp_path / "out").rename(tmp_path / "moved")
  output = str(tmp_path / "moved" / "result")
  step = _step(tmp_path, command=(sys.executable, "-c", _APPEND, output, "x"), outputs=(output,))
  Runner(tmp_path / "moved", "").run(step, "")
  assert (tmp_path / "moved" / "result").read_text() == "x"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"digest": 1}'])
def test_a_damaged_marker_counts_as_none(runner, tmp_path, content):
  runner.run(_step(tmp_path), "")
  (tmp_path / "out" / ".steps" / "append.json").write_text(content)
  runner.run(_step(tmp_path), "")
  assert _result(tmp_path) == "x"


@pytest.mark.parametrize(("resumes", "result"), [(True, "xx"), (False, "x")])
def test_a_failed_step_goes_on_only_if_it_can(runner, tmp_path, resumes, result):
  program = _APPEND + "; sys.exit(3 if sys.argv[3] else 0)"
  output = str(tmp_path / "out" / "result")
  # The environment is no part of the command, so only it may differ between the two starts.
  program = program.replace("sys.argv[3]", "__import__('os').environ.get('FAIL')")
  step = _step(tmp_path, command=(sys.executable, "-c", program, output, "x"), resumes=resumes)
  os.environ["FAIL"] = "1"
  try:
    with pytest.raises(UserError, match=r"step 'append': .* exit code 3; see its message above"):
      runner.run(step, "")
  finally:
    del os.environ["FAIL"]
  assert _result(tmp_path) == "x"
  runner.run(step, "")
  assert _result(tmp_path) == result


def test_a_quiet_step_writes_a_log_and_shows_its_end_on_failure(runner, tmp_path, capfd):
  program = "import sys; print('on', 'stdout'); sys.exit('its last' + ' words')"
  step = _step(tmp_path, command=(sys.executable, "-c", program), outputs=(), quiet=True)
  with pytest.raises(UserError, match=r"see .*append\.log"):
    runner.run(step, "")
  assert (tmp_path / "out" / "logs" / "append.log").read_text() == "on stdout\nits last words\n"
  out, err = capfd.readouterr()
  assert "on stdout" not in out and "its last words" in err


def test_answers_are_complete_or_absent(runner, tmp_path):
  answers = str(tmp_path / "out" / "answers.txt")
  program = "import os, sys; print(6 * 7, flush=True); sys.exit(int(os.environ.get('FAIL', 0)))"
  step = _step(
    tmp_path, command=(sys.executable, "-c", program), outputs=(answers,), answers=answers
  )
  os.environ["FAIL"] = "1"
  try:
    with pytest.raises(UserError):
      runner.run(step, "")
  finally:
    del os.environ["FAIL"]
  assert not os.path.exists(answers)
  runner.run(step, "")
  assert pathlib.Path(answers).read_text() == "42\n"


def test_only_steps_that_need_it_find_the_package(runner, tmp_path):
  (tmp_path / "a_module.py").write_text("")
  command = (sys.executable, "-c", "import a_module")
  runner.run(_step(tmp_path, command=command, outputs=()), "")
  with pytest.raises(UserError):
    runner.run(_step(tmp_path, name="b", command=command, outputs=(), needs_package=False), "")


def test_outputs_elsewhere_are_never_removed(runner, tmp_path):
  (tmp_path / "precious").write_text("")
  with pytest.raises(ValueError, match="outside"):
    runner.run(_step(tmp_path, outputs=(str(tmp_path / "precious"),)), "")
  assert (tmp_path / "precious").exists()


_SLOW = """
import pathlib, signal, sys, time
path = pathlib.Path(sys.argv[1])
def stop(number, frame):
  path.write_text(path.read_text() + "saved;")
  sys.exit(130)
signal.signal(signal.SIGINT, stop)
resumed = path.exists()
path.parent.mkdir(exist_ok=True)
path.write_text((path.read_text() if resumed else "") + "started;")
if not resumed:
  time.sleep(60)
"""


def test_an_interrupted_step_saves_and_goes_on(runner, tmp_path):
  output = tmp_path / "out" / "result"
  step = _step(tmp_path, command=(sys.executable, "-c", _SLOW, str(output)), resumes=True)

  def interrupt():
    while not output.exists() or not output.read_text():
      time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGINT)

  thread = threading.Thread(target=interrupt)
  thread.start()
  with pytest.raises(Stopped, match="start the same command again") as stopped:
    runner.run(step, "")
  thread.join()
  assert stopped.value.exit_code == 130
  assert output.read_text() == "started;saved;"
  marker = json.loads((tmp_path / "out" / ".steps" / "append.json").read_text())
  cost = runner.run(step, "")
  assert output.read_text() == "started;saved;started;"
  assert cost.seconds > marker["cost"]["seconds"] > 0
  assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_costs_add_up():
  assert Cost(1, 2, 3) + Cost(4, 5, 2) == Cost(5, 7, 3)


def test_shows_commands_as_a_shell_takes_them():
  assert show_command(("python", "a b", "--flag=it's")) == """$ python 'a b' '--flag=it'"'"'s'"""
  long = ("python", "script.py", *(f"--a_flag_with_a_long_name_{i}={i}" for i in range(4)), "text")
  assert show_command(long) == (
    "$ python script.py \\\n"
    "    --a_flag_with_a_long_name_0=0 \\\n"
    "    --a_flag_with_a_long_name_1=1 \\\n"
    "    --a_flag_with_a_long_name_2=2 \\\n"
    "    --a_flag_with_a_long_name_3=3 \\\n"
    "    text"
  )


def test_a_step_ends_where_its_runner_is_killed(tmp_path):
  """Else it would go on alone, and a second start would work beside it."""
  output = tmp_path / "out"
  child = "import os, pathlib, sys, time; pathlib.Path(sys.argv[1]).write_text(str(os.getpid()));"
  parent = f"""
import sys
from bert_tf.quickstart.steps import Runner, Step
from bert_tf.training.output_dir import Lock
command = (sys.executable, "-c", {child!r} + "time.sleep(100)", {str(tmp_path / "pid")!r})
with Lock({str(output)!r}) as lock:
  Runner({str(output)!r}, "", lock).run(Step("wait", "Wait", command, (), ()), "")
"""
  process = subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.DEVNULL)
  deadline = time.monotonic() + 60
  while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
    assert process.poll() is None and time.monotonic() < deadline
    time.sleep(0.05)
  with pytest.raises(UserError, match=f"another process .pid {process.pid}. is at work in"):
    Lock(str(output))
  process.kill()
  process.wait()
  pid = int((tmp_path / "pid").read_text())
  while pathlib.Path(f"/proc/{pid}/stat").exists():
    if pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
      break
    assert time.monotonic() < deadline
    time.sleep(0.05)
  Lock(str(output)).close()
