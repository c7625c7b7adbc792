"""One rule per module: each reads the model and yields its violations."""
