"""How the demo is to be played."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Options:
    url: str | None = None
    store: str | None = None
    orders: int | None = None
    """How many of the CSV; all by default."""
    rate: float = 90.0
    clients: int = 8
    workers: int = 2
    lease: float = 3.0
    kill_at: float = 0.4
    """After which share of the orders a worker is killed."""
    port: int | None = None
