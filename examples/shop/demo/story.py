"""What there is to tell about a demo: written by those who act, read by the display."""

import time
from collections import Counter
from dataclasses import dataclass, field

from remit.client import QueueRecord
from shop.demo.customers import Customers
from shop.demo.team import Child


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that happened, `at` so many seconds after the start."""

    at: float
    text: str
    style: str


@dataclass(slots=True)
class Relayed:
    """How events get out: `pending` of those that were published wait for the relay, the oldest for `lag` seconds."""

    published: int = 0
    pending: int = 0
    lag: float = 0.0
    slowest: float = 0.0
    """The longest lag that was seen."""


@dataclass(slots=True)
class Heard:
    """The deliveries of one subscription."""

    done: int = 0
    under_way: int = 0
    retrying: int = 0
    dead: int = 0


@dataclass(slots=True)
class Story:
    store: str
    customers: Customers
    phase: str = ""
    happenings: list[Happening] = field(default_factory=list)
    relayed: Relayed = field(default_factory=Relayed)
    heard: dict[str, Heard] = field(default_factory=dict)
    """By the name of the subscription."""
    outside: Counter[str] = field(default_factory=Counter)
    """What was counted outside when somebody last looked, by what it is called."""
    queues: list[QueueRecord] = field(default_factory=list)
    running: dict[int, int] = field(default_factory=dict)
    """Jobs and deliveries that run now, by the pid of the worker."""
    workers: list[Child] = field(default_factory=list)
    begun: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.begun

    def tell(self, text: str, style: str = "") -> None:
        self.happenings.append(Happening(self.seconds, text, style))
