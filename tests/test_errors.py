"""What is printed of an error, of names and of texts."""

from __future__ import annotations

import pytest

from bert_tf import UserError, script
from bert_tf.errors import printable


@pytest.mark.parametrize(
  ("text", "expected"),
  [
    ("plain Käse 中 😀", "plain Käse 中 😀"),
    ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
    ("\x9b2J\x7f\0", r"\x9b2J\x7f\x00"),
    ("a\nb\tc\r", "a\nb\tc\\r".replace("\\r", r"\x0d")),
    ("abc\u202edcb", r"abc\u202edcb"),
    ("\ud800", r"\ud800"),
    # Joins emoji; gives no order.
    ("👩\u200d💻", "👩\u200d💻"),
  ],
)
def test_orders_to_the_terminal_are_shown_and_not_given(text, expected):
  assert printable(text) == expected


def test_a_name_in_a_table_stays_on_its_line():
  assert printable("two\nrows\t", lines=False) == r"two\x0arows\x09"


def test_errors_of_scripts(capsys):
  def fail():
    raise UserError("unexpected \x1b[31mname")

  with pytest.raises(SystemExit):
    script.call(fail)
  assert capsys.readouterr().err == "error: unexpected \\x1b[31mname\n"
