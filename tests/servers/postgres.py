"""The PostgreSQL of the tests; it lives in `devtools`, for the example and the benchmarks use it too."""

from devtools.postgres import FAST, PostgresServer

__all__ = ["FAST", "PostgresServer"]
