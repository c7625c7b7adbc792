"""The settings of a server, a database, a role and the environment that could change what remit's own sessions do.

`PINNED` are set by every session of remit's own. `LEFT` may have any value, each for a reason. `REQUIRED` can be
neither pinned nor survived, so another value is refused when an application opens. A setting that a new statement
relies on belongs in one of the three; `tests/db/test_postgres_settings.py` gives each of them a hostile value.

The session of a handler (`run.transaction()`) belongs to the application: what its own SQL does depends on the role's
search path, time zone and timeouts. There only the encoding is pinned.
"""

from __future__ import annotations

from typing import Final

from remit.db.transaction import Role

ENCODING: Final = "UTF8"
"""The client's encoding in every session of remit's own, the handler's too: another one corrupts text silently."""

PINNED: Final = {
    # Statements name the schema of every table and function. Operators and types are found by this path, and a schema
    # that stands before pg_catalog could replace them.
    "search_path": "pg_catalog",
    # The text of values, each way. No statement returns a timestamp or an interval; what a session reports stays plain.
    "datestyle": "ISO, MDY",
    "intervalstyle": "postgres",
    "timezone": "UTC",
    "extra_float_digits": "1",
    # The migrations have backslashes in literals. The statements have none.
    "standard_conforming_strings": "on",
    # A purge looks again at what was committed after its snapshot (remit.is_needed); a claim skips locked rows instead
    # of failing on them.
    "default_transaction_isolation": "read committed",
    "default_transaction_deferrable": "off",
    # A role's limits are made for queries of the application. A worker sleeps for hours on its listening session, and a
    # migration may take minutes. A process that is stopped inside a short transaction of remit's own is in the way of
    # others, so that has a limit.
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "60s",
    "idle_session_timeout": "0",
    "transaction_timeout": "0",
    # The choice between a general plan and one for these parameters was measured for our statements.
    "plan_cache_mode": "auto",
    # Tables need what heap tables have: partial updates, row locks, xmin.
    "default_table_access_method": "heap",
}
"""Of every session but a handler's, unless its role needs another value (`FOR_ROLE`)."""

# Planned on an empty table, a claim would scan the table, and keep doing so when it is full. With no way left but the
# indexes, the plans of claim and completion depend on no parameter, so they are made once: that saves a millisecond
# each time. What the leader does now and then is planned for what it is about.
BY_INDEX: Final = {
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "enable_indexscan": "on",
    "enable_indexonlyscan": "on",
    "enable_bitmapscan": "on",
    "enable_nestloop": "on",
    "jit": "off",
}
_PLANNED_ONCE: Final = {**BY_INDEX, "plan_cache_mode": "force_generic_plan"}

FOR_ROLE: Final[dict[Role, dict[str, str]]] = {
    # A session that flushes inside a transaction which holds the lane of an ordered event would wait for itself.
    Role.RAIL: {"lock_timeout": "1s"},
    # A claim that a crash of the server undoes was never made: nothing is lost by not waiting for the disk.
    Role.CLAIM: {**_PLANNED_ONCE, "synchronous_commit": "off"},
    Role.COMPLETE: _PLANNED_ONCE,
    Role.TURN: {**_PLANNED_ONCE, "lock_timeout": "1s"},
    # A fan-out that is undone is made again, and every delivery has the same id.
    Role.RELAY: {**_PLANNED_ONCE, "synchronous_commit": "off"},
    Role.HEARTBEAT: {"statement_timeout": "5s", "lock_timeout": "2s"},
    Role.LEADER: {**BY_INDEX, "statement_timeout": "60s", "lock_timeout": "5s"},
}

SINCE: Final = {"transaction_timeout": 170000}
"""Settings that older servers do not know, each with the first version that does."""

REQUIRED: Final = {
    "session_replication_role": (
        ("origin", "local"),
        "triggers and foreign keys do not work, so jobs would leave their failures and deliveries behind",
    ),
}
"""Settings that only a superuser may change: the values that are good, and what another one breaks."""

REQUIRED_OF_POOLERS: Final = {
    "default_transaction_isolation": (
        ("read committed",),
        "remit's statements need `read committed`, and cannot set it behind a transaction pooler",
    ),
}
"""The same for what is pinned, where a transaction pooler keeps sessions from setting it."""

LEFT: Final = {
    "default_transaction_read_only": "honoured: an operator, or a managed service whose disk is full, stops writes by "
    "it; what is sent is refused, and workers go on when it ends",
    "synchronous_commit": "honoured, except where a role above sets it: how durable a commit is, the owner decides",
    "role": "honoured: whoever sets it wants the rights of that role",
    "row_security": "remit's tables have no policies",
    "default_tablespace": "honoured by migrations: where tables lie, the owner decides",
    "default_toast_compression": "honoured: it changes no value",
    "bytea_output": "no statement has a bytea",
    "xmloption": "no statement has XML",
    "array_nulls": "no statement has an array as text",
    "backslash_quote": "no literal has a quote behind a backslash",
    "escape_string_warning": "it warns, and changes nothing",
    "transform_null_equals": "no statement compares with a literal NULL",
    "quote_all_identifiers": "it changes what is printed of views and functions, which no statement reads",
    "check_function_bodies": "functions are right whether they are checked or not",
    "client_min_messages": "notices are not read",
    "lc_messages": "errors are told apart by their codes",
    "lc_numeric": "no statement formats a number",
    "enable_hashagg": "a plan may become slower, not wrong; so it is with all of its kind that are not pinned",
    "jit": "as above",
    "work_mem": "as above",
}
"""Settings that may have any value, and why."""


def settings_of(role: Role) -> dict[str, str]:
    """What a session sets when it begins, beside the encoding."""
    return {} if role is Role.HANDLER else {**PINNED, **FOR_ROLE.get(role, {})}


def as_options(settings: dict[str, str]) -> str:
    """The same in the startup packet, as the command line of a server."""
    return " ".join(f"-c {name}={_escaped(value)}" for name, value in settings.items())


def as_statement(settings: dict[str, str], server_version: int, verb: str = "SET") -> str:
    """The same as one statement, for a server of that version."""
    known = {name: value for name, value in settings.items() if server_version >= SINCE.get(name, 0)}
    return "; ".join(f"{verb} {name} TO {value!r}" for name, value in known.items())


def _escaped(value: str) -> str:
    return value.replace(" ", r"\ ")
