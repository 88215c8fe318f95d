"""Many runs as one: suites of tasks, seeds, searches. See docs/experiments.md.

A plan is a list of `plan.Run`, `driver.Driver` does them, each in a process of its own, and what
they scored lies in results.jsonl. Nothing here imports TensorFlow.
"""
