import json
import subprocess
import sys

import hypothesis
import hypothesis.strategies as st
import pytest
import tensorflow as tf

from bert_tf.errors import UserError
from bert_tf.tokenization import FullTokenizer, InGraphTokenizer
from bert_tf.tokenization.in_graph import TEXT_OPS

RELEASED = [("uncased", True), ("cased", False), ("multilingual-cased", False), ("chinese", True)]
# Characters whose fate depends on their neighbours, and some neighbours of every kind.
DIFFICULT = (
  "Σσς\u0130\u0301\u0345\u0307\u02b0\u00ad\u200d'.aA \u1b44\u302e\u302f\U0001d15e\U0001d165"
  "\u0f73\u0fa7\u1037\u0903\ud55c\uac01\u1100\u4e00\uf900\U0002f800\u2028\u2029\x85\xa0\u3000"
  "\ufffd\x00\x1c\x0b\x7f\t\n\u037e\u1fef\u212a\u212b\xdf\ufb01\ufeff\ufffe\U0010ffff\ue000"
  "\U000e0001\U000e0100\U0001d1bd"
)
INVALID_UTF8 = [b"\xff", b"\xc0\x80", b"\xe2\x82A", b"x\xe2\x82", b"\xed\xa0\x80y", b"\xc3("]
INVALID_UTF8 += [b"\xf4\x90\x80\x80 z", b"\xf0\x9f\x98", b"\xf0\x80\x80\x80", b"\xe0\x80\xaf"]
INVALID_UTF8 += [b"a\x80\xbfb", b"\xf8\x88\x80\x80\x80", b"\xfe\xfe\xff\xff", b"\xe1\xa0\xc0"]
INVALID_UTF8 += [b"\xf1\xbf\xbf ", b"\xef\xbb\xbfbom"]
SHAPES = ["", " ", "\n", "\t \r\n", "a" * 200, "a" * 201, "é" * 200, "é" * 201, "." * 300, "[MASK]"]


@pytest.fixture(scope="module", params=TEXT_OPS)
def pair(request, golden):
  """The same vocabulary in Python and as a graph."""
  path = golden / "vocab.txt"
  return FullTokenizer(path), InGraphTokenizer(path, text_ops=request.param)


@pytest.fixture(scope="module")
def cased_pair(golden):
  path = golden / "vocab_cased.txt"
  return FullTokenizer(path, False), InGraphTokenizer(path, False)


def check(pair, lines, offsets: bool = True):
  reference, tokenizer = pair
  expected = [reference.tokenize_with_offsets(line) for line in lines] if offsets else None
  lines = [line if isinstance(line, bytes) else line.encode() for line in lines]
  ids = tokenizer(tf.constant(lines, tf.string)).to_list()
  for line, row in zip(lines, ids, strict=True):
    assert row == reference.convert_tokens_to_ids(reference.tokenize(line)), ascii(line)
  if not offsets:
    return
  result = tokenizer.tokenize_with_offsets(tf.constant(lines, tf.string))
  for line, want, *got in zip(lines, expected, *(part.to_list() for part in result), strict=True):
    assert (reference.convert_ids_to_tokens(got[0]), got[1], got[2]) == want, ascii(line)


def test_awkward_lines(pair, cased_pair, golden):
  lines = json.loads((golden / "tokenization_lines.json").read_text())
  check(pair, lines)
  check(cased_pair, lines)


def test_basic_tokens(pair, cased_pair, golden):
  lines = json.loads((golden / "tokenization_lines.json").read_text()) + SHAPES
  for reference, tokenizer in (pair, cased_pair):
    words = tokenizer.basic_tokens(tf.constant(lines)).to_list()
    assert words == [
      [word.encode() for word in reference.basic_tokenizer.tokenize(line)] for line in lines
    ]


def test_invalid_utf8_and_odd_lengths(pair, cased_pair):
  check(pair, INVALID_UTF8 + SHAPES)
  check(cased_pair, INVALID_UTF8 + SHAPES)
  check(pair, [])
  check(pair, ["", ""])


def test_words_at_the_limit_of_length(pair):
  # 67 Hangul syllables become 201 letters; accents do not count; marks between do.
  hangul = [("\ud55c" * count) + ("a" * more) for count in (66, 67) for more in (0, 2, 3)]
  check(pair, [*hangul, "a\u0301" * 200, "a\u0301" * 201, "a" * 199 + "\u00ad\u0301b", "字" * 300])


