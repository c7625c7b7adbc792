"""The orders of a week, and how they were made up."""
