"""`python -m bert_tf quickstart`: the whole life of a small BERT on text that Python carries."""
