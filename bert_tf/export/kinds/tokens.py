"""The export of a token classifier: named entities."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bert_tf.data.records import NO_LABEL
from bert_tf.export.kinds.base import Kind, Parts
from bert_tf.export.options import GraphPlan
from bert_tf.tasks.ner.features import SentenceEncoder
from bert_tf.tasks.ner.sentences import Sentence
from bert_tf.tasks.windows import cut

if TYPE_CHECKING:
  import keras

  from bert_tf.export.graphs.text import TextModule
  from bert_tf.export.samples import Samples


class Tokens(Kind):
  """A label for every token, and the entities that they make."""

  does = "finds entities in text and labels them"

  def check(self, plan: GraphPlan) -> None:
    """See `Kind`."""
    _encoder(plan)

  def model(self, plan: GraphPlan, parts: Parts, policy: str) -> keras.Model:
    """See `Kind`; no answer depends on a pooler."""
    from bert_tf.heads import TokenClassifierModel

    config, labels = plan.about.config, plan.about.labels
    return TokenClassifierModel(config, len(labels), policy, add_pooler=False)

  def graph(self, model: keras.Model, plan: GraphPlan) -> TextModule:
    """See `Kind`."""
    from bert_tf.export.graphs.tokens import TokenClassifierModule

    doc_stride = plan.about.settings.get("doc_stride")
    return TokenClassifierModule(model, plan.text, plan.about.labels, doc_stride)

  def samples(self, model: keras.Model, graph: TextModule, plan: GraphPlan) -> Samples:
    """See `Kind`; the entities are those of the graph before it was saved."""
    import tensorflow as tf

    from bert_tf.export import samples

    found = samples.of_texts(
      lambda features: {"logits": samples.run(model, features)["logits"].numpy()},
      plan.text,
      pairs=False,
    )
    del found["pairs"]
    asked, shown = found["tokenize"]
    found["tokenize"] = asked, {**shown, "num_windows": _num_windows(asked["text"], plan)}
    texts, _ = samples.columns()
    with tf.device("CPU"):
      entities = {k: v.numpy() for k, v in graph.answers_to_text(tf.constant(texts)).items()}
    sentences = [text.split() or [""] for text in texts]
    words = np.full([len(texts), max(map(len, sentences))], "", object)
    for row, sentence in zip(words, sentences, strict=True):
      row[: len(sentence)] = sentence
    return {
      **found,
      "serving_default": ({"text": texts}, entities),
      "words": ({"words": words}, _labelled(model, words, plan)),
    }


def _labelled(model: keras.Model, words: np.ndarray, plan: GraphPlan) -> dict[str, np.ndarray]:
  """The labels that run_ner.py gives to words, [B, W], window by window."""
  import tensorflow as tf

  from bert_tf.export import samples

  encoder = _encoder(plan)
  known = [Sentence([w for w in row if w], None, "samples", 0) for row in words]
  ids: list[int] = []
  best: list[float] = []
  for window in (window for sentence in known for window in encoder.windows(sentence)):
    record = window.to_record(plan.text.max_seq_length)
    names = ("input_ids", "input_mask", "segment_ids")
    outputs = samples.run(model, {name: np.array([record[name]], np.int32) for name in names})
    places = [place for place, label in enumerate(window.label_ids) if label != NO_LABEL]
    found = tf.nn.softmax(outputs["logits"]).numpy()[0, places]
    ids += found.argmax(-1).tolist()
    best += found.max(-1).tolist()
  labels, scores = np.full(words.shape, "", object), np.zeros(words.shape, np.float32)
  rows = encoder.tags_of(known, np.array(ids, np.int32), np.array(best, np.float32))
  for row, (tags, probabilities) in enumerate(rows):
    labels[row, : len(tags)] = tags
    scores[row, : len(tags)] = probabilities
  return {"word_labels": labels, "scores": scores}


def _num_windows(texts: np.ndarray, plan: GraphPlan) -> np.ndarray:
  """How many windows each text is read in, int32 [B]."""
  tokenizer, encoder = plan.about.full_tokenizer(), _encoder(plan)
  counts = [len(cut(len(tokenizer.tokenize(text)), *encoder.windowing)[0]) for text in texts]
  return np.array(counts, np.int32)


def _encoder(plan: GraphPlan) -> SentenceEncoder:
  """How run_ner.py reads words; raises UserError where windows would have no room, or gaps."""
  about = plan.about
  doc_stride = about.settings.get("doc_stride")
  return SentenceEncoder(about.full_tokenizer(), about.labels, plan.text.max_seq_length, doc_stride)
