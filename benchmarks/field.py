"""The field: everything that is measured."""

from benchmarks.contenders.contender import Side
from benchmarks.contenders.huey import Huey
from benchmarks.contenders.pgqueuer import Pgqueuer
from benchmarks.contenders.procrastinate import Procrastinate
from benchmarks.contenders.raw import RawPostgres, RawSqlite
from benchmarks.contenders.raw_events import PoliteEventsSqlite, RawEventsPostgres, RawEventsSqlite
from benchmarks.contenders.remit import (
    AloneSqlite,
    RemitBlockingPostgres,
    RemitBlockingSqlite,
    RemitPostgres,
    RemitSqlite,
)
from benchmarks.contenders.remit_events import (
    AgedPostgres,
    AgedSqlite,
    AloneEventsSqlite,
    PacedRailPostgres,
    PacedRailSqlite,
    RailPostgres,
    RailSqlite,
    RemitEventsPostgres,
    RemitEventsSqlite,
)

CONTENDERS: tuple[type[Side], ...] = (
    RemitPostgres,
    RemitBlockingPostgres,
    Pgqueuer,
    Procrastinate,
    RawPostgres,
    RemitSqlite,
    AloneSqlite,
    RemitBlockingSqlite,
    Huey,
    RawSqlite,
    RemitEventsPostgres,
    AgedPostgres,
    RailPostgres,
    PacedRailPostgres,
    RawEventsPostgres,
    RemitEventsSqlite,
    AloneEventsSqlite,
    AgedSqlite,
    RailSqlite,
    PacedRailSqlite,
    RawEventsSqlite,
    PoliteEventsSqlite,
)