@hypothesis.settings(max_examples=30, deadline=None, derandomize=True)
@hypothesis.given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=40))
def test_random_text(pair, cased_pair, lines):
  check(pair, lines)
  check(cased_pair, lines)


@hypothesis.settings(max_examples=30, deadline=None, derandomize=True)
@hypothesis.given(st.lists(st.text(DIFFICULT, max_size=12), min_size=20, max_size=60))
def test_random_text_of_difficult_characters(pair, cased_pair, lines):
  check(pair, lines)
  check(cased_pair, lines)


@hypothesis.settings(max_examples=30, deadline=None, derandomize=True)
@hypothesis.given(
  st.lists(st.lists(st.sampled_from([*INVALID_UTF8, b"a", b"\xc3\xa9", b"\x80", b"\xf0", b"\xe2"])))
)
def test_random_bytes(pair, lines):
  check(pair, [b"".join(parts) for parts in lines])


def lines_of_code_points(first: int, last: int) -> list[str]:
  chars = [chr(c) for c in range(first, last) if not 0xD800 <= c < 0xE000]
  return [f"a{char}b c{char} {char}" for char in chars]


@pytest.mark.parametrize("first", [0, 0x1000, 0x2000, 0xA000, 0xF000, 0x1D000, 0xE0000])
def test_code_points(pair, cased_pair, first):
  lines = lines_of_code_points(first, first + 0x1000)
  check(pair, lines, offsets=False)
  check(cased_pair, lines, offsets=False)


@pytest.mark.long
@pytest.mark.parametrize(("name", "do_lower_case"), RELEASED)
def test_all_code_points(real_data, name, do_lower_case):
  path = real_data / "vocabs" / f"bert-base-{name}-vocab.txt"
  reference = FullTokenizer(path, do_lower_case)
  tokenizers = [InGraphTokenizer(path, do_lower_case, text_ops) for text_ops in TEXT_OPS]
  for first in range(0, 0x110000, 0x8000):
    lines = lines_of_code_points(first, first + 0x8000)
    # As neighbours of what looks at its neighbours: sigma, and marks that may change places.
    if first < 0x30000 or first == 0xE0000:
      lines += [f"AΣ{line[1]} {line[1]}ΣA\u302e{line[1]}\u1b44" for line in lines]
    expected = [reference.convert_tokens_to_ids(reference.tokenize(line)) for line in lines]
    for tokenizer in tokenizers:
      ids = tokenizer(tf.constant(lines)).to_list()
      wrong = [line for line, a, b in zip(lines, ids, expected, strict=True) if a != b]
      assert wrong == [], tokenizer.text_ops


@pytest.mark.long
def test_offsets_around_all_assigned_code_points(pair):
  for first in range(0, 0x20000, 0x8000):
    check(pair, [line[:4] for line in lines_of_code_points(first, first + 0x8000)])


@pytest.mark.parametrize(("name", "do_lower_case"), RELEASED)
def test_real_text_with_released_vocabularies(real_data, name, do_lower_case):
  lines = json.loads((real_data / "parity" / "lines.json").read_text())
  path = real_data / "vocabs" / f"bert-base-{name}-vocab.txt"
  assert len(lines) > 2000
  pair = FullTokenizer(path, do_lower_case), InGraphTokenizer(path, do_lower_case)
  check(pair, lines, offsets=False)


@pytest.mark.long
@pytest.mark.parametrize("text_ops", TEXT_OPS)
@pytest.mark.parametrize(("name", "do_lower_case"), RELEASED)
def test_offsets_in_real_text(real_data, name, do_lower_case, text_ops):
  lines = json.loads((real_data / "parity" / "lines.json").read_text())
  path = real_data / "vocabs" / f"bert-base-{name}-vocab.txt"
  check(
    (FullTokenizer(path, do_lower_case), InGraphTokenizer(path, do_lower_case, text_ops)), lines
  )


def test_inside_a_dataset_and_a_function(pair):
  reference, tokenizer = pair
  lines = ["Mixed Σ batch", "of ordinary lines", "\u00ad"]
  expected = [reference.convert_tokens_to_ids(reference.tokenize(line)) for line in lines]
  dataset = tf.data.Dataset.from_tensor_slices(lines).batch(2).map(tokenizer)
  assert [row for batch in dataset for row in batch.to_list()] == expected

  @tf.function
  def lengths(text):
    return tokenizer(text).row_lengths()

  assert lengths(tf.constant(lines)).numpy().tolist() == list(map(len, expected))


