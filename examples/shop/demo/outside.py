"""What came out, seen from outside: the mailbox, the invoices, the warehouse's book, the reports. No database here."""

import email
import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any


class Answer(StrEnum):
    """What the warehouse answered to one delivery."""

    ACCEPTED = "accepted"
    LATE = "late"
    """Accepted, but the answer came too late for the shop to hear it."""
    KNOWN = "known"
    """The key had been accepted before: nothing is packed twice."""
    FAILED = "failed"
    BUSY = "busy"


PACKED = frozenset({Answer.ACCEPTED, Answer.LATE})
TRIED_AGAIN = frozenset({Answer.LATE, Answer.FAILED, Answer.BUSY})
"""After these the shop sends the webhook again."""


@dataclass(frozen=True, slots=True)
class Mail:
    message_id: str
    to: str
    order: str
    text: str


@dataclass(frozen=True, slots=True)
class Delivery:
    """One call of the warehouse's webhook."""

    key: str
    order: str
    answer: Answer
    pieces: int


class Outside:
    """The folders in which the outside world keeps its things."""

    def __init__(self, folder: Path) -> None:
        self.mailbox = folder / "mailbox"
        self.invoices = folder / "invoices"
        self.reports = folder / "reports"
        self.parcels = folder / "parcels.jsonl"
        self._answers: Counter[Answer] = Counter()
        self._read_to = 0

    def count_mails(self) -> int:
        return _count(self.mailbox / "new")

    def count_invoices(self) -> int:
        return _count(self.invoices, ".html")

    def count_reports(self) -> int:
        return _count(self.reports, ".json")

    def count_answers(self) -> Counter[Answer]:
        """The warehouse's answers so far, by kind; reads on from where it was."""
        if self.parcels.exists():
            with self.parcels.open("rb") as book:
                book.seek(self._read_to)
                for line in book:
                    if not line.endswith(b"\n"):
                        break
                    self._answers[Answer(json.loads(line)["answer"])] += 1
                    self._read_to += len(line)
        return self._answers

    def mails(self) -> Iterator[Mail]:
        for path in sorted((self.mailbox / "new").iterdir()):
            message = email.message_from_bytes(path.read_bytes())
            order = re.search(r"\d{4}-\d{6}", message["Subject"] or "")
            texts = [part for part in message.walk() if part.get_content_type() == "text/plain"]
            text = "".join(bytes(part.get_payload(decode=True)).decode() for part in texts)
            yield Mail(message["Message-ID"] or "", message["To"] or "", order.group() if order else "", text)

    def invoice_texts(self) -> dict[str, str]:
        return {path.stem: path.read_text(encoding="utf-8") for path in self.invoices.glob("*.html")}

    def report_contents(self) -> dict[str, dict[str, Any]]:
        return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in self.reports.glob("*.json")}

    def deliveries(self) -> list[Delivery]:
        lines = self.parcels.read_text(encoding="utf-8").splitlines() if self.parcels.exists() else []
        return [
            Delivery(row["key"], row["order"], Answer(row["answer"]), row["pieces"]) for row in map(json.loads, lines)
        ]


def _count(folder: Path, ending: str = "") -> int:
    try:
        return sum(name.endswith(ending) for name in os.listdir(folder))  # noqa: PTH208 - several times a second
    except FileNotFoundError:
        return 0
