"""What a worker and its child processes say to each other: frames of msgpack on a socket.

The worker sends `Setup` once, then a `Call` for each job, `Cancel` when somebody asks the job to stop, and `Leave` when
the child may go. For each call the child sends `Started` when all is imported and the handler begins, `Log` and
`Refused` as they happen, and `Ended`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Generic, Self, TypeAlias, TypeVar

import msgspec

from remit.catalog import Catalog, Defaults, LogRetention, Retry
from remit.catalog.quantities import in_seconds_or_forever
from remit.jobs.states import Outcome
from remit.runtime.handlers.outcomes import Raised

_HEADER = struct.Struct(">4sQ")
_MARK = b"rmt\x01"
"""Begins each frame, so that bytes which are no frame are noticed at once."""
CHANNEL_CLOSED = 217
"""Exit status of a child whose handler closed the socket to the worker."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ChildConfig:
    """What a child needs to know of the application beside its code: its store, and the defaults for what is sent.

    `keep` is for events; it and `expires` are in seconds. `hooks` are the paths of what is done around each run.
    """

    url: str
    schema: str
    pooler: bool
    scope: tuple[str, ...]
    keep: float
    attempts: int | None
    priority: int | None
    expires: float | None
    max_payload: int | None
    max_hops: int | None
    hooks: tuple[str, ...] = ()

    @classmethod
    def of(cls, catalog: Catalog, url: str, *, schema: str, pooler: bool, max_hops: int | None) -> Self:
        defaults = catalog.defaults
        attempts = None if defaults.retry is None else defaults.retry.attempts
        expires = None if defaults.expires is None else in_seconds_or_forever("expires", defaults.expires)
        return cls(
            url,
            schema,
            pooler,
            catalog.scope_keys,
            catalog.log.keep,
            attempts,
            defaults.priority,
            expires,
            defaults.max_payload,
            max_hops,
        )

    def catalog(self) -> Catalog:
        """The application's catalog without its domains, for what the child sends; the worker sees to the rest."""
        defaults = Defaults(
            retry=Retry(attempts=self.attempts),
            priority=self.priority,
            expires=self.expires,
            max_payload=self.max_payload,
        )
        return Catalog([], defaults, self.scope, log=LogRetention(keep=self.keep, archive=False, archived_for=None))


# --- from the worker


class Setup(msgspec.Struct, frozen=True, tag=True):
    """The first frame: who the worker is, and where it finds modules.

    `python_path` is the variable `PYTHONPATH` as the worker has it: what a handler starts must not get another one.
    """

    config: ChildConfig
    worker: int
    path: list[str]
    python_path: str | None


class Call(msgspec.Struct, frozen=True, tag=True):
    """One job. `cancelled`: somebody has asked it to stop already."""

    path: str
    domain: str
    job: str
    id: str
    token: int
    worker: str
    name: str
    payload: str
    failures: int
    attempts: int
    correlation: str
    traceparent: str | None
    envelope: str | None
    cancelled: bool
    hops: int


class Cancel(msgspec.Struct, frozen=True, tag=True):
    """Somebody asked the job of the call with this token to stop."""

    token: int


class Leave(msgspec.Struct, frozen=True, tag=True):
    """No more calls: close the contexts of the domains, and end."""


FromWorker: TypeAlias = Setup | Call | Cancel | Leave


# --- from the child


class Started(msgspec.Struct, frozen=True, tag=True):
    """Everything is imported and open: the handler begins, and its time with it."""


class Log(msgspec.Struct, frozen=True, tag=True):
    """A line that a handler logged; of which job, since a thread of an earlier one may still log."""

    job: str
    attempt: int
    level: int
    created: float
    message: str


class Refused(msgspec.Struct, frozen=True, tag=True):
    """A message that the domain tried to send and may not."""

    domain: str
    message: str
    kind: str


class Ended(msgspec.Struct, frozen=True, tag=True):
    """How the call ended. `completion` and `stamp` are those of the run; what was sent counts only if it completed."""

    outcome: Outcome | Raised
    completion: str
    stamp: int
    messages: list[dict[str, Any]]
    events: list[dict[str, Any]]


FromChild: TypeAlias = Started | Log | Refused | Ended


# --- on the wire


class Garbled(Exception):
    """The bytes that came are no frame."""


def encode(frame: FromWorker | FromChild) -> bytes:
    """A frame as it travels."""
    body = msgspec.msgpack.encode(frame)
    return _HEADER.pack(_MARK, len(body)) + body


class Frames(Generic[T]):
    """Cuts a stream into frames of one direction."""

    def __init__(self, kind: Any) -> None:
        self._decoder: msgspec.msgpack.Decoder[T] = msgspec.msgpack.Decoder(kind)
        self._buffer = bytearray()
        self._wanted = _HEADER.size

    def feed(self, chunk: bytes) -> Iterator[T]:
        """Take in what came, and give the frames that are whole now. Raises `Garbled`."""
        self._buffer += chunk
        while len(self._buffer) >= self._wanted:
            mark, length = _HEADER.unpack_from(self._buffer)
            if mark != _MARK:
                raise Garbled(f"a frame begins with {_MARK!r}, and this with {bytes(mark)!r}")
            self._wanted = end = _HEADER.size + length
            if len(self._buffer) < end:
                return
            try:
                frame = self._decoder.decode(memoryview(self._buffer)[_HEADER.size : end].tobytes())
            except msgspec.MsgspecError as error:
                raise Garbled(str(error)) from error
            del self._buffer[:end]
            self._wanted = _HEADER.size
            yield frame
