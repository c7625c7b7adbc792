"""Where the demo's data lie: in a file of its own, or in two schemas of its own in somebody's database."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from shop.demo.guard import Guard, drop_schemas
from shop.demo.refusal import Refusal


@dataclass(frozen=True, slots=True)
class Place:
    """A database that is the demo's alone."""

    url: str
    description: str
    job_schema: str = "remit"


@asynccontextmanager
async def find_place(url: str | None, store: str | None, folder: Path, guard: Guard) -> AsyncIterator[Place]:
    """Make a place, as `DATABASE_URL` and `STORE` ask for, and clear it away in the end. Raises `Refusal`."""
    if url and store:
        raise Refusal("DATABASE_URL names a database and STORE asks for a new one: give one of them")
    if store == "postgres":
        async with _started_postgres() as fresh, _own_schemas(_parse(fresh), guard, brief=True) as place:
            yield place
    elif store not in (None, "", "sqlite"):
        raise Refusal(f"STORE={store}: there is sqlite, and postgres, which starts one")
    elif not url:
        # A power loss may take the last commits; it would take the folder too.
        yield Place(f"sqlite:///{folder / 'shop.db'}?synchronous=normal", "SQLite, in a temporary folder")
    elif _parse(url).get_backend_name() == "sqlite":
        yield _new_file(_parse(url))
    else:
        async with _own_schemas(_parse(url), guard) as place:
            yield place


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise Refusal("DATABASE_URL is no URL: write sqlite:///file.db or postgresql://user@host/database") from None
    if parsed.get_backend_name() not in ("sqlite", "postgresql", "postgres"):
        raise Refusal(f"DATABASE_URL: remit knows sqlite:///… and postgresql://…, not {parsed.drivername}://")
    return parsed


def _new_file(url: URL) -> Place:
    if not url.database or url.database == ":memory:":
        raise Refusal("DATABASE_URL: several processes share the file, so it needs a name: sqlite:///file.db")
    path = Path(url.database).absolute()
    if path.exists():
        raise Refusal(f"{path} is there already, and the demo touches nobody's data: name a new file")
    if not path.parent.is_dir():
        raise Refusal(f"{path.parent} is not there: make the folder first")
    return Place(f"sqlite:///{path}", f"SQLite, {path}, which stays")


@asynccontextmanager
async def _started_postgres() -> AsyncIterator[str]:
    try:
        from devtools.postgres import PostgresServer
    except ImportError as error:
        raise Refusal(f"STORE=postgres needs the whole repository, set up by `make setup`: {error}") from error
    server = await asyncio.to_thread(PostgresServer)
    try:
        yield await asyncio.to_thread(server.create_database)
    finally:
        await asyncio.to_thread(server.close)


@asynccontextmanager
async def _own_schemas(url: URL, guard: Guard, *, brief: bool = False) -> AsyncIterator[Place]:
    name = f"shop_demo_{secrets.token_hex(3)}"
    schemas = [name, f"{name}_remit"]
    plain = url.set(drivername="postgresql").render_as_string(hide_password=False)
    version = await asyncio.to_thread(_create_schemas, plain, schemas)
    if not brief:  # a server that the demo started goes whole
        guard.watch_schemas(plain, schemas)
    settings = " ".join([*_as_words(url.query.get("options")), f"-csearch_path={name}"])
    own = url.set(drivername="postgresql").update_query_dict({"options": settings})
    where = f"{url.host or 'localhost'}:{url.port or 5432}/{url.database or ''}"
    try:
        yield Place(
            own.render_as_string(hide_password=False),
            f"PostgreSQL {version}, started for this demo"
            if brief
            else f"PostgreSQL {version}, {where}, schema {name}",
            job_schema=schemas[1],
        )
    finally:
        await asyncio.to_thread(drop_schemas, plain, schemas)


def _as_words(options: str | tuple[str, ...] | None) -> list[str]:
    return [options] if isinstance(options, str) else list(options or ())


def _create_schemas(url: str, schemas: list[str]) -> str:
    """Create schemas that are not there yet; answers the version of the server."""
    try:
        import psycopg
    except ImportError:
        raise Refusal("PostgreSQL needs psycopg: pip install 'remit[postgres]'") from None
    from psycopg import sql

    try:
        with psycopg.connect(url, connect_timeout=10) as connection:
            for schema in schemas:
                connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
            version = connection.info.server_version
    except psycopg.Error as error:
        words = " ".join(str(error).split())
        raise Refusal(f"the demo cannot use this database: {words}") from error
    return f"{version // 10_000}.{version % 10_000}"
