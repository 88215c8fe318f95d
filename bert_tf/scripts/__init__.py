"""The command-line scripts: one `main` each, and the flags that they share."""
