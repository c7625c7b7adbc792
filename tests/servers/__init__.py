"""Real servers for the tests: PostgreSQL, PgBouncer, and a TCP proxy that cuts, freezes and delays."""

from tests.servers.pgbouncer import PgBouncer
from tests.servers.postgres import FAST, PostgresServer
from tests.servers.proxy import Cut, Proxy

__all__ = ["FAST", "Cut", "PgBouncer", "PostgresServer", "Proxy"]
