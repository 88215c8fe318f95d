"""Commands that look into checkpoints and make new ones from them, for `python -m bert_tf`.

Each module is one command: a plain function, and `add_arguments(parser)` and `run(args)` around
it. What a command writes is complete or absent, and was run beside what it was made from.
"""
