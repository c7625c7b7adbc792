"""The results of a check: one value for each violation, and the description of each rule."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import Any, Final

RULES: Final = {
    "foreign-internals": "a domain imports a module of another that is not public",
    "undeclared-dependency": "a domain depends on one that its list of dependencies does not name",
    "layer-order": "a domain depends on one of its own layer or of a higher one",
    "domain-cycle": "domains depend on each other in a cycle",
    "engine-import": "the code of a domain imports a queue engine, or internals of remit",
    "foreign-enqueue": "a job is enqueued by another domain than its owner",
    "foreign-publish": "an event is published by another domain than its owner",
    "unknown-job": "a job is enqueued by a name that no domain declares",
    "unpublished-event": "an event is never published",
    "unheard-event": "an event has no subscriber, and is not audit_only",
    "event-loop": "an event leads to itself, through the handlers of events",
    "not-a-fact": "the name of an event does not state what happened",
    "missing-scope": "a message lacks keys that the application requires",
    "entity-in-payload": "a payload carries an entity instead of its id",
    "inline-handler": "a handler of an event does the work itself",
    "unloaded-handler": "a handler is registered in a module that no worker imports",
    "missing-handler": "a job has no handler",
    "foreign-registrar": "a handler is registered outside the package of its domain",
    "misplaced-message": "a message is declared outside the package of its domain",
    "vanished-subscription": "deliveries wait in the database for a subscription that is no longer declared",
    "stale-exception": "a declared exception is not used",
}
"""Every rule by its name, in the order of the report."""


@dataclass(frozen=True)
class Violation:
    """One violation of one rule.

    `file` is relative to the current directory if it is below it; `line` counts from 1. `domain` is the one that has to
    change something. `subject` describes the violation by names, without lines, so it stays the same while the code
    around it moves.
    """

    rule: str
    file: str
    line: int
    domain: str
    subject: str
    message: str
    remedy: str

    @cached_property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits of rule and subject; unchanged while the code moves in its file."""
        return blake2b(f"{self.rule}\0{self.subject}".encode(), digest_size=8).hexdigest()

    @property
    def place(self) -> str:
        """`file:line`."""
        return f"{self.file}:{self.line}"

    def document(self) -> dict[str, Any]:
        """The same as JSON."""
        return {
            "rule": self.rule,
            "file": self.file,
            "line": self.line,
            "domain": self.domain,
            "subject": self.subject,
            "message": self.message,
            "remedy": self.remedy,
            "fingerprint": self.fingerprint,
        }

    def text(self) -> str:
        """Two lines for people."""
        return f"{self.place}: {self.rule}: {self.message}\n    {self.remedy}"


_ORDER: Final = {rule: place for place, rule in enumerate(RULES)}


def in_order(violation: Violation) -> tuple[str, int, int, str]:
    """Sort by file and line, then by rule."""
    return violation.file, violation.line, _ORDER.get(violation.rule, len(_ORDER)), violation.subject
