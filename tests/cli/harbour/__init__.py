"""A second application for the commands to work on: events of every fate."""
