"""A small modular monolith: what it is, and in which order to read it, stands in README.md."""
