"""How a handler is called: a run, in a slot, a thread or a process, and its outcome."""
