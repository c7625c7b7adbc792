"""The fixtures, as the tests of an application use them."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest_plugins = ["pytester"]

SHOP = """
    from remit import Domain, Event, Job, Remit, Run

    class Billing(Domain, handlers=__name__): ...
    billing = Billing()

    class SyncInvoice(Job[Billing]):
        invoice_id: str

    class InvoicePaid(Event[Billing]):
        invoice_id: str

    @billing.handles(SyncInvoice)
    async def sync_invoice(job: SyncInvoice, run: Run[Billing]) -> None:
        run.publish(InvoicePaid(invoice_id=job.invoice_id))

    app = Remit("sqlite:///never-opened.db", domains=[billing], scope=["invoice_id"], name="the shop")
"""


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makepyprojecttoml(
        "[tool.pytest.ini_options]\nasyncio_mode = 'auto'\nasyncio_default_fixture_loop_scope = 'function'\n"
        "pythonpath = ['.']\nfilterwarnings = ['error']\naddopts = ['--strict-markers', '-p', 'no:cacheprovider']\n"
    )
    pytester.makepyfile(boutique=SHOP)
    return pytester


def test_a_fixture_of_the_projects_own_shares_a_store_for_as_long_as_it_lives(project: pytest.Pytester) -> None:
    module = """
        import pytest
        from remit.testing import enqueued, nothing_sent, watching
        from boutique import SyncInvoice, app, billing

        @pytest.fixture(scope="module")
        def shop(remit_apps):
            with remit_apps("sqlite") as make:
                yield make(app)

        def test_one(shop):
            nothing_sent()
            billing.sync.enqueue(SyncInvoice(invoice_id="1"))

        def test_another(shop):
            enqueued(SyncInvoice).matching(invoice_id="1").once()
            with watching(shop) as seen:
                billing.sync.enqueue(SyncInvoice(invoice_id="2"))
                seen.enqueued(SyncInvoice).matching(invoice_id="2").once()

        def test_with_a_store_of_its_own(shop, remit_app):
            remit_app(app)
            nothing_sent()
            billing.sync.enqueue(SyncInvoice(invoice_id="3"))

        def test_then_the_first_one_has_the_domain_again(shop):
            billing.sync.enqueue(SyncInvoice(invoice_id="4"))
            assert sorted(job.invoice_id for job in enqueued(SyncInvoice)) == ["1", "2", "4"]

        def test_an_engine_that_there_is_none_of(remit_apps):
            with remit_apps("oracle"):
                pass
    """
    project.makepyfile(test_first=module, test_second=module)
    result = project.runpytest_inprocess("-q", "-p", "no:randomly")
    result.assert_outcomes(passed=8, failed=2)
    result.stdout.fnmatch_lines(['*remit_apps takes "sqlite" or "postgresql", not \'oracle\'*'])


def test_an_application_gets_a_twin_on_a_fresh_store_for_each_test(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import pytest
        from remit.testing import enqueued, nothing_sent, perform, published
        from boutique import InvoicePaid, SyncInvoice, app, billing

        @pytest.fixture(autouse=True)
        def shop(remit_app):
            return remit_app(app)

        def test_blocking(shop):
            nothing_sent()
            billing.sync.enqueue(SyncInvoice(invoice_id="1"))
            enqueued(SyncInvoice).matching(invoice_id="1").once()

        async def test_async(shop):
            nothing_sent()
            await billing.enqueue(SyncInvoice(invoice_id="2"))
            await shop.drain()
            assert published(InvoicePaid).one.record.scope == {"invoice_id": "2"}
            (await perform(SyncInvoice(invoice_id="3"))).expect("completed").published(InvoicePaid).once()

        async def test_opened(shop):
            async with shop:
                await billing.enqueue(SyncInvoice(invoice_id="4"))
            enqueued(SyncInvoice).once()
        """
    )
    project.runpytest().assert_outcomes(passed=3)
    assert not (project.path / "never-opened.db").exists()


def test_domains_go_back_to_whom_they_belonged(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        from boutique import app, billing

        def test_a_twin(remit_app):
            twin = remit_app(app)
            assert billing.binding.label == twin.name != app.name

        def test_b_is_back():
            assert billing.binding.label == "the shop"

        def test_c_domains_alone(remit_app):
            remit_app(domains=[billing], name="mine")
            assert billing.binding.label == "mine"

        def test_d_is_back():
            assert billing.binding.label == "the shop"
        """
    )
    project.runpytest().assert_outcomes(passed=4)


def test_an_assertion_shows_the_line_of_the_test_and_what_was_sent_instead(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        from remit.testing import published
        from boutique import InvoicePaid, app, billing

        def test_paid(remit_app):
            remit_app(app)
            billing.sync.publish(InvoicePaid(invoice_id="2"))
            published(InvoicePaid).matching(invoice_id="1").once()
        """
    )
    result = project.runpytest()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            '>       published(InvoicePaid).matching(invoice_id="1").once()',
            "E       AssertionError: wanted 1 billing.invoice-paid with invoice_id='1', and found none",
            "E         the nearest:",
            "E           InvoicePaid(invoice_id='2')",
            "E             invoice_id is '2', not '1'",
        ]
    )
    result.stdout.no_fnmatch_line("*messages.py*")


