"""The clean twin: the same shapes, all of them allowed."""
