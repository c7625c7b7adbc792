"""Where a PostgreSQL database is: a URL as libpq reads it, and as people may see it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

import psycopg
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict

from remit.errors import ConfigurationError, nearest

_DRIVER = re.compile(r"^postgres(ql)?(\+\w+)?://")
_QUOTED = re.compile(r'".*"', re.DOTALL)
_UNKNOWN = re.compile(r'invalid URI query parameter: "(\w+)"')


@dataclass(frozen=True, slots=True)
class Address:
    """A URL, and the parameters that libpq reads in it. Neither the environment nor a service file is read here."""

    url: str
    parameters: dict[str, str]

    @classmethod
    def parse(cls, url: str) -> Self:
        """Read a URL. Raises `ConfigurationError`, whose text repeats no password."""
        url = _DRIVER.sub("postgresql://", url)
        _refuse_stray_at(url)
        try:
            parameters = {key: str(value) for key, value in conninfo_to_dict(url).items() if value is not None}
        except psycopg.ProgrammingError as error:
            raise ConfigurationError(f"this is not a PostgreSQL URL: {_without_secrets(str(error))}") from None
        _refuse_ports(parameters)
        return cls(url, parameters)

    def __str__(self) -> str:
        """Hosts or sockets and the database, without user or password: `db1:5432,db2:5433/shop`."""
        known = {**_defaults(), **self.parameters}
        database = known.get("dbname") or known.get("user", "?")
        if "service" in known and not known.keys() & {"host", "hostaddr"}:
            return f"service {known['service']}" + (f", database {known['dbname']}" if "dbname" in known else "")
        hosts = (known.get("host") or known.get("hostaddr") or "").split(",")
        ports = known.get("port", "").split(",")
        ports = ports * len(hosts) if len(ports) == 1 else ports
        if all(host and host[0] not in "/@" for host in hosts):
            return ",".join(map(_server, hosts, ports)) + f"/{database}"
        return ", ".join(map(_server, hosts, ports)) + f", database {database}"

    def __repr__(self) -> str:
        return f"<Address {self}>"  # a dataclass would show the password


def _server(host: str, port: str) -> str:
    port = port or "5432"
    if not host:
        return f"local socket, port {port}"
    if host[0] in "/@":
        return f"{host}/.s.PGSQL.{port}"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _defaults() -> dict[str, str]:
    """What libpq takes where the URL says nothing: from the environment, and from the service that it names."""
    return {each.keyword.decode(): each.val.decode() for each in pq.Conninfo.get_defaults() if each.val}


def _refuse_stray_at(url: str) -> None:
    """libpq ends a password at the first @ or /, and would take what is left of it for a host or a database."""
    authority, _, path = url.removeprefix("postgresql://").partition("?")[0].partition("/")
    if authority.count("@") > 1 or "@" in path:
        raise ConfigurationError(
            "this is not a PostgreSQL URL: it has a @ where a host or a database belongs. "
            "In a user name or a password, write @ as %40, / as %2F and % as %25"
        )


def _refuse_ports(parameters: dict[str, str]) -> None:
    ports = parameters.get("port", "").split(",")
    hosts = (parameters.get("host") or parameters.get("hostaddr") or "").split(",")
    if any(port and not (port.isdecimal() and 0 < int(port) < 65536) for port in ports) or (
        len(ports) not in {1, len(hosts)}
    ):
        raise ConfigurationError(
            "the port in a PostgreSQL URL is a number from 1 to 65535, one for all hosts or one for each. "
            "In a user name or a password, write : as %3A, @ as %40 and / as %2F"
        )


def _without_secrets(message: str) -> str:
    """What libpq said, without the piece of the URL that it quotes: that may be a password, or hold one."""
    if unknown := _UNKNOWN.match(message):
        options = [each.keyword.decode() for each in pq.Conninfo.get_defaults()]
        return f"libpq has no option {unknown[1]!r}.{nearest(unknown[1], options)}"
    return _QUOTED.sub("…", message).strip()
