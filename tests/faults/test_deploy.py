"""Faults 54 to 60: releases that know different things work on one store, and payloads that nobody can read."""

from __future__ import annotations

import json

import pytest

from remit import Remit
from remit.errors import WrongSchema
from tests.faults.application import Hold, Note, Parent, Versioned, yard
from tests.faults.harness import Site, until

pytestmark = pytest.mark.fault

OLD = "tests.faults.keeper"


def test_fault_54_an_old_worker_leaves_an_unknown_type_to_a_new_one(site: Site) -> None:
    old = site.worker(application=OLD, lease=1.0).ready()
    ids = site.send_all([Note(number=1), Parent(number=10, children=2), Hold(number=2, gate="")])
    known = site.send_from(OLD, "Retired(number=3)")
    site.await_final(*known)
    until(
        lambda: "does not know are left to others: yard.hold v1, yard.note v1, yard.parent v1" in old.log, "it says so"
    )
    rows = site.check(ended=False)
    assert {(rows[id].state, rows[id].failures) for id in ids} == {("ready", 0)}
    new = site.worker()
    site.await_final()
    rows = site.check()
    assert {row.state for row in rows.values()} == {"completed"}
    assert {line["pid"] for id in ids for line in site.ledger.lines("started", id)} == {new.pid}


def test_fault_55_each_release_runs_the_payload_version_that_it_knows(site: Site) -> None:
    before = site.send_from(OLD, *(f"Versioned(number={n})" for n in range(5)))
    new = site.worker(lease=1.0).ready()
    after = site.send_all([Versioned(number=n, currency="EUR") for n in range(5)])
    site.await_final(*after)
    until(lambda: "does not know are left to others: yard.versioned v1" in new.log, "it says so")
    rows = site.check(ended=False)
    assert {(rows[id].state, rows[id].failures) for id in before} == {("ready", 0)}
    site.worker(application=OLD)
    site.await_final()
    rows = site.check()
    assert {rows[id].result for id in before} == {'"old"'}
    assert {rows[id].result for id in after} == {'"new, in EUR"'}


def test_fault_57_a_new_library_on_an_old_schema(postgres_site: Site) -> None:
    site = postgres_site
    site.database.execute("UPDATE remit.migration SET version = -version")
    worker = site.worker()
    assert worker.wait() == 1
    assert "WrongSchema" in worker.log
    assert "run `remit migrate`" in worker.log
    with pytest.raises(WrongSchema, match=r"run `remit migrate`"), Remit(site.url, domains=[yard]).bound():
        yard.sync.enqueue(Note(number=1))
    assert not site.database.rows()
    site.database.execute("UPDATE remit.migration SET version = -version")
    site.worker()
    site.await_final(site.send(Note(number=2)))
    site.check()


def test_fault_57_an_old_library_on_a_new_schema(site: Site) -> None:
    pending = site.send(Note(number=1))
    site.database.execute("UPDATE remit.migration SET version = version + 9000")
    worker = site.worker()
    assert worker.wait() == 1
    assert "upgrade remit in this process" in worker.log
    with pytest.raises(WrongSchema, match="upgrade remit"), Remit(site.url, domains=[yard]).bound():
        yard.sync.enqueue(Note(number=2))
    site.database.execute("UPDATE remit.migration SET version = version - 9000")
    site.worker()
    site.await_final(pending)
    assert len(site.check()) == 1


SPOILT = [
    ("payload", "no JSON at all"),
    ("payload", ""),
    ("payload", '{"number":"seven"}'),
    ("payload", '{"numbr":7}'),
    ("payload", "\\ud800"),
    ("encoding", "pickle"),
]


def test_fault_60_a_payload_that_cannot_be_parsed_is_set_aside(site: Site) -> None:
    jobs = site.app.sync.jobs
    ids = site.send_all([Note(number=n) for n in range(20)])
    spoilt = dict(zip(ids[4:], SPOILT, strict=False))
    for id, (column, value) in spoilt.items():
        site.database.execute(f"UPDATE remit.job SET {column} = %s WHERE id::text = %s", value, id)
    worker = site.worker().ready()
    rows = site.await_final(*ids)
    assert {rows[id].state for id in ids if id not in spoilt} == {"completed"}
    for id, (column, value) in spoilt.items():
        record = jobs.get(id)
        assert (record.state, record.failures) == ("dead", 1)
        assert "yard.note" in (record.reason or "")
        assert [error.kind for error in record.errors] == ["UndecodablePayload"]
        kept = record.payload_text if column == "payload" else record.encoding
        assert kept == value, "10: byte for byte"
    assert worker.process.poll() is None
    assert worker.log.count("payload cannot be read, job set aside") == len(SPOILT)

    id, good = ids[4], json.dumps({"number": 4})
    site.database.execute("UPDATE remit.job SET payload = %s WHERE id::text = %s", good, id)
    jobs.replay(id)
    site.await_final(id)
    assert jobs.get(id).state == "completed"
