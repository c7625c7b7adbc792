"""A small application for the commands to work on: jobs of every fate."""
