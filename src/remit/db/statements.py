"""The text of named statements: `sql/<dialect>.sql` in the package of each feature.

A file holds the statements of one feature in one dialect, each under a `-- name: …` line. Parameters are written
`:name`, in every dialect; they are rendered once into the style of the driver that runs them. Two words are replaced
when a PostgreSQL file is loaded: the schema `remit.` and nothing else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

import msgspec

Dialect = Literal["postgres", "sqlite"]
Style = Literal["named", "numbered", "pyformat", "format", "qmark"]
"""How a driver spells parameters: `:a`, `$1`, `%(a)s`, `%s`, `?`."""

_encode = msgspec.json.Encoder().encode
_HEADER = re.compile(r"^-- name: ([a-z_]+)\n", re.MULTILINE)
_TOKEN = re.compile(r"'[^']*'|--[^\n]*|(?<![:\w]):([a-z_]+)")
"""A parameter; or a literal or a comment, in which nothing is one."""
_COMMENT = re.compile(r"^\s*--.*\n", re.MULTILINE)
_WRITE = re.compile(r"\b(INSERT|UPDATE|DELETE)\b")
_SCHEMA = re.compile(r"(?<!')\bremit\.")  # in a literal it is a name: remit.job-died


def document(value: object) -> str:
    """A batch as one parameter: JSON text, the same for every driver, whatever its size."""
    return _encode(value).decode()


@dataclass(frozen=True, slots=True)
class Query:
    """A statement by name; its text stands in the `sql` folder of a feature, once per dialect."""

    package: str
    name: str


@dataclass(frozen=True, slots=True)
class Rendered:
    """A statement as one driver takes it.

    `parts` holds one text for PostgreSQL; a SQLite statement may be a short script, run in one transaction with the
    same parameters, whose first part that returns rows gives the result. `names` are the parameters in the order in
    which a positional style expects them. `writes` says whether it may take a write lock.
    """

    parts: tuple[str, ...]
    names: tuple[tuple[str, ...], ...]
    writes: bool

    @property
    def text(self) -> str:
        return self.parts[0]


def parse(text: str) -> dict[str, str]:
    """Split a file at its `-- name:` headers."""
    _, *pieces = _HEADER.split(text)
    names = pieces[::2]
    if len(names) != len(set(names)):
        raise ValueError(f"a statement is named twice: {sorted(n for n in names if names.count(n) > 1)}")
    return {name: _COMMENT.sub("", sql).strip() for name, sql in zip(names, pieces[1::2], strict=True)}


def parameters(sql: str) -> frozenset[str]:
    """Name the parameters that a statement takes."""
    return frozenset(filter(None, _TOKEN.findall(sql)))


@cache
def read(package: str, path: str) -> str:
    """Read a file beside a feature's code."""
    return files(package).joinpath(path).read_text("utf-8")


@cache
def statements(package: str, dialect: Dialect) -> dict[str, str]:
    """Every statement of a feature in one dialect, by name."""
    return parse(read(package, f"sql/{dialect}.sql"))


def in_schema(sql: str, schema: str) -> str:
    """The same PostgreSQL text for a schema of another name."""
    return sql if schema == "remit" else _SCHEMA.sub(f'"{schema}".', sql)


@cache
def render(query: Query, dialect: Dialect, style: Style, schema: str = "remit") -> Rendered:
    """Spell a statement for a driver; done once for each combination."""
    sql = statements(query.package, dialect)[query.name]
    if dialect == "postgres":
        sql = in_schema(sql, schema)
    texts = [text.strip() for text in sql.split(";\n")]
    spelled = [_spell(text.rstrip(";"), style) for text in texts if text]
    writes = any(_WRITE.search(text) for text, _ in spelled)
    return Rendered(tuple(text for text, _ in spelled), tuple(names for _, names in spelled), writes)


def _spell(sql: str, style: Style) -> tuple[str, tuple[str, ...]]:
    names: list[str] = []

    def one(match: re.Match[str]) -> str:
        name: str | None = match[1]
        if name is None:
            return match[0]
        if style == "numbered":
            if name not in names:
                names.append(name)
            return f"${names.index(name) + 1}"
        names.append(name)
        return {"named": f":{name}", "pyformat": f"%({name})s", "format": "%s", "qmark": "?"}[style]

    if style in ("pyformat", "format"):
        sql = sql.replace("%", "%%")
    return _TOKEN.sub(one, sql), tuple(names)
