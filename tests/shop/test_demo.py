"""The demo, in small: the same processes, the same accident, the same audit; and what the audit would find."""

import json
import os
import re
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
from shop.domains import DOMAINS
from tests.shop.conftest import ROOT

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]

ORDERS = 60
DATABASE = "shop.db"


def play(folder: Path, **where: str) -> str:
    """Play the demo with few orders; answers what it printed. Its files stay in `folder`."""
    environment = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "STORE")}
    environment |= {"PYTHONPATH": f"{ROOT / 'examples'}{os.pathsep}{ROOT}", **where}
    words = f"--orders {ORDERS} --rate 40 --lease 1 --keep {folder}"
    demo = subprocess.run(
        [sys.executable, "-m", "shop.demo", *words.split()],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert demo.returncode == 0, demo.stdout + demo.stderr
    return demo.stdout


async def look(folder: Path) -> dict[str, Finding]:
    """Audit the files of a demo that is over, and its SQLite database beside them."""
    url = f"sqlite:///{folder / DATABASE}"
    database = Database(url)
    async with Remit(url, domains=DOMAINS) as app:
        findings = audit(await collect(app, database, folder))
    database.close()
    return {finding.name: finding for finding in findings}


def execute(folder: Path, sql: str) -> None:
    with sqlite3.connect(folder / DATABASE) as connection:
        assert connection.execute(sql).rowcount > 0
    connection.close()


def one_of(folder: Path) -> Path:
    return min(path for path in folder.iterdir() if not path.name.startswith("."))


def change_book(folder: Path, name: str, change: Callable[[list[str]], list[str]]) -> None:
    """Change the lines of a book of the outside world."""
    book = folder / f"{name}.jsonl"
    book.write_text("\n".join(change(book.read_text().splitlines())) + "\n")


def with_accepted_twice(lines: list[str]) -> list[str]:
    return [*lines, next(line for line in lines if "accepted" in line)]


def about_a_refused_order(lines: list[str]) -> list[str]:
    accepted = json.loads(next(line for line in lines if "accepted" in line))
    return [*lines, json.dumps(accepted | {"order": "2026-000042", "key": "another"})]


def without_last_accepted(lines: list[str]) -> list[str]:
    last = max(place for place, line in enumerate(lines) if "accepted" in line)
    return lines[:last] + lines[last + 1 :]


def in_wrong_order(lines: list[str]) -> list[str]:
    return lines[::-1]


def letter(folder: Path, subject: str) -> Path:
    found = folder / "mailbox" / "new"
    return next(path for path in sorted(found.iterdir()) if f"Subject: {subject}" in path.read_text())


def write_letter_of(folder: Path, order: str) -> None:
    """A letter about an order that was rolled back."""
    text = letter(folder, "Your order").read_text()
    number = re.search(r"Your order (\S+)", text)
    assert number is not None
    (folder / "mailbox" / "new" / "planted").write_text(text.replace(number[1], order))


REFUSED = "2026-000042"
"""An order that costs too much: rolled back when its event had been published."""

TABLES = {
    "payment": ("order_number, amount_cents", "OrderPlaced → billing.charge"),
    "sale": ("order_number, day, country, channel, total_cents, skus", "OrderPlaced → analytics.count-sale"),
}


def insert_of(table: str, *, order: str | None = None) -> str:
    """Copy a row of a table, for another order or the same."""
    columns, _ = TABLES[table]
    values = columns if order is None else columns.replace("order_number", f"'{order}'")
    return f"INSERT INTO {table} ({columns}) SELECT {values} FROM {table} LIMIT 1"


PLANTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "a lost invoice": (lambda folder: one_of(folder / "documents").unlink(), "invoices"),
    "half an invoice": (lambda folder: one_of(folder / "documents").write_text("<!doc"), "invoices"),
    "a lost mail": (lambda folder: letter(folder, "Your order").unlink(), "InvoiceIssued → mail.send-invoice"),
    "a mail about an order rolled back": (
        lambda folder: write_letter_of(folder, REFUSED),
        "InvoiceIssued → mail.send-invoice",
    ),
    "a question that was never asked": (
        lambda folder: letter(folder, "How was").unlink(),
        "ReturnPeriodEnded → mail.ask-customer",
    ),
    "an office that was not told": (
        lambda folder: letter(folder, "No parcel").unlink(),
        "ParcelGivenUp → mail.tell-office",
    ),
    "a lost report": (lambda folder: one_of(folder / "reports").unlink(), "DayClosed → analytics.report-day"),
    "a lost parcel": (
        lambda folder: change_book(folder, "parcels", without_last_accepted),
        "OrderPlaced → warehouse.pack",
    ),
    "a parcel packed twice": (
        lambda folder: change_book(folder, "parcels", with_accepted_twice),
        "OrderPlaced → warehouse.pack",
    ),
    "a parcel of an order rolled back": (
        lambda folder: change_book(folder, "parcels", about_a_refused_order),
        "OrderPlaced → warehouse.pack",
    ),
    "a lost push": (
        lambda folder: change_book(folder, "pushes", without_last_accepted),
        "OrderMoved → mail.push-to-app",
    ),
    "pushes in the wrong order": (
        lambda folder: change_book(folder, "pushes", in_wrong_order),
        "OrderMoved → mail.push-to-app",
    ),
    "a wrong amount": (
        lambda folder: execute(folder, "UPDATE payment SET amount_cents = 1 WHERE id = (SELECT min(id) FROM payment)"),
        "OrderPlaced → billing.charge",
    ),
    "an order not marked as paid": (
        lambda folder: execute(folder, "UPDATE orders SET paid = 0 WHERE number = (SELECT min(number) FROM orders)"),
        "PaymentBooked → orders.note-payment",
    ),
    "an order not marked as sent": (
        lambda folder: execute(folder, "UPDATE orders SET sent = 0 WHERE number = (SELECT min(number) FROM orders)"),
        "ParcelSent → orders.note-parcel",
    ),
    "stock taken twice": (
        lambda folder: execute(folder, "UPDATE product SET stock = stock - 1 WHERE sku = 'MUG-BLUE'"),
        "pieces from stock",
    ),
    "a lost order": (
        lambda folder: execute(folder, "DELETE FROM orders WHERE number = (SELECT min(number) FROM orders)"),
        "orders in the book",
    ),
    "a lost event": (
        lambda folder: execute(folder, "DELETE FROM remit_event WHERE id = (SELECT min(id) FROM remit_event)"),
        "events handed out",
    ),
    "a delivery that never ended": (
        lambda folder: execute(
            folder,
            "UPDATE remit_job SET state = 'ready', finished_at = NULL WHERE id = (SELECT min(id) FROM remit_job)",
        ),
        "deliveries and jobs",
    ),
    "a dead job": (
        lambda folder: execute(
            folder, "UPDATE remit_job SET state = 'dead' WHERE id = (SELECT min(id) FROM remit_job)"
        ),
        "deliveries and jobs",
    ),
}


