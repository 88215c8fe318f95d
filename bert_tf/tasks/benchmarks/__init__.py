"""Benchmarks of several tasks: GLUE and its like, with their files, metrics and submissions.

A benchmark is a module of this package with a `Benchmark` (see `contract`), and a row of
`registry.BENCHMARKS`. `bert-tf suite NAME` runs it.
"""
