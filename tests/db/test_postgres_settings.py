"""What a server, a database, a role or the environment sets does not change what remit does, or is refused in words."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from importlib import import_module
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from remit import Domain, Event, Job, Remit, Run, schema
from remit.db.opening import open_store
from remit.db.postgres import PostgresStore, settings
from remit.db.postgres.sessions import statement
from remit.db.statements import Query
from remit.db.transaction import Role
from remit.errors import ConfigurationError, StoreError, StoreUnavailable, TransactionError
from tests.servers import PgBouncer, PostgresServer

TEXT = "Zoë ☃ \\ ' %s"
MOMENT = datetime(2024, 3, 31, 2, 30, 0, 123457, timezone(timedelta(hours=5, minutes=30)))
NUMBER = 0.1 + 0.2


class Mail(Domain): ...


mail = Mail()


class Greet(Job[Mail]):
    text: str
    at: datetime
    number: float


class Greeted(Event[Mail], ordered_by="text"):
    text: str
    at: datetime
    number: float


handled: list[tuple[str, datetime, float]] = []


@mail.handles(Greet)
async def greet(job: Greet, run: Run[Mail]) -> dict[str, Any]:
    handled.append((job.text, job.at, job.number))
    run.publish(Greeted(text=job.text, at=job.at, number=job.number))
    return {"text": job.text, "number": job.number}


@mail.on(Greeted, name="note")
async def note(event: Greeted, run: Run[Mail]) -> None:
    handled.append((event.text, event.at, event.number))


def sends_and_works(app: Remit, text: str = TEXT) -> None:
    """Send, work and read back, on each kind of session; what was sent with `delay` is promoted."""
    handled.clear()
    with app.bound():
        sent = mail.sync.enqueue(Greet(text=text, at=MOMENT, number=NUMBER))
        asyncio.run(asyncio.wait_for(app.drain(), 20))
        assert handled == [(text, MOMENT, NUMBER)] * 2
        job = app.sync.jobs.get(sent.id)
        assert (job.state, job.result) == ("completed", {"text": text, "number": NUMBER})
        assert job.payload == {"text": text, "at": "2024-03-31T02:30:00.123457+05:30", "number": NUMBER}
        app.sync.jobs.delete(sent.id)
        app.sync.__exit__()


# --- settings of the database

HOSTILE = {
    "search_path": "evil, pg_catalog",
    "datestyle": "German, DMY",
    "intervalstyle": "sql_standard",
    "timezone": "Asia/Kolkata",
    "extra_float_digits": "-15",
    "standard_conforming_strings": "off",
    "default_transaction_isolation": "serializable",
    "default_transaction_deferrable": "on",
    "statement_timeout": "1ms",
    "lock_timeout": "1ms",
    "idle_in_transaction_session_timeout": "1ms",
    "idle_session_timeout": "1ms",
    "transaction_timeout": "100ms",  # the server counts from the connection's first byte
    "plan_cache_mode": "force_custom_plan",
    "default_table_access_method": "heap2",
    "enable_seqscan": "on",
    "enable_hashjoin": "on",
    "enable_mergejoin": "on",
    "enable_indexscan": "off",
    "enable_indexonlyscan": "off",
    "enable_bitmapscan": "off",
    "enable_nestloop": "off",
    "enable_hashagg": "off",
    "jit": "on",
    "work_mem": "64kB",
    "synchronous_commit": "off",
    "role": "mail_owner",
    "row_security": "off",
    "default_tablespace": "elsewhere",
    "default_toast_compression": "pglz",
    "bytea_output": "escape",
    "xmloption": "document",
    "array_nulls": "off",
    "backslash_quote": "off",
    "escape_string_warning": "off",
    "transform_null_equals": "on",
    "quote_all_identifiers": "on",
    "check_function_bodies": "off",
    "client_min_messages": "debug5",
    "lc_messages": "C",
    "lc_numeric": "C",
}
ELSEWHERE = {"default_transaction_read_only", "session_replication_role"}
"""Those with a test of their own below."""

EVIL = """
CREATE SCHEMA evil;
CREATE FUNCTION evil.never(timestamptz, timestamptz) RETURNS boolean LANGUAGE sql RETURN false;
CREATE OPERATOR evil.<= (LEFTARG = timestamptz, RIGHTARG = timestamptz, FUNCTION = evil.never);
CREATE FUNCTION evil.count(text) RETURNS bigint LANGUAGE sql RETURN 0;
CREATE ACCESS METHOD heap2 TYPE TABLE HANDLER heap_tableam_handler;
"""
GRANTS = """
GRANT USAGE ON SCHEMA remit TO mail_owner;
GRANT ALL ON ALL TABLES IN SCHEMA remit TO mail_owner;
"""


def administer(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for sql in statements:
            connection.execute(sql.encode())


@pytest.fixture(scope="module", autouse=True)
def owner(postgres_server: PostgresServer) -> None:
    """A role to become, and a place for tables."""
    administer(
        postgres_server.url(),
        "CREATE ROLE mail_owner",
        "SET allow_in_place_tablespaces = on",
        "CREATE TABLESPACE elsewhere LOCATION ''",
    )


def hostile(url: str, **values: str) -> None:
    """Set these for every later session of the database, above what the server and the database say."""
    name = url.rpartition("/")[2].partition("?")[0]
    administer(url, *(f"ALTER ROLE postgres IN DATABASE {name} SET {key} = {value}" for key, value in values.items()))


def quoted(name: str) -> str:
    return HOSTILE[name] if name == "search_path" else f"'{HOSTILE[name]}'"


def test_each_setting_that_matters_has_a_hostile_value() -> None:
    named = settings.PINNED.keys() | settings.LEFT.keys() | settings.REQUIRED.keys()
    named |= {name for values in settings.FOR_ROLE.values() for name in values}
    assert HOSTILE.keys() | ELSEWHERE == named
    assert settings.REQUIRED_OF_POOLERS.keys() <= settings.PINNED.keys()


ONE_BY_ONE = [*([name] for name in settings.PINNED), sorted(HOSTILE.keys() - settings.PINNED.keys())]


@pytest.mark.parametrize("names", ONE_BY_ONE, ids=lambda names: names[0] if len(names) == 1 else "the-rest")
def test_a_setting_of_the_role_changes_nothing(postgres_url: str, names: list[str]) -> None:
    administer(postgres_url, EVIL, GRANTS)
    hostile(postgres_url, **{name: quoted(name) for name in names})
    sends_and_works(Remit(postgres_url, domains=[mail]))


def test_a_database_is_migrated_whatever_the_role_has_set(bare_postgres_url: str, postgres_url: str) -> None:
    """Table by table as without: in the same place, of the same kind."""
    tables = (
        "SELECT c.relname, am.amname, pg_get_functiondef(p.oid) FROM pg_class AS c JOIN pg_am AS am ON am.oid = relam"
        " CROSS JOIN pg_proc AS p WHERE relnamespace = 'remit'::regnamespace AND pronamespace = relnamespace"
        " ORDER BY 1, 3"
    )
    administer(bare_postgres_url, EVIL)
    hostile(bare_postgres_url, **{name: quoted(name) for name in HOSTILE if name not in {"role", "default_tablespace"}})
    app = Remit(bare_postgres_url, domains=[mail])
    assert app.sync.migrate()
    sends_and_works(app)
    stores = [open_store(url) for url in (postgres_url, bare_postgres_url)]
    with stores[0].connect(Role.LEADER) as usual, stores[1].connect(Role.LEADER) as it:  # type: ignore[attr-defined]
        it.execute("SET quote_all_identifiers = off")
        assert it.execute(tables).fetchall() == usual.execute(tables).fetchall()


def shown(session: Any, names: Any) -> dict[str, str]:
    return {name: session.execute(f"SHOW {name}").fetchone()[0] for name in names}


def as_shown(values: dict[str, str]) -> dict[str, str]:
    return {name: {"60s": "1min"}.get(value, value) for name, value in values.items()}


def test_a_session_keeps_what_its_role_needs(postgres_url: str) -> None:
    """Even when its owner resets everything, and whatever the URL says; in the handler's session the owner decides."""
    administer(postgres_url, EVIL)
    hostile(
        postgres_url,
        **{
            name: quoted(name)
            for name in HOSTILE
            if name not in {"role", "idle_session_timeout", "transaction_timeout"}
        },
    )
    store = open_store(postgres_url + "?options=-c%20search_path%3Devil%20-c%20geqo%3Doff&application_name=shop")
    assert isinstance(store, PostgresStore)
    for role in Role:
        wanted = settings.settings_of(role)
        with store.connect(role) as session:
            session.execute("RESET ALL")
            assert shown(session, wanted) == as_shown(wanted)
            assert shown(session, ["client_encoding", "geqo", "application_name"]) == {
                "client_encoding": "UTF8", "geqo": "off", "application_name": f"shop/remit:{role}",
            }  # fmt: skip
    with store.connect(Role.HANDLER) as session:
        assert shown(session, ["search_path", "datestyle"]) == {"search_path": "evil", "datestyle": "German, DMY"}