def test_a_rollback_of_the_applications_own_transaction_leaves_nothing(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import pytest
        from sqlalchemy import create_engine, event
        from sqlalchemy.orm import Session
        from remit.testing import enqueued, nothing_sent, published, watching
        from boutique import InvoicePaid, SyncInvoice, app, billing

        @pytest.fixture
        def shop(remit_app):
            return remit_app(app)

        @pytest.fixture
        def engine(shop, remit_database):
            engine = create_engine(f"sqlite:///{remit_database.path}")
            event.listen(engine, "connect", lambda connection, _: setattr(connection, "isolation_level", None))
            event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
            yield engine
            engine.dispose()

        def pay(session):
            billing.sync.publish(InvoicePaid(invoice_id="1"), tx=session)
            billing.sync.enqueue(SyncInvoice(invoice_id="1"), tx=session)

        def test_rolled_back(engine):
            with Session(engine) as session:
                session.begin()
                pay(session)
                session.rollback()
            nothing_sent()

        def test_committed(engine):
            with Session(engine) as session, session.begin():
                pay(session)
            published(InvoicePaid).once()
            enqueued(SyncInvoice).once()
            with pytest.raises(AssertionError, match="(?s)published billing.invoice-paid .*enqueued billing.sync"):
                nothing_sent()

        def test_in_a_transaction_that_is_never_committed(engine, shop):
            with Session(engine) as session:
                session.begin()
                with watching(shop, tx=session) as seen:
                    pay(session)
                    seen.published(InvoicePaid).once()
                    enqueued(SyncInvoice).once()
                session.rollback()
            nothing_sent()
        """
    )
    project.runpytest().assert_outcomes(passed=3)


def test_a_test_can_ask_for_an_engine_and_is_skipped_where_there_is_none(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import pytest

        @pytest.mark.remit_database("postgresql")
        def test_postgres(remit_database):
            raise AssertionError

        @pytest.mark.remit_database("oracle")
        def test_oracle(remit_database):
            raise AssertionError

        @pytest.mark.remit_database("sqlite")
        def test_sqlite(remit_database):
            assert remit_database.path.exists()
        """
    )
    result = project.runpytest("-rs")
    result.assert_outcomes(skipped=1, errors=1, passed=1)
    result.stdout.fnmatch_lines(["*not 'oracle'*", "*pass --remit-database, or set REMIT_TEST_DATABASE_URL"])


@pytest.mark.parametrize("way", ["option", "variable", "ini"])
def test_a_postgresql_url_gives_every_test_a_schema_of_its_own(
    project: pytest.Pytester, postgres_url: str, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    project.makepyfile(
        """
        import pytest
        from remit.testing import enqueued, nothing_sent
        from boutique import SyncInvoice, app, billing

        schemas = set()

        @pytest.mark.parametrize("number", [1, 2])
        def test_sending(remit_app, remit_database, number):
            shop = remit_app(app)
            assert shop.store.dialect == "postgres"
            nothing_sent()
            billing.sync.enqueue(SyncInvoice(invoice_id="1"))
            enqueued(SyncInvoice).once()
            schemas.add(remit_database.schema)
            assert len(schemas) == number

        @pytest.mark.remit_database("sqlite")
        def test_sqlite(remit_app):
            assert remit_app(app).store.dialect == "sqlite"
        """
    )
    arguments: list[str] = []
    match way:
        case "option":
            arguments.append(f"--remit-database={postgres_url}")
        case "variable":
            monkeypatch.setenv("REMIT_TEST_DATABASE_URL", postgres_url)
        case _:
            arguments += ["-o", f"remit_database={postgres_url}"]
    project.runpytest(*arguments).assert_outcomes(passed=3)
    import psycopg

    with psycopg.connect(postgres_url) as connection:
        found = connection.execute("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'remit%'").fetchall()
    assert found == []


def test_the_plugin_is_loaded_by_itself_and_imports_no_application() -> None:
    code = (
        "import sys, remit.testing.plugin\n"
        "late = ('remit.app', 'remit.client', 'remit.runtime', 'sqlite3', 'psycopg', 'asyncio')\n"
        "late = sorted({*late} & {*sys.modules})\n"
        "assert not late, late\n"
        "from importlib.metadata import entry_points\n"
        "[plugin] = entry_points(group='pytest11', name='remit')\n"
        "assert plugin.value == 'remit.testing.plugin'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_remit_needs_no_pytest() -> None:
    code = (
        "import sys\nsys.modules['pytest'] = None\n"
        "import remit.testing as testing\n"
        "for name in testing.__all__: getattr(testing, name)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
