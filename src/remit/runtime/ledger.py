"""What this worker holds, and what it has asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from remit.jobs.ids import new_id, new_token
from remit.jobs.model import Claim


class Ledger:
    """The worker's own list of its claims, under one incarnation: an id that is never used again."""

    def __init__(self, suspect_gone: Callable[[], None] = lambda: None) -> None:
        self.worker = new_id()
        self.fenced = False
        self.suspect: str | None = None
        """The one job that was running when its worker died. A worker holds no other until it is known what came of
        this: if it brings its worker down again, that is nobody else's doing.
        """
        self._suspect_gone = suspect_gone
        self._held: dict[str, int] = {}
        self._asked: set[int] = set()

    def __len__(self) -> int:
        return len(self._held)

    @property
    def busy(self) -> bool:
        """Whether it holds claims, or has asked for some."""
        return bool(self._held or self._asked)

    @contextmanager
    def claiming(self) -> Iterator[int]:
        """The token of a claim that is about to be sent: until its reply is here, rows with it are nobody's strays."""
        token = new_token()
        self._asked.add(token)
        try:
            yield token
        finally:
            self._asked.discard(token)

    def take(self, claims: Iterable[Claim]) -> None:
        for claim in claims:
            self._held[claim.id] = claim.token

    def drop(self, id: str, token: int) -> None:
        """It has ended, or was lost."""
        if self._held.get(id) == token:
            del self._held[id]
            if id == self.suspect:
                self.suspect = None
                self._suspect_gone()

    def knows(self, id: str, token: int) -> bool:
        """Whether this row is held, or may be in a reply that is under way."""
        return token in self._asked or self._held.get(id) == token

    def fence(self) -> None:
        """The lease may be lost: nothing that was claimed under this id is ours any more."""
        self.fenced = True
        self._held.clear()
