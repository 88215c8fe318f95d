"""SQuAD 1.1 and 2.0: a span of the context as the answer (BERT paper, sections 4.2 and 4.3).

`examples` reads the JSON, `features` cuts contexts into windows, `predictions` turns logits into
answers, `evaluation` scores them. None of these needs TensorFlow.
"""
