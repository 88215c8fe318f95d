"""Files of labelled words: what is read, what is found, what is refused."""

from __future__ import annotations

import pytest

from bert_tf import UserError
from bert_tf.tasks.ner import metrics, sentences
from bert_tf.tasks.ner.sentences import Columns, find_file, read_sentences


def write(path, content: str | bytes):
  path.write_bytes(content if isinstance(content, bytes) else content.encode())
  return str(path)


# The same two sentences, as different tools write them.
SPELLINGS = {
  "tabs": "Anna\tB-PER\nsmiles\tO\n\nOslo\tB-LOC\n",
  "spaces": "Anna B-PER\nsmiles  O\n\nOslo B-LOC\n",
  "both, as in WNUT": "Anna\tB-PER\nsmiles O \n\t\nOslo\tB-LOC\n\t\n",
  "line ends of Windows": "Anna\tB-PER\r\nsmiles\tO\r\n\r\nOslo\tB-LOC\r\n",
  "byte order mark": "\ufeffAnna\tB-PER\nsmiles\tO\n\nOslo\tB-LOC",
  "documents": "-DOCSTART- O\n\nAnna B-PER\nsmiles O\n-DOCSTART-\tO\nOslo B-LOC\n",
  "CoNLL-2003": "-DOCSTART- -X- -X- O\n\nAnna NNP I-NP B-PER\nsmiles VB I-VP O\n\n\nOslo N X B-LOC",
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_spellings(spelling, tmp_path):
  path = write(tmp_path / "train.txt", SPELLINGS[spelling])
  found = read_sentences(path, Columns())
  assert [s.words for s in found] == [["Anna", "smiles"], ["Oslo"]]
  assert [s.tags for s in found] == [["B-PER", "O"], ["B-LOC"]]
  lines = SPELLINGS[spelling].split("\n")
  for sentence in found:
    for index, word in enumerate(sentence.words):
      assert word in lines[sentence.first_line + index - 1]


def test_columns_by_number(tmp_path):
  path = write(tmp_path / "x", "1\tB-PER\tAnna\tx\n2\tO\tsmiles\tx\n")
  [found] = read_sentences(path, Columns(2, 1))
  assert (found.words, found.tags) == (["Anna", "smiles"], ["B-PER", "O"])
  [found] = read_sentences(path, Columns(-2, -3))
  assert (found.words, found.tags) == (["Anna", "smiles"], ["B-PER", "O"])


def test_only_line_feeds_end_lines_and_only_spaces_and_tabs_columns(tmp_path):
  path = write(tmp_path / "x", "a\u2028b\tO\n\u00a0\tO\n\u200d O\nc\u3000d O\n")
  [found] = read_sentences(path, Columns())
  # A no-break space alone is nothing that a tokenizer sees, but it has its line in the file.
  assert found.words == ["a\u2028b", "\u00a0", "\u200d", "c\u3000d"]


@pytest.mark.parametrize("text", ["EU\tB-ORG\rrejects\tO\r", "EU\tO\n\nEU O\rrejects O\n"])
def test_carriage_returns_do_not_hide_lines(tmp_path, text):
  """Of the first text a single word of three columns would be left."""
  (tmp_path / "x").write_bytes(text.encode())
  with pytest.raises(UserError, match=rf"line {text.count(chr(10)) or 1}: expected line feeds"):
    read_sentences(str(tmp_path / "x"), Columns())


def test_a_test_file_may_lack_tags(tmp_path):
  path = write(tmp_path / "test.txt", "Anna\nsmiles\n")
  [found] = read_sentences(path, Columns(), labelled=False)
  assert (found.words, found.tags) == (["Anna", "smiles"], None)
  path = write(tmp_path / "more.txt", "Anna NNP I-NP\n")
  assert read_sentences(path, Columns(label=3), labelled=False)[0].tags is None
  assert read_sentences(path, Columns(), labelled=False)[0].tags == ["I-NP"]


BAD = [
  ("Anna O\nsmiles\n", r"line 2: expected 2 columns as in line 1, found 1"),
  ("\nAnna\tO\n\tO\n", r"line 3: expected a word, found an empty column"),
  ("Anna B-PER\nsmiles PER\n", r"line 2: expected a tag such as O, B-PER .* found 'PER'"),
  ("Anna L-PER\n", r"line 1: expected a tag .*BIOES.* found 'L-PER'"),
  ("Anna B-\n", r"line 1: expected a tag .* found 'B-'"),
  ("Anna\nsmiles\n", r"line 1: expected a word and its tag, found a single column"),
  ("\n \n-DOCSTART- O\n", r"expected a word and its tag a line, found blank lines"),
  ("", r"empty file"),
  (b"Anna O\n\xff O\n", r"line 2: expected UTF-8, found"),
  ("Anna O\n".encode("utf-16"), r"expected UTF-8, found UTF-16"),
]


@pytest.mark.parametrize(("content", "message"), BAD)
def test_bad_lines_are_named(content, message, tmp_path):
  path = write(tmp_path / "train.txt", content)
  with pytest.raises(UserError, match=message) as error:
    read_sentences(path, Columns())
  assert path in str(error.value) and "\n" not in str(error.value)


def test_bad_columns_are_named(tmp_path):
  path = write(tmp_path / "train.txt", "Anna O\n")
  with pytest.raises(UserError, match=r"line 1: expected a column 2 \(`token_column`.*found 2"):
    read_sentences(path, Columns(token=2))
  with pytest.raises(UserError, match=r"expected a column -3 \(`label_column`"):
    read_sentences(path, Columns(label=-3))
  with pytest.raises(UserError, match=r"found both in one column"):
    read_sentences(path, Columns(label=0))


FILES = {
  "plain": (("train.txt", "valid.txt", "test.txt"), (0, 1, 2)),
  "CoNLL": (("eng.train", "eng.testa", "eng.testb", "README.md"), (0, 1, 2)),
  "WNUT": (("emerging.dev.conll", "emerging.test.annotated", "wnut17train.conll"), (2, 0, 1)),
  "exact names first": (("train.conll", "dev.conll", "test.conll", "old_train.conll"), (0, 1, 2)),
  "no results": (("train.tsv", "dev.tsv", "test_predictions.txt", "big-test.tsv"), (0, 1, 3)),
}


@pytest.mark.parametrize("names", FILES)
def test_files_are_found(names, tmp_path):
  names, expected = FILES[names]
  for name in (*names, "train.json", ".train.txt", "train.tf_record", "contest.txt", "device.txt"):
    write(tmp_path / name, "x O\n")
  found = [find_file(str(tmp_path), split) for split in ("train", "dev", "test")]
  assert found == [str(tmp_path / names[i]) for i in expected]


def test_files_that_are_not_found(tmp_path):
  with pytest.raises(UserError, match=r"expected one file such as dev.txt in .*, found none; name"):
    find_file(str(tmp_path), "dev")
  for name in ("a.train", "b.train"):
    write(tmp_path / name, "x O\n")
  with pytest.raises(UserError, match=r"found a.train, b.train; name it with `train_file`"):
    find_file(str(tmp_path), "train")
  assert find_file(str(tmp_path), "train", "b.train") == str(tmp_path / "b.train")
  with pytest.raises(UserError, match="`data_dir`: expected a directory, found none"):
    find_file(None, "test")
  with pytest.raises(UserError, match="found nothing at '/nothing'"):
    find_file("/nothing", "test")


def test_tags_in_their_order(tmp_path):
  path = write(tmp_path / "x", "a I-B\nb O\nc B-B\nd S-A\ne E-B\n\nf B-A\ng I-x-y\n")
  assert sentences.tags_of(read_sentences(path, Columns())) == [
    "O", "B-A", "S-A", "B-B", "I-B", "E-B", "I-x-y",
  ]  # fmt: skip


@pytest.mark.parametrize(
  ("tags", "message"),
  [
    (["O"], "expected O and at least one tag of entities, found O"),
    (["B-A", "I-A"], "expected O and at least one"),
    (["O", "B-A", "B-A"], "expected every tag once"),
    (["O", "U-A"], "found 'U-A'"),
  ],
)
def test_tags_that_no_model_can_have(tags, message):
  with pytest.raises(UserError, match=f"labels.txt: .*{message}"):
    sentences.check_tags(tags, "labels.txt")


def test_characters_one_a_line_with_blanks_among_them(tmp_path):
  text = "我 O\n在 O\n北 B-LOC\n京 E-LOC\n  O\n\u3000 O\nB S-ORG\n"
  [spaces] = read_sentences(write(tmp_path / "a", text), Columns())
  lines = [f"{line[:1]}\t{line[2:]}" for line in text.splitlines()]
  [tabs] = read_sentences(write(tmp_path / "b", "\n".join(lines) + "\n"), Columns())
  assert spaces.words == tabs.words == ["我", "在", "北", "京", " ", "\u3000", "B"]
  assert spaces.tags == tabs.tags == ["O", "O", "B-LOC", "E-LOC", "O", "O", "S-ORG"]
  with pytest.raises(UserError, match="line 2: expected 2 columns as in line 1, found 1"):
    read_sentences(write(tmp_path / "c", "我 O\nO\n"), Columns())


def test_bmes_is_bies(tmp_path):
  path = write(tmp_path / "a", "北 B-LOC\n京 M-LOC\n市 E-LOC\n人 S-PER\n的 O\n")
  [found] = read_sentences(path, Columns())
  assert sentences.tags_of([found]) == ["O", "B-LOC", "M-LOC", "E-LOC", "S-PER"]
  sentences.check_tags(sentences.tags_of([found]), path)
  assert metrics.entities(found.tags) == [("LOC", 0, 2), ("PER", 3, 3)]
  # Without an end, the next beginning is another name, as in BIES.
  broken = ["B-LOC", "M-LOC", "B-LOC", "M-LOC", "M-PER"]
  inside = [tag.replace("M-", "I-") for tag in broken]
  assert metrics.entities(broken) == metrics.entities(inside)
  assert metrics.compute([broken], [found.tags]) == metrics.compute(
    [inside], [[tag.replace("M-", "I-") for tag in found.tags]]
  )


@pytest.mark.parametrize(
  ("words", "span", "text"),
  [
    (["Anna", "Smith", "came"], (0, 1), "Anna Smith"),
    (["我", "在", "北", "京"], (2, 3), "北京"),
    (["用", "iPhone", "手机", "和", "Mac", "book"], (1, 2), "iPhone手机"),
    (["用", "iPhone", "手机", "和", "Mac", "book"], (4, 5), "Mac book"),
    ([*"在J. Li", *"家"], (1, 5), "J. Li"),
  ],
)
def test_names_are_written_as_in_running_text(words, span, text):
  assert sentences.Sentence(words, None, "x", 1).text(*span) == text
