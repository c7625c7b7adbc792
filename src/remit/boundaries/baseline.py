"""A baseline: the present violations of an old code base. It can only shrink."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from remit.boundaries.violations import Violation
from remit.errors import ConfigurationError

DEFAULT_FILE: Final = "remit-baseline.json"
_VERSION: Final = 1


@dataclass(frozen=True, slots=True, order=True)
class Known:
    """One violation in the baseline: without file and line, so that it stays known while the code moves."""

    rule: str
    subject: str
    domain: str

    def document(self, count: int) -> dict[str, Any]:
        """The same as JSON, with its number."""
        return {"rule": self.rule, "subject": self.subject, "domain": self.domain, "count": count}


@dataclass(frozen=True)
class Comparison:
    """New violations, known ones, and those in the baseline that were fixed."""

    new: tuple[Violation, ...]
    known: tuple[Violation, ...]
    fixed: tuple[Known, ...]

    @property
    def clean(self) -> bool:
        """Whether nothing is new, and nothing has to be removed from the baseline."""
        return not self.new and not self.fixed


class Baseline:
    """The number of known violations of each kind."""

    def __init__(self, counts: Counter[Known]) -> None:
        self._counts = counts

    @classmethod
    def of(cls, violations: Iterable[Violation]) -> Baseline:
        """The baseline with exactly these."""
        return cls(Counter(_known(each) for each in violations))

    @classmethod
    def read(cls, file: Path) -> Baseline:
        """Read a file that `write` has written. Raises `ConfigurationError`."""
        try:
            document: Any = json.loads(file.read_text("utf-8"))
            if document["version"] != _VERSION:
                raise ConfigurationError(f"the baseline {file} is of version {document['version']!r}; write it again")
            return cls(Counter({_entry(each): int(each["count"]) for each in document["violations"]}))
        except FileNotFoundError:
            raise ConfigurationError(f"there is no baseline {file}: write one with --baseline write") from None
        except OSError as error:
            raise ConfigurationError(f"the baseline {file} cannot be read: {error.strerror}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigurationError(f"{file} is not a baseline: {error!r}; write it again") from error

    def write(self, file: Path) -> None:
        """Write a sorted file, one entry per line, so that versions of it compare well."""
        entries = [
            json.dumps(known.document(count), ensure_ascii=False) for known, count in sorted(self._counts.items())
        ]
        body = ",\n".join(f"    {entry}" for entry in entries)
        text = f'{{\n  "version": {_VERSION},\n  "violations": [\n{body}\n  ]\n}}\n' if entries else _EMPTY
        file.write_text(text, "utf-8")

    def narrowed(self, rules: Iterable[str], domains: Iterable[str]) -> Baseline:
        """The part with these rules and domains; everything if none is named."""
        wanted, owners = set(rules), set(domains)
        return Baseline(
            Counter(
                {
                    known: count
                    for known, count in self._counts.items()
                    if (not wanted or known.rule in wanted) and (not owners or known.domain in owners)
                }
            )
        )

    def compare(self, violations: Iterable[Violation]) -> Comparison:
        """Separate new from known violations. Of several of one kind, the last in the order of the report are new."""
        left = Counter(self._counts)
        new: list[Violation] = []
        known: list[Violation] = []
        for each in violations:
            if left[_known(each)] > 0:
                left[_known(each)] -= 1
                known.append(each)
            else:
                new.append(each)
        return Comparison(tuple(new), tuple(known), tuple(sorted((+left).elements())))

    def __len__(self) -> int:
        return self._counts.total()


_EMPTY: Final = f'{{\n  "version": {_VERSION},\n  "violations": []\n}}\n'


def _known(violation: Violation) -> Known:
    return Known(violation.rule, violation.subject, violation.domain)


def _entry(document: object) -> Known:
    entry = cast("dict[str, Any]", document)
    return Known(str(entry["rule"]), str(entry["subject"]), str(entry["domain"]))
