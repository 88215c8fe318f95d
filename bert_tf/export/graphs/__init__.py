"""The graphs of exported models: what each kind takes and what it answers."""
