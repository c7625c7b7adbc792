"""What a worker does beside running jobs, each in a loop of its own."""
