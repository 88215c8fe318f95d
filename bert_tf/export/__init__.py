"""From weights to a SavedModel that takes raw text and answers without this package."""
