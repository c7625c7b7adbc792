"""Which workers live, as seen from here."""

from __future__ import annotations


class Observer:
    """Judges, on our own clock, which workers live: those whose counter was seen to move within a lease."""

    def __init__(self, lease: float) -> None:
        self._lease = lease
        self._seen: dict[str, tuple[int, float]] = {}

    def see(self, counters: dict[str, int], now: float) -> None:
        """Take in one probe, whose reply was here at `now`."""
        self._seen = {
            worker: self._seen[worker] if worker in self._seen and self._seen[worker][0] == count else (count, now)
            for worker, count in counters.items()
        }

    def skip(self, seconds: float) -> None:
        """We could not look for so long: nobody's silence counts meanwhile."""
        self._seen = {worker: (count, at + seconds) for worker, (count, at) in self._seen.items()}

    def silent(self, now: float) -> list[tuple[str, int]]:
        """Workers whose counter had stood still for a lease when the last probe was sent, `now`; with the counter."""
        return [(worker, count) for worker, (count, at) in self._seen.items() if now - at > self._lease]
