"""Names: their derivation, their syntax, and the line of a queue, a name and a version."""

from __future__ import annotations

import re
from functools import cache
from hashlib import blake2b
from typing import Final

from remit.errors import CatalogError

_WORD_STARTS: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_SEGMENT: Final = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_LONGEST: Final = 120


def kebab(class_name: str) -> str:
    """Return the name of a class in lower-kebab-case: `SyncInvoice` → `sync-invoice`, `HTTPCall` → `http-call`."""
    words = (word for part in class_name.split("_") for word in _WORD_STARTS.split(part))
    return "-".join(filter(None, words)).lower()


def check_segment(what: str, name: str) -> str:
    """Check and return one part of a name: lower-kebab-case in ASCII. Raises `CatalogError`, naming `what`."""
    check_text(what, name)
    if len(name) > _LONGEST or not _SEGMENT.fullmatch(name):
        example = _suggestion(name)
        raise CatalogError(f"{what} {name!r} is not lower-kebab-case in ASCII, as {example!r} is; pass another name=.")
    return name


def check_full(what: str, name: str) -> str:
    """Check and return a full name, `domain.lower-kebab-case`, of two parts or more. Raises `CatalogError`."""
    check_text(what, name)
    parts = name.split(".")
    if len(parts) == 1:
        raise CatalogError(f"{what} {name!r} is not a full name; write it with its domain, as in 'billing.{name}'.")
    if len(name) > _LONGEST or not all(_SEGMENT.fullmatch(part) for part in parts):
        raise CatalogError(f"{what} {name!r} is not of the form domain.lower-kebab-case, as 'billing.sync-invoice' is.")
    return name


def check_text(what: str, name: object) -> None:
    """Refuse a name that is not text. Raises `CatalogError`, naming `what`."""
    if not isinstance(name, str):
        raise CatalogError(f"{what} {name!r} is not text; write a name, in quotes.")


def path_of(declared: type) -> str:
    """Return the place of a class: `module:Class`, by which another process imports it, too."""
    return f"{declared.__module__}:{declared.__qualname__}"


@cache
def line(queue: str, name: str, version: int) -> int:
    """Return the number of a line: the jobs of one queue, name and version, which are held back together or not at all.

    It is a signed 64-bit integer: the first 8 bytes, big-endian, of BLAKE2b (digest size 8) over the three, in UTF-8
    and in decimals, joined by NUL. It is stored with every job, so it never changes.
    """
    key = f"{queue}\0{name}\0{version}".encode()
    return int.from_bytes(blake2b(key, digest_size=8).digest(), "big", signed=True)


_VERSIONS: Final = 0x7FFF


def delivery_line(queue: str, name: str) -> int:
    """Return the number of the lines of a subscription's deliveries, for all versions of the event.

    The lowest 15 bits are free: the number of the line of one version is this number with the version in them, so that
    a statement can compute it from the number that is stored with the subscription.
    """
    return line(queue, name, 0) & ~_VERSIONS


def lane(field: str, value: str) -> int:
    """Return the number of the lane of a key, from the JSON text of its value: a signed 64-bit integer, as `line`."""
    key = f"{field}\0{value}".encode()
    return int.from_bytes(blake2b(key, digest_size=8, person=b"remit-lane").digest(), "big", signed=True)


def _suggestion(name: str) -> str:
    likely = re.sub(r"[^a-z0-9]+", "-", kebab(name)).strip("-")
    return likely if _SEGMENT.fullmatch(likely) else "sync-invoice"
