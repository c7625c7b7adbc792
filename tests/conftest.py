"""Fixtures that every test may use: fresh databases on both engines, and the servers behind them."""

import logging
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from remit import schema
from remit.db.opening import open_store
from tests.servers import FAST, PgBouncer, PostgresServer, Proxy

settings.register_profile("remit", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("remit")

for _number, _handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(_number) is signal.SIG_IGN:  # by nohup, or in the background of a script: children inherit it
        signal.signal(_number, _handler)

_NO_PGBOUNCER = "pgbouncer is not installed (apt-get install pgbouncer)"


@pytest.fixture(autouse=True)
def levels_of_logging() -> Iterator[None]:
    """What a test sets stays its own: the command line sets the level of remit's logger."""
    levels = [(logger, logger.level) for logger in (logging.getLogger(), logging.getLogger("remit"))]
    yield
    for logger, level in levels:
        logger.setLevel(level)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """The PostgreSQL of this test process. Do not stop it: `own_postgres_server` is for that."""
    with PostgresServer(settings=FAST) as server:
        yield server


@pytest.fixture(scope="session")
def postgres_template() -> str:
    """What `postgres_url` is a copy of: nothing. A folder may say `migrated_postgres_template`."""
    return "template1"


@pytest.fixture(scope="session")
def migrated_postgres_template(postgres_server: PostgresServer) -> str:
    """A database with remit's tables. To copy it takes a quarter of the time of making them."""
    url = postgres_server.create_database()
    schema.migrate(open_store(url))
    return url.rpartition("/")[2].partition("?")[0]


@pytest.fixture
def postgres_url(postgres_server: PostgresServer, postgres_template: str) -> Iterator[str]:
    """A fresh database, dropped afterwards."""
    url = postgres_server.create_database(template=postgres_template)
    yield url
    postgres_server.drop_database(url)


@pytest.fixture
def bare_postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """A fresh, empty database, whatever the folder says."""
    url = postgres_server.create_database()
    yield url
    postgres_server.drop_database(url)


@pytest.fixture
def own_postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL that this test alone uses, and may stop, crash and restart."""
    with PostgresServer(settings=FAST) as server:
        yield server


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """The address of an SQLite file that does not exist yet."""
    return f"sqlite:///{tmp_path / 'remit.db'}"


@pytest.fixture(params=["sqlite", "postgres"])
def store_url(request: pytest.FixtureRequest) -> str:
    """A fresh database on each engine in turn."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture(scope="session")
def pgbouncer(postgres_server: PostgresServer) -> Iterator[PgBouncer]:
    """PgBouncer in transaction pooling mode in front of `postgres_server`: `pgbouncer.through(postgres_url)`."""
    if not PgBouncer.available():
        pytest.skip(_NO_PGBOUNCER)
    pooler = PgBouncer(postgres_server.port)
    yield pooler
    pooler.close()


@pytest.fixture
def proxy(postgres_server: PostgresServer) -> Iterator[Proxy]:
    """A network to break in front of `postgres_server`: `proxy.through(postgres_url)`."""
    network = Proxy(postgres_server.port)
    yield network
    network.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say aloud that the pooler was not tested."""
    unproved = [report for report in terminalreporter.getreports("skipped") if _NO_PGBOUNCER in str(report.longrepr)]
    if unproved:
        terminalreporter.section("WARNING", red=True, bold=True)
        terminalreporter.line(
            f"{len(unproved)} tests behind a transaction pooler DID NOT RUN: {_NO_PGBOUNCER}", red=True
        )
