"""The field: everything that is measured."""

from benchmarks.contenders.contender import Contender
from benchmarks.contenders.huey import Huey
from benchmarks.contenders.pgqueuer import Pgqueuer
from benchmarks.contenders.procrastinate import Procrastinate
from benchmarks.contenders.raw import RawPostgres, RawSqlite
from benchmarks.contenders.remit import RemitBlockingPostgres, RemitBlockingSqlite, RemitPostgres, RemitSqlite

CONTENDERS: tuple[type[Contender], ...] = (
    RemitPostgres,
    RemitBlockingPostgres,
    Pgqueuer,
    Procrastinate,
    RawPostgres,
    RemitSqlite,
    RemitBlockingSqlite,
    Huey,
    RawSqlite,
)
