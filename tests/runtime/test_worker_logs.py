"""Every record that a handler logs, by whichever logger, names the job that it belongs to."""

from __future__ import annotations

import logging

import pytest

from remit import Domain, Job, Remit, Run


class Library(Domain[None]):
    """Lends books."""


library = Library()


class Lend(Job[Library]):
    title: str


class Shelve(Job[Library]):
    title: str


@library.handles(Lend)
async def lend(job: Lend, run: Run[Library]) -> None:
    logging.getLogger("library.catalogue").warning("lent %s", job.title)
    run.log.warning("lent by run.log", extra={"remit_attempt": "of the caller's own"})


@library.handles(Shelve)
def shelve(job: Shelve, run: Run[Library]) -> None:
    logging.getLogger("library.catalogue").warning("shelved %s", job.title)


async def test_a_record_of_any_logger_names_its_job_in_async_and_thread_handlers(
    store_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = Remit(store_url, domains=[library])
    await app.migrate()
    async with app:
        lent = await library.enqueue(Lend(title="Emma"))
        shelved = await library.enqueue(Shelve(title="Ulysses"))
        await app.drain()
    logging.getLogger("library.catalogue").warning("outside")
    records = {record.getMessage(): record for record in caplog.records if record.name == "library.catalogue"}
    for text, name, id in (("lent Emma", "library.lend", lent.id), ("shelved Ulysses", "library.shelve", shelved.id)):
        record = records[text]
        assert (record.remit_job, record.remit_job_id, record.remit_attempt) == (name, id, 1)  # type: ignore[attr-defined]
    [own] = [record for record in caplog.records if record.getMessage() == "lent by run.log"]
    assert (own.remit_job_id, own.remit_attempt) == (lent.id, "of the caller's own")  # type: ignore[attr-defined]
    assert not hasattr(records["outside"], "remit_job")