def test_the_environment_changes_nothing(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    administer(postgres_url, EVIL)
    for name, value in {
        "PGCLIENTENCODING": "LATIN1", "PGDATESTYLE": "German", "PGTZ": "Asia/Kolkata", "PGGEQO": "off",
        "PGAPPNAME": "mine", "PGOPTIONS": "-c search_path=evil,pg_catalog -c statement_timeout=1 -c lc_messages=C",
        "PGHOST": "nowhere.invalid", "PGPORT": "1", "PGDATABASE": "nowhere",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    sends_and_works(Remit(postgres_url, domains=[mail]))
    store = open_store(postgres_url)
    assert isinstance(store, PostgresStore)
    with store.connect(Role.HANDLER) as session:  # PGOPTIONS are the application's
        assert shown(session, ["search_path", "client_encoding"]) == {
            "search_path": "evil,pg_catalog", "client_encoding": "UTF8",
        }  # fmt: skip


def test_a_service_file_keeps_its_options(postgres_url: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    address = conninfo_to_dict(postgres_url)
    file = tmp_path / "services"
    file.write_text(
        f"[shop]\nhost={address['host']}\nport={address['port']}\ndbname={address['dbname']}\nuser=postgres\n"
        "options=-c geqo=off -c search_path=evil\n"
    )
    monkeypatch.setenv("PGSERVICEFILE", str(file))
    store = open_store("postgresql://?service=shop")
    assert isinstance(store, PostgresStore)
    assert store.describe() == "PostgreSQL service shop, schema remit"
    with store.connect(Role.CLAIM) as session:
        wanted = {**as_shown(settings.settings_of(Role.CLAIM)), "geqo": "off"}
        assert shown(session, wanted) == wanted


# --- what refuses settings in the startup packet


def test_a_setting_that_the_server_does_not_know_is_left_out(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(settings.PINNED, "transaction_timeout_2", "0")
    monkeypatch.setitem(settings.SINCE, "transaction_timeout_2", 990000)
    sends_and_works(Remit(postgres_url, domains=[mail]))


def test_a_session_pooler_gets_the_settings_in_a_statement(pgbouncer: PgBouncer, postgres_url: str) -> None:
    """It was not declared, since sessions are kept; it refuses the packet, and all of it is set afterwards."""
    store = open_store(pgbouncer.through(postgres_url))
    assert isinstance(store, PostgresStore)
    with store.connect(Role.COMPLETE) as session, session.transaction():  # one transaction: one server session
        wanted = settings.settings_of(Role.COMPLETE)
        assert shown(session, wanted) == as_shown(wanted)
        session.execute("DISCARD PLANS")
    administer(
        postgres_url,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'remit:complete'",
    )


def test_behind_a_transaction_pooler_nothing_is_set(pgbouncer: PgBouncer, postgres_url: str) -> None:
    hostile(
        postgres_url,
        DateStyle="German",
        TimeZone="'Asia/Kolkata'",
        client_encoding="LATIN1",
        standard_conforming_strings="off",
    )
    url = pgbouncer.through(postgres_url)
    sends_and_works(Remit(url, domains=[mail], pooler=True))
    store = open_store(url, pooler=True)
    assert isinstance(store, PostgresStore)
    with store.connect(Role.CLAIM) as session:
        assert shown(session, ["plan_cache_mode", "client_encoding"]) == {
            "plan_cache_mode": "auto", "client_encoding": "UTF8",
        }  # fmt: skip


def test_a_pooled_database_is_migrated_whatever_the_role_has_set(pgbouncer: PgBouncer, bare_postgres_url: str) -> None:
    administer(bare_postgres_url, EVIL)
    hostile(bare_postgres_url, search_path="evil, pg_catalog", standard_conforming_strings="off")
    app = Remit(pgbouncer.through(bare_postgres_url), domains=[mail], pooler=True)
    assert app.sync.migrate()


# --- what can be neither set nor survived


def test_a_replica_session_is_refused_in_words(postgres_url: str) -> None:
    hostile(postgres_url, session_replication_role="replica")
    with pytest.raises(
        ConfigurationError, match=r"session_replication_role is 'replica' .* foreign keys .* ALTER ROLE"
    ):
        schema.check(open_store(postgres_url))


def test_an_isolation_that_a_pooler_keeps_is_refused_in_words(pgbouncer: PgBouncer, postgres_url: str) -> None:
    hostile(postgres_url, default_transaction_isolation="'repeatable read'")
    schema.check(open_store(postgres_url))
    with pytest.raises(ConfigurationError, match=r"default_transaction_isolation is 'repeatable read' .* ALTER ROLE"):
        schema.check(open_store(pgbouncer.through(postgres_url), pooler=True))


def test_writes_that_an_operator_has_stopped_are_refused_in_words_until_they_go_on(postgres_url: str) -> None:
    app = Remit(postgres_url, domains=[mail])
    hostile(postgres_url, default_transaction_read_only="on")
    with app.bound():
        with pytest.raises(StoreUnavailable, match=r"read-only transaction: .*default_transaction_read_only"):
            mail.sync.enqueue(Greet(text=TEXT, at=MOMENT, number=NUMBER))
        hostile(postgres_url + "?options=-c%20default_transaction_read_only%3Doff", default_transaction_read_only="off")
        mail.sync.enqueue(Greet(text=TEXT, at=MOMENT, number=NUMBER))
        app.sync.__exit__()


# --- the encoding of the database


@contextmanager
def encoded(server: PostgresServer, encoding: str) -> Iterator[str]:
    url = server.create_database()
    server.drop_database(url)
    name = url.rpartition("/")[2]
    administer(
        server.url(),
        f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C' LOCALE_PROVIDER libc",
    )
    try:
        yield url
    finally:
        server.drop_database(url)


def test_a_database_without_an_encoding_keeps_text_as_it_is(postgres_server: PostgresServer) -> None:
    with encoded(postgres_server, "SQL_ASCII") as url:
        app = Remit(url, domains=[mail])
        app.sync.migrate()
        sends_and_works(app)


def test_a_database_in_another_encoding_refuses_what_it_cannot_hold(postgres_server: PostgresServer) -> None:
    with encoded(postgres_server, "LATIN1") as url:
        app = Remit(url, domains=[mail])
        app.sync.migrate()
        sends_and_works(app, "Zoë")
        with app.bound():
            with pytest.raises(StoreError, match=r"no equivalent in encoding .LATIN1..* ENCODING 'UTF8'"):
                mail.sync.enqueue(Greet(text="☃", at=MOMENT, number=NUMBER))
            app.sync.__exit__()


# --- the caller's handle

CALLERS = [
    name for name in HOSTILE
    if not name.endswith("_timeout") and name not in {"role", "default_transaction_deferrable"}
]  # fmt: skip
"""What a caller's session may have set; its timeouts and its rights are its own."""


class Settle(Job[Mail]):
    text: str


settling: dict[str, str] = {}


@mail.handles(Settle)
def settle(job: Settle, run: Run[Mail]) -> None:
    """Complete on a handle of the caller's, with what it sends."""
    with psycopg.connect(**settling) as connection:  # type: ignore[arg-type]
        run.publish(Greeted(text=job.text, at=MOMENT, number=NUMBER))
        run.sync.complete({"text": job.text}, tx=connection)


@pytest.mark.parametrize(
    "encoding, text, isolation",
    [("UTF8", TEXT, "serializable"), ("LATIN1", "Zoë \\", "repeatable read"), ("SQL_ASCII", TEXT, "read committed")],
)
def test_a_callers_session_may_have_any_setting(postgres_url: str, encoding: str, text: str, isolation: str) -> None:
    administer(postgres_url, EVIL)
    values = {name: HOSTILE[name] for name in CALLERS} | {"default_transaction_isolation": isolation}
    settling.clear()
    settling.update(conninfo=postgres_url, client_encoding=encoding, options=settings.as_options(values))
    app = Remit(postgres_url, domains=[mail])
    handled.clear()
    with app.bound():
        with psycopg.connect(**settling) as connection:  # type: ignore[arg-type]
            sent = mail.sync.enqueue(Greet(text=text, at=MOMENT, number=NUMBER), tx=connection)
            mail.sync.publish(Greeted(text=text, at=MOMENT, number=NUMBER), tx=connection)
            settled = mail.sync.enqueue(Settle(text=text), tx=connection)
        asyncio.run(asyncio.wait_for(app.drain(), 20))
        assert handled == [(text, MOMENT, NUMBER)] * 4
        assert app.sync.jobs.get(sent.id).result == {"text": text, "number": NUMBER}
        assert app.sync.jobs.get(settled.id).result == {"text": text}
        app.sync.__exit__()


def test_what_a_callers_session_cannot_say_is_refused_in_words(postgres_url: str) -> None:
    app = Remit(postgres_url, domains=[mail])
    with app.bound():
        with psycopg.connect(postgres_url, client_encoding="LATIN1") as connection:
            with pytest.raises(TransactionError, match="has no '☃', so nothing was sent: SET client_encoding = 'UTF8'"):
                mail.sync.enqueue(Greet(text="☃", at=MOMENT, number=NUMBER), tx=connection)
            assert mail.sync.enqueue(Greet(text="Zoë", at=MOMENT, number=NUMBER), tx=connection)
        with (
            psycopg.connect(postgres_url, options="-c default_transaction_read_only=on") as connection,
            pytest.raises(TransactionError, match="is read-only, so nothing can be sent in it"),
        ):
            mail.sync.enqueue(Greet(text=TEXT, at=MOMENT, number=NUMBER), tx=connection)
        app.sync.__exit__()


# --- statements


def test_no_statement_returns_what_a_setting_spells(postgres_url: str) -> None:
    """A timestamp, an interval, bytes: their text depends on the session, which on a caller's handle is not ours."""
    plain = {16: "bool", 20: "bigint", 21: "smallint", 23: "integer", 25: "text", 701: "double precision", 2278: "void"}
    store = open_store(postgres_url)
    assert isinstance(store, PostgresStore)
    with store.connect(Role.CLIENT) as session:
        for package in ("remit.jobs", "remit.outbox", "remit.execution", "remit.runtime", "remit.client"):
            for query in vars(import_module(f"{package}.queries")).values():
                if isinstance(query, Query):
                    assert session.pgconn.prepare(b"", statement(query, "remit").text).error_message == b""
                    described = session.pgconn.describe_prepared(b"")
                    types = {described.ftype(column) for column in range(described.nfields)}
                    assert types <= plain.keys(), query
