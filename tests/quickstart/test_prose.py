from __future__ import annotations

import inspect
import textwrap

import pytest

from bert_tf.quickstart.prose import is_prose, sentences


def test_drops_what_is_no_english():
  text = """\
  Return the shallow copy of a list.

  Heading of a section
  --------------------

  An example with output follows here:

  >>> copy([1, 2])
  [1, 2]

  The literal block below is not read::

      the_list = a_function(of, the_list)
      for the in list: this is not read

  This one is read again. It has two sentences, e.g. Two of them.

  ======  =====================
  Name    What this column is for
  ======  =====================
  """
  assert sentences(inspect.cleandoc(text)) == [
    "Return the shallow copy of a list.",
    "An example with output follows here:",
    "The literal block below is not read:",
    "This one is read again.",
    "It has two sentences, e.g. Two of them.",
  ]


def test_removes_markup():
  text = (
    "Call :func:`~os.path.join` with ``two`` of the *best* arguments [1]_.\n\n"
    ":param name: the name of the file\n\n"
    "* This item of a list\n  goes on here.\n"
    "* This is another item.\n"
  )
  assert sentences(text) == [
    "Call os.path.join with two of the best arguments.",
    "the name of the file",
    "This item of a list goes on here.",
    "This is another item.",
  ]


def test_splits_sentences_and_entries():
  text = textwrap.dedent("""\
    Opens the file. "Then" it is read? Yes, by Dr. No and by J. Smith.

    host -- the name of the host
    port -- the number of the port, as for
      a socket
  """)
  assert sentences(text) == [
    '"Then" it is read?',
    "Yes, by Dr. No and by J. Smith.",
    "host -- the name of the host",
    "port -- the number of the port, as for a socket",
  ]


@pytest.mark.parametrize(
  "text",
  [
    "x = the_value if it is not None else a",
    "def of(the, list): return the",
    "Too short.",
    "Widget Frame Button Label Canvas Menu",
    "12 of the 14 lines of text",
    "Use {the} braces of a dict or not",
    " ".join(["the"] * 91),
  ],
)
def test_is_no_prose(text):
  assert not is_prose(text)


def test_empty_text_has_no_sentences():
  assert sentences("") == []
