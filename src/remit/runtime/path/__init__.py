"""What a job goes through in a worker: claimed, prefetched, run, completed."""
