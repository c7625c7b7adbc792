"""Handlers of the shop by themselves, and what a process that only sends need not import."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from remit import Remit
from remit.testing import perform, watching
from shop.billing.messages import RenderInvoice
from shop.billing.services import Services
from shop.database import Database
from shop.domains import DOMAINS
from shop.setup import set_up
from tests.shop.conftest import ROOT

SENDING = """
import sys
from remit import Remit
from shop.billing.messages import RenderInvoice, billing
from shop.domains import DOMAINS
app = Remit(sys.argv[1], domains=DOMAINS)
with app.sync:
    billing.sync.enqueue(RenderInvoice(invoice=1))
    billing.sync.enqueue_named("render-invoice", {"invoice": 2})
    print(len(app.sync.jobs.list(job="billing.render-invoice").jobs))
print([name for name in sys.modules if name.startswith("shop.") and name.endswith(".handlers")])
"""


async def test_a_job_whose_target_is_gone_is_skipped_and_says_so(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'shop.db'}")
    set_up(database)
    app = Remit(f"sqlite:///{tmp_path / 'shop.db'}", domains=DOMAINS)
    await app.migrate()
    async with app:
        with watching(app):
            done = await perform(RenderInvoice(invoice=7), context=Services(database, tmp_path))
    database.close()
    assert done.record is not None
    assert (done.outcome, done.record.reason) == ("skipped", "invoice 7 no longer exists")


def test_who_sends_jobs_imports_no_handler(tmp_path: Path) -> None:
    """By class and by name, into a real store."""
    url = f"sqlite:///{tmp_path / 'shop.db'}"
    Remit(url, domains=DOMAINS).sync.migrate()  # which does import them: subscriptions are rows
    command = [sys.executable, "-c", SENDING, url]
    sent = subprocess.run(
        command, cwd=ROOT, env={"PYTHONPATH": str(ROOT / "examples")}, capture_output=True, text=True, check=True
    )
    assert sent.stdout.split("\n")[:2] == ["2", "[]"]
