"""Masked words and next sentences."""
