"""What there is to tell about a demo: written by those who act, read by the display."""

import time
from collections import Counter
from dataclasses import dataclass, field

from remit.client import QueueRecord
from shop.demo.customers import Customers
from shop.demo.outside import Answer
from shop.demo.team import Child


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, `at` so many seconds after the start."""

    at: float
    text: str
    style: str


@dataclass(slots=True)
class Seen:
    """What was counted outside when somebody last looked."""

    payments: int = 0
    invoices: int = 0
    mails: int = 0
    reports: int = 0
    answers: Counter[Answer] = field(default_factory=Counter)


@dataclass(slots=True)
class Story:
    store: str
    customers: Customers
    phase: str = ""
    events: list[Event] = field(default_factory=list)
    queues: dict[str, QueueRecord] = field(default_factory=dict)
    running: dict[int, int] = field(default_factory=dict)
    """Jobs that run now, by the pid of the worker."""
    workers: list[Child] = field(default_factory=list)
    seen: Seen = field(default_factory=Seen)
    rescued: int = 0
    begun: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.begun

    def tell(self, text: str, style: str = "") -> None:
        self.events.append(Event(self.seconds, text, style))
