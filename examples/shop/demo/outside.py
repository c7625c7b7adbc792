"""What came out, seen from outside: mailbox, documents, the books of warehouse and app, reports. No database here."""

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
    """What the warehouse, or the push service, answered to one call."""

    ACCEPTED = "accepted"
    LATE = "late"
    """Accepted, but the answer came too late for the shop to hear it."""
    KNOWN = "known"
    """The key had been accepted before: nothing is done twice."""
    FAILED = "failed"
    BUSY = "busy"
    REFUSED = "refused"
    """It will not be accepted until a person has done something about it."""


TAKEN = frozenset({Answer.ACCEPTED, Answer.LATE})
TRIED_AGAIN = frozenset({Answer.LATE, Answer.FAILED, Answer.BUSY})
"""After these the shop calls again."""


class Letter(StrEnum):
    """What a letter is about."""

    INVOICE = "Your order"
    QUESTION = "How was"
    OFFICE = "No parcel"


@dataclass(frozen=True, slots=True)
class Mail:
    message_id: str
    letter: Letter | None
    to: str
    order: str
    text: str


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the warehouse or the push service. `said` is what the caller wanted, beside the order."""

    key: str
    order: str
    answer: Answer
    said: dict[str, Any]


class Outside:
    """The folders in which the outside world keeps its things."""

    def __init__(self, folder: Path) -> None:
        self.mailbox = folder / "mailbox"
        self.documents = folder / "documents"
        self.reports = folder / "reports"
        self.parcels = folder / "parcels.jsonl"
        self.pushes = folder / "pushes.jsonl"
        self.addresses_mended = folder / "addresses-mended"
        self._mails: Counter[Letter] = Counter()
        self._opened: set[str] = set()
        self._answers: dict[Path, Counter[Answer]] = {}
        self._read_to: Counter[Path] = Counter()

    def count_mails(self) -> Counter[Letter]:
        """The letters so far, by kind; opens each once."""
        for path in _files(self.mailbox / "new"):
            if path.name not in self._opened:
                self._opened.add(path.name)
                with path.open(encoding="utf-8", errors="replace") as file:
                    subject = next((line[9:] for line in file if line.startswith("Subject: ")), "")
                if (letter := _letter(subject)) is not None:
                    self._mails[letter] += 1
        return self._mails

    def count_documents(self) -> int:
        return sum(path.suffix == ".html" for path in _files(self.documents))

    def count_reports(self) -> int:
        return sum(path.suffix == ".json" for path in _files(self.reports))

    def count_answers(self, book: Path) -> Counter[Answer]:
        """The answers in a book so far, by kind; reads on from where it was."""
        answers = self._answers.setdefault(book, Counter())
        if book.exists():
            with book.open("rb") as lines:
                lines.seek(self._read_to[book])
                for line in lines:
                    if not line.endswith(b"\n"):
                        break
                    answers[Answer(json.loads(line)["answer"])] += 1
                    self._read_to[book] += len(line)
        return answers

    def mails(self) -> Iterator[Mail]:
        for path in sorted(_files(self.mailbox / "new")):
            message = email.message_from_bytes(path.read_bytes())
            subject = message["Subject"] or ""
            order = re.search(r"\d{4}-\d{6}", subject)
            texts = [part for part in message.walk() if part.get_content_type() == "text/plain"]
            text = "".join(bytes(part.get_payload(decode=True)).decode() for part in texts)
            yield Mail(
                message["Message-ID"] or "", _letter(subject), message["To"] or "", order.group() if order else "", text
            )

    def invoice_texts(self) -> dict[str, str]:
        return {path.stem: path.read_text(encoding="utf-8") for path in self.documents.glob("*.html")}

    def report_contents(self) -> dict[str, dict[str, Any]]:
        return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in self.reports.glob("*.json")}

    def calls(self, book: Path) -> list[Call]:
        """The lines of a book."""
        lines = book.read_text(encoding="utf-8").splitlines() if book.exists() else []
        return [
            Call(row.pop("key"), row.pop("order"), Answer(row.pop("answer")), row) for row in map(json.loads, lines)
        ]


def _letter(subject: str) -> Letter | None:
    return next((letter for letter in Letter if subject.startswith(letter)), None)


def _files(folder: Path) -> list[Path]:
    try:
        return [folder / name for name in os.listdir(folder) if not name.startswith(".")]  # noqa: PTH208 - several times a second
    except FileNotFoundError:
        return []
