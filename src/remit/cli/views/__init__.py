"""Records as tables and sheets for people."""
