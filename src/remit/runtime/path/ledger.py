"""What this worker holds, and what it has asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from remit.execution.model import Claim
from remit.jobs.ids import new_id, new_token

MOST_HELD = 5_000
"""Claimed jobs and unwritten outcomes of one worker, beyond which it claims no more."""


class Ledger:
    """The worker's own list of its claims, under one incarnation: an id that is never used again.

    `freed` is called when it may take what it could not take before: another suspect, or any job after a refusal of
    `has_room`.
    """

    def __init__(self, freed: Callable[[], None] = lambda: None) -> None:
        self.worker = new_id()
        self.fenced = False
        self.suspect: str | None = None
        """The one job that was running when its worker died. A worker holds no other until it is known what came of
        this: if it brings its worker down again, that is nobody else's doing.
        """
        self._freed = freed
        self._has_refused = False
        self._held: dict[str, int] = {}
        self._asked: set[int] = set()

    def __len__(self) -> int:
        return len(self._held)

    @property
    def busy(self) -> bool:
        """Whether it holds claims, or has asked for some."""
        return bool(self._held or self._asked)

    def has_room(self) -> bool:
        """Whether it may take more claims. After a refusal `freed` is called as soon as it may; once it is fenced, it
        never may.
        """
        room = not self.fenced and len(self._held) < MOST_HELD
        self._has_refused = not room
        return room

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
            if claim.suspect:
                self.suspect = claim.id

    def drop(self, id: str, token: int) -> None:
        """It has ended, or was lost."""
        if self._held.get(id) == token:
            del self._held[id]
            if id == self.suspect:
                self.suspect = None
                self._freed()
            elif self._has_refused and self.has_room():
                self._freed()

    def knows(self, id: str, token: int) -> bool:
        """Whether this row is held, or may be in a reply that is under way."""
        return token in self._asked or self._held.get(id) == token

    def fence(self) -> None:
        """The lease may be lost: nothing that was claimed under this id is ours any more."""
        self.fenced = True
        self._held.clear()


class Claims:
    """What a worker holds. A lost lease ends an incarnation with its ledger, and the next one has another."""

    def __init__(self, freed: Callable[[], None] = lambda: None) -> None:
        self._freed = freed
        self.ledger = self.next_ledger()
        """That of the present incarnation."""

    def next_ledger(self) -> Ledger:
        """A ledger for the next incarnation, empty and under a new id; it becomes `ledger` when it is registered."""
        return Ledger(self._freed)