def plants_of(table: str) -> dict[str, tuple[Callable[[Path], object], str]]:
    """What may be wrong with a table in which every order stands exactly once."""
    _, what = TABLES[table]
    delete = f"DELETE FROM {table} WHERE id = (SELECT min(id) FROM {table})"
    return {
        f"a row of {table} lost": (lambda folder: execute(folder, delete), what),
        f"a row of {table} twice": (lambda folder: execute(folder, insert_of(table)), what),
        f"a row of {table} for an order rolled back": (
            lambda folder: execute(folder, insert_of(table, order=REFUSED)),
            what,
        ),
    }


def send_again(folder: Path) -> None:
    mail = letter(folder, "Your order")
    mail.with_name("again").write_bytes(mail.read_bytes())


async def test_nothing_is_lost_on_sqlite_and_the_audit_would_have_found_it(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    output = play(folder, DATABASE_URL=f"sqlite:///{tmp_path / DATABASE}")
    _check(output)
    (tmp_path / DATABASE).rename(folder / DATABASE)

    assert all(finding.clean for finding in (await look(folder)).values())

    for name, (plant, what) in (PLANTS | plants_of("payment") | plants_of("sale")).items():
        copy = shutil.copytree(folder, tmp_path / name.replace(" ", "-"))
        plant(copy)
        assert not (await look(copy))[what].clean, f"the audit does not find {name}"

    before = (await look(folder))["InvoiceIssued → mail.send-invoice"].again or 0
    send_again(folder)
    mails = (await look(folder))["InvoiceIssued → mail.send-invoice"]
    assert mails.clean, "at least once is what was promised"
    assert mails.again == before + 1, "but it is told"


def test_nothing_is_lost_on_postgres(tmp_path: Path) -> None:
    _check(play(tmp_path / "demo", STORE="postgres"))


def test_nothing_is_lost_in_somebodys_database_and_it_is_as_it_was(tmp_path: Path, postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as connection:
        connection.execute("CREATE TABLE orders (number integer)")
        connection.execute("CREATE SCHEMA remit")
    _check(play(tmp_path / "demo", DATABASE_URL=postgres_url))
    with psycopg.connect(postgres_url) as connection:
        schemas = connection.execute("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'shop%'").fetchall()
        assert schemas == []
        assert connection.execute("SELECT count(*) FROM orders").fetchone() == (0,)


def _check(output: str) -> None:
    assert "kill -9 worker" in output
    assert "rescued: all" in output
    said = " ".join(output.split())
    assert "every subscriber saw every committed event, and none that was rolled back" in said
    assert "sent twice 1." in said, "transactions were rolled back, with the events in them"


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