def test_required_ops_are_those_that_core_tensorflow_lacks(pair):
  _, tokenizer = pair
  used = set()
  for function in (tokenizer, tokenizer.tokenize_with_offsets):
    signature = tf.TensorSpec([None], tf.string)
    graph = tf.function(function).get_concrete_function(signature).graph.as_graph_def()
    used |= {node.op for part in (graph, *graph.library.function) for node in nodes(part)}
  functions = {"PartitionedCall", "StatefulPartitionedCall"}
  missing = {op for op in used - functions if not hasattr(tf.raw_ops, op)}
  assert sorted(missing) == list(tokenizer.required_ops)


def nodes(graph):
  return graph.node if hasattr(graph, "node") else graph.node_def


LOADER = """
import json, os, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
import tensorflow as tf
import tensorflow_text
lines = json.loads(sys.stdin.read())
def unpack(result):
  return [tf.RaggedTensor.from_row_splits(result[name], result["splits"]).to_list()
          for name in ("ids", "starts", "ends")]
results = []
for path in sys.argv[1:]:
  serve = tf.saved_model.load(path).signatures["serving_default"]
  results.append(unpack(serve(text=tf.constant(lines))))
  with tf.compat.v1.Session(graph=tf.Graph()) as session:
    loaded = tf.compat.v1.saved_model.load(session, ["serve"], path)
    signature = loaded.signature_def["serving_default"]
    outputs = {name: info.name for name, info in signature.outputs.items()}
    fetched = session.run(outputs, {signature.inputs["text"].name: lines})
  results.append(unpack(fetched))
assert "bert_tf" not in sys.modules
print(json.dumps(results))
"""


def save(tokenizer: InGraphTokenizer, path) -> None:
  """Saves a model that gives ids by `__call__` and offsets by `tokenize_with_offsets`."""
  module = tf.Module()
  module.tokenizer = tokenizer

  @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
  def serve(text):
    ids, starts, ends = tokenizer.tokenize_with_offsets(text)
    parts = {"ids": tokenizer(text), "starts": starts, "ends": ends}
    return {"splits": ids.row_splits, **{name: part.values for name, part in parts.items()}}

  tf.saved_model.save(module, path, signatures={"serving_default": serve})


def test_saved_models_load_anywhere(golden, tmp_path):
  """Through both loaders (TensorFlow Serving's is the older one), moved, without this package."""
  reference = FullTokenizer(golden / "vocab.txt")
  for text_ops in TEXT_OPS:
    save(InGraphTokenizer(golden / "vocab.txt", text_ops=text_ops), tmp_path / "new" / text_ops)
  (tmp_path / "new").rename(tmp_path / "moved")
  for text_ops in TEXT_OPS:
    files = (tmp_path / "moved" / text_ops).rglob("*")
    assert sum(path.stat().st_size for path in files if path.is_file()) < 3 << 20
  lines = ["Some text, ordinary.", "ΑΣ \ud55c\u302e\u1b44 x\u00ad", "", "a" * 201]
  result = subprocess.run(
    [sys.executable, "-c", LOADER, *(f"moved/{text_ops}" for text_ops in TEXT_OPS)],
    cwd=tmp_path,
    input=json.dumps(lines),
    capture_output=True,
    encoding="utf-8",
  )
  assert result.returncode == 0, result.stderr
  expected = [reference.tokenize_with_offsets(line) for line in lines]
  expected = [[reference.convert_tokens_to_ids(t), s, e] for t, s, e in expected]
  results = json.loads(result.stdout)
  assert len(results) == 4
  for parts in results:
    assert list(map(list, zip(*parts, strict=True))) == expected


def test_misuse_is_refused(golden, pair):
  with pytest.raises(UserError, match="expected one of fast, compatible, found 'slow'"):
    InGraphTokenizer(golden / "vocab.txt", text_ops="slow")
  with pytest.raises(UserError, match="string tensor of one dimension, found int32"):
    pair[1](tf.constant([1]))
  with pytest.raises(UserError, match=r"found string of shape \(1, 1\)"):
    pair[1].tokenize_with_offsets(tf.constant([["a"]]))
