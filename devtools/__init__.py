"""Servers for tests, benchmarks and the example; no part of the library."""
