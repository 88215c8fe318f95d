"""Classification and regression of sentences and pairs (run_classifier.py)."""
