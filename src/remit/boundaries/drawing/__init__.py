"""Drawings of a map: one format per module, each a function from `Map` to text."""
