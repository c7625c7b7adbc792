"""How a session of remit's own begins: with its settings in the startup packet, which costs no round trip.

A setting in that packet stands above those of the server, the database and the role, and it is what `RESET` returns to.
Where the packet is refused, as some poolers do, the settings follow in one statement.
"""

from __future__ import annotations

import os
import re
from typing import Any, Final

import psycopg
from psycopg.conninfo import make_conninfo

from remit.db.postgres.address import Address
from remit.db.postgres.sessions import AwaitingSession, BlockingSession
from remit.db.postgres.settings import ENCODING, SINCE, as_options, as_statement, settings_of
from remit.db.transaction import Role

_PLAIN: Final[dict[str, Any]] = {"autocommit": True, "prepare_threshold": None}
_PATIENCE: Final = {"connect_timeout": 10, "keepalives_idle": 30, "keepalives_interval": 5, "keepalives_count": 3,
                    "tcp_user_timeout": 20_000}  # fmt: skip
_REFUSED = re.compile("startup parameter|options?\\b|unrecognized configuration parameter")


class Connecting:
    """Opens the sessions of one store."""

    def __init__(self, address: Address, schema: str, *, pooler: bool) -> None:
        self._address = address
        self._schema = schema
        self._pooler = pooler
        self._unknown: set[str] = set()
        # Options of a service file, which libpq alone reads, would be lost: it takes options from one place.
        self._afterwards = "service" in address.parameters or "PGSERVICE" in os.environ

    async def awaiting(self, role: Role) -> AwaitingSession:
        """Open a session for asyncio."""
        while True:
            try:
                session = await AwaitingSession.connect(self.conninfo(role), **_PLAIN)
            except psycopg.OperationalError as error:
                if not self._has_learned(error):
                    raise
                continue
            try:
                if settings := self._left_to_set(role, session):
                    await session.execute(settings.encode())
            except BaseException:
                await session.close()
                raise
            session.prepares = not self._pooler
            return session

    def blocking(self, role: Role) -> BlockingSession:
        """Open a session for blocking code."""
        while True:
            try:
                session = BlockingSession.connect(self.conninfo(role), **_PLAIN)
            except psycopg.OperationalError as error:
                if not self._has_learned(error):
                    raise
                continue
            try:
                if settings := self._left_to_set(role, session):
                    session.execute(settings.encode())
            except BaseException:
                session.close()
                raise
            session.prepares = not self._pooler
            return session

    def conninfo(self, role: Role) -> str:
        """What libpq is given for a session of that role."""
        known = self._address.parameters
        name = f"{self._schema}:{role}"
        extra: dict[str, Any] = {key: value for key, value in _PATIENCE.items() if key not in known}
        extra["application_name"] = f"{known['application_name']}/{name}" if "application_name" in known else name
        extra["client_encoding"] = ENCODING
        settings = self._settings(role)
        if settings and not self._afterwards:
            own = known.get("options", os.environ.get("PGOPTIONS", ""))  # the last of two that set the same holds
            packed = {key: value for key, value in settings.items() if key not in self._unknown}
            extra["options"] = f"{own} {as_options(packed)}".strip()
        return make_conninfo(self._address.url, **extra)

    def _settings(self, role: Role) -> dict[str, str]:
        """A setting behind a transaction pooler would be another client's by the next transaction."""
        return {} if self._pooler else settings_of(role)

    def _left_to_set(self, role: Role, session: AwaitingSession | BlockingSession) -> str:
        """What the startup packet has not set, as one statement; empty where that is nothing."""
        settings = dict(self._settings(role)) if self._afterwards else {}
        if session.pgconn.parameter_status(b"client_encoding") != ENCODING.encode():
            settings["client_encoding"] = ENCODING
        return as_statement(settings, session.info.server_version)

    def _has_learned(self, error: psycopg.OperationalError) -> bool:
        """Whether the server refused settings in the startup packet, which go out in another way from now on."""
        if self._afterwards or self._pooler:
            return False
        message = str(error)
        unknown = {name for name in SINCE if f'"{name}"' in message} - self._unknown
        if unknown:  # the message may be in any language; it quotes the name
            self._unknown |= unknown
        elif _REFUSED.search(message):
            self._afterwards = True
        else:
            return False
        return True
