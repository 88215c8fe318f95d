"""Named entities and other labels of words (BERT paper, section 5.3)."""
