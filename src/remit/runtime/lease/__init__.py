"""The lease of a worker: its heartbeat, and what it knows of the others."""
