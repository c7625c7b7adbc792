"""The worker: claims jobs, runs their handlers, writes their outcomes, and looks after what others left behind."""
