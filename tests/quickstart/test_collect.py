from __future__ import annotations

import csv

from bert_tf.quickstart import collect, corpus


def test_no_stage_sees_what_any_stage_is_measured_on(modules, monkeypatch, tmp_path, capsys):
  monkeypatch.setattr(corpus, "standard_library", lambda: modules)
  collect.collect(str(tmp_path))
  tables = {}
  for split in ("train", "dev"):
    with open(tmp_path / "task" / f"{split}.tsv", encoding="utf-8", newline="") as file:
      tables[split] = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
  labels = (tmp_path / "task" / "labels.txt").read_text().splitlines()
  assert sorted({row["area"] for row in tables["train"]}) == labels
  assert sorted({row["area"] for row in tables["dev"]}) == labels

  train_text = (tmp_path / "text" / "train.txt").read_text().splitlines()
  held_out = (tmp_path / "text" / "held_out.txt").read_text().splitlines()
  assert not set(filter(None, train_text)) & set(filter(None, held_out))
  assert 0.05 * len(train_text) < len(held_out) < 0.4 * len(train_text)
  dev_modules = {row["module"] for row in tables["dev"]}
  assert not dev_modules & {row["module"] for row in tables["train"]}
  # Long sentences of dev docstrings: most are held out (some docstrings are cut, or their
  # sentences came in another document before), none are in the training text by themselves.
  documents = {d.name: set(d.sentences) for d in corpus.documents(modules)}
  trained = set(train_text)
  for module in dev_modules & set(documents):
    assert not documents[module] & trained

  out = capsys.readouterr().out
  assert f"{len(tables['dev'])} examples of {len(dev_modules)} modules" in out
