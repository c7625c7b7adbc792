"""The demo, in small: the same processes, the same accident, the same audit; and what the audit would find."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import psycopg
import pytest

from remit import Remit
from shop.database import Database
from shop.demo.audit import Finding, audit, collect
from shop.orders.messages import orders
from shop.reports.messages import reports
from tests.shop.conftest import ROOT

pytestmark = pytest.mark.fault

ORDERS = 60
DATABASE = "shop.db"


def play(folder: Path, url: str) -> str:
    """Play the demo with few orders; answers what it printed. Its files stay in `folder`."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'examples'}{os.pathsep}{ROOT}", "DATABASE_URL": url}
    environment.pop("STORE", None)
    words = f"--orders {ORDERS} --rate 40 --lease 1 --keep {folder}"
    demo = subprocess.run(
        [sys.executable, "-m", "shop.demo", *words.split()],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert demo.returncode == 0, demo.stdout + demo.stderr
    return demo.stdout


async def look(folder: Path) -> dict[str, Finding]:
    """Audit the files of a demo that is over, and its SQLite database beside them."""
    url = f"sqlite:///{folder / DATABASE}"
    database = Database(url)
    async with Remit(url, domains=[orders, reports]) as app:
        findings = audit(await collect(app, database, folder))
    database.close()
    return {finding.what: finding for finding in findings}


def execute(folder: Path, sql: str) -> None:
    with sqlite3.connect(folder / DATABASE) as connection:
        assert connection.execute(sql).rowcount > 0
    connection.close()


def one_of(folder: Path) -> Path:
    return min(path for path in folder.iterdir() if not path.name.startswith("."))


def pack_twice(folder: Path) -> None:
    book = folder / "parcels.jsonl"
    packed = next(line for line in book.read_text().splitlines() if "accepted" in line)
    book.write_text(book.read_text() + packed + "\n")


def lose_parcels(folder: Path) -> None:
    (folder / "parcels.jsonl").write_text("")


def send_again(folder: Path) -> None:
    mail = one_of(folder / "mailbox" / "new")
    mail.with_name("again").write_bytes(mail.read_bytes())


PLANTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "a lost mail": (lambda folder: one_of(folder / "mailbox" / "new").unlink(), "e-mails in the mailbox"),
    "a lost invoice": (lambda folder: one_of(folder / "invoices").unlink(), "invoices on disk"),
    "half an invoice": (lambda folder: one_of(folder / "invoices").write_text("<!doc"), "invoices on disk"),
    "a lost report": (lambda folder: one_of(folder / "reports").unlink(), "daily reports"),
    "lost parcels": (lose_parcels, "parcels at the warehouse"),
    "a parcel packed twice": (pack_twice, "parcels at the warehouse"),
    "a payment booked twice": (
        lambda folder: execute(
            folder,
            "INSERT INTO payment (order_number, amount_cents) SELECT order_number, amount_cents FROM payment LIMIT 1",
        ),
        "payments booked",
    ),
    "a lost payment": (
        lambda folder: execute(folder, "DELETE FROM payment WHERE id = (SELECT min(id) FROM payment)"),
        "payments booked",
    ),
    "a wrong amount": (
        lambda folder: execute(folder, "UPDATE payment SET amount_cents = 1 WHERE id = (SELECT min(id) FROM payment)"),
        "payments booked",
    ),
    "stock taken twice": (
        lambda folder: execute(folder, "UPDATE product SET stock = stock - 1 WHERE sku = 'MUG-BLUE'"),
        "pieces taken from stock",
    ),
    "a lost order": (
        lambda folder: execute(folder, "DELETE FROM orders WHERE number = (SELECT min(number) FROM orders)"),
        "orders accepted by the shop",
    ),
    "a job that never ended": (
        lambda folder: execute(
            folder,
            "UPDATE remit_job SET state = 'ready', finished_at = NULL WHERE id = (SELECT min(id) FROM remit_job)",
        ),
        "jobs completed",
    ),
    "a dead job": (
        lambda folder: execute(
            folder, "UPDATE remit_job SET state = 'dead' WHERE id = (SELECT min(id) FROM remit_job)"
        ),
        "jobs completed",
    ),
}


async def test_nothing_is_lost_on_sqlite_and_the_audit_would_have_found_it(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    output = play(folder, f"sqlite:///{tmp_path / DATABASE}")
    _check(output)
    (tmp_path / DATABASE).rename(folder / DATABASE)

    assert all(finding.clean for finding in (await look(folder)).values())

    for name, (plant, what) in PLANTS.items():
        copy = shutil.copytree(folder, tmp_path / name.replace(" ", "-"))
        plant(copy)
        assert not (await look(copy))[what].clean, f"the audit does not find {name}"

    before = (await look(folder))["e-mails in the mailbox"].again or 0
    send_again(folder)
    mails = (await look(folder))["e-mails in the mailbox"]
    assert mails.clean, "at least once is what was promised"
    assert mails.again == before + 1, "but it is told"


def test_nothing_is_lost_on_postgres_and_the_database_is_as_it_was(tmp_path: Path, postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as connection:
        connection.execute("CREATE TABLE orders (number integer)")
        connection.execute("CREATE SCHEMA remit")
    _check(play(tmp_path / "demo", postgres_url))
    with psycopg.connect(postgres_url) as connection:
        schemas = connection.execute("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'shop%'").fetchall()
        assert schemas == []
        assert connection.execute("SELECT count(*) FROM orders").fetchone() == (0,)


def _check(output: str) -> None:
    assert "kill -9 worker" in output
    assert "rescued: all" in output
    assert "nothing is lost, and nothing inside the database happened twice" in output
    assert "refused, sold out" in output, "a transaction was rolled back, with the jobs in it"


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_nothing_outlives_a_demo_that_is_stopped(how: signal.Signals, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'examples'}{os.pathsep}{ROOT}", "TMPDIR": str(tmp_path)}
    environment = {name: value for name, value in environment.items() if name not in ("DATABASE_URL", "STORE")}
    demo = subprocess.Popen(
        [sys.executable, "-u", "-m", "shop.demo"], env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert demo.stdout is not None
    with demo.stdout:
        next(line for line in demo.stdout if "begin to order" in line)
        family = psutil.Process(demo.pid).children(recursive=True)
        assert len(family) >= 5, "guard, outside world, shop and two workers"
        demo.send_signal(how)
        demo.stdout.read()
    assert demo.wait() == (130 if how is signal.SIGINT else -signal.SIGKILL)
    _, alive = psutil.wait_procs(family, timeout=10)
    assert not alive
    deadline = time.monotonic() + 5
    while list(tmp_path.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert list(tmp_path.iterdir()) == []
