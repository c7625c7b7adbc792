"""Faults 62 to 70 and 94, as far as they are the outbox's: events on their way from a commit to their subscribers."""

from __future__ import annotations

import json
import signal
from collections import Counter
from itertools import groupby

import pytest

from tests.faults.fair import Fair
from tests.faults.harness import PATIENCE, WorkerProcess, until
from tests.faults.market import (
    Broken,
    Paid,
    Perish,
    Quoted,
    Rung,
    Sell,
    SellInProcess,
    SellInThread,
    SellSlowly,
    market,
)
from tests.servers import PostgresServer

pytestmark = pytest.mark.fault

LONG = 30.0
"""Seconds of a lease that nothing here takes away."""


def health(fair: Fair, worker: WorkerProcess) -> dict[str, object]:
    rows = fair.database.execute("SELECT health FROM remit.worker WHERE id::text = %s", worker.id)
    found = rows[0][0] if rows else None
    told: dict[str, object] = json.loads(found) if isinstance(found, str) else found or {}
    return told


# --- releases side by side


def test_fault_67_a_subscriber_is_added_in_a_rolling_deploy(fair: Fair) -> None:
    """Fault 94: from the moment of its row, an old relay serves it too."""
    old = fair.worker(lease=LONG).ready()
    before = fair.publish(*(Rung(number=n) for n in range(20)))
    fair.await_ends("note", before)
    assert "guild.late" not in fair.subscriptions()
    new = fair.worker(release="late", lease=LONG).ready()
    assert "guild.late" in fair.subscriptions()
    new.kill()
    after = fair.publish(*(Rung(number=n) for n in range(100, 120)))
    fair.await_ends("note", after)
    assert {line["pid"] for line in fair.ledger.lines("started")} == {old.pid}, "the old relay has dispatched"
    assert {event.deliveries for id, event in fair.events().items() if id in after} == {2}
    assert not fair.starts("late"), "the old worker leaves them to who knows them"
    fair.worker(release="late")
    fair.await_ends("late", after)
    fair.await_quiet()
    fair.check_pairs({"guild.note": before + after, "guild.late": after})
    assert not set(fair.starts("late")) & set(before), "what was dispatched before its row does not reach it"


def test_fault_67_a_subscriber_is_removed_with_deliveries_under_way(fair: Fair) -> None:
    """They are kept and shown, and go on when its code comes back; or a person retires it."""
    old = fair.worker()
    held = fair.publish(*(Rung(number=n, gate="never") for n in range(3)))
    for id in held:
        fair.await_line("started", id)
    old.kill()
    without = fair.worker(release="noteless", lease=1.0).ready()
    more = fair.publish(*(Rung(number=n) for n in range(10, 15)))
    until(lambda: all(fair.deliveries(id).get("guild.note") == "ready" for id in held + more), "they wait")
    told = "s = app.sync.subscriptions.get('guild.note')\nprint(s.vanished, s.under_way['ready'].count)"
    assert fair.run(told, release="noteless").split() == ["True", "8"]
    again = fair.worker(release="noteless", lease=1.0).ready()
    without.kill()
    until(lambda: "guild.note" in again.log, "whoever leads says that its code is gone")
    fair.run("app.sync.subscriptions.retire('guild.note')", release="noteless")
    late = fair.publish(Rung(number=20))
    until(lambda: fair.events()[late[0]].state == "dispatched", "it is dispatched")
    assert fair.deliveries(late[0]) == {}, "a retired subscription gets nothing more"
    fair.worker()
    fair.open("never")
    fair.await_ends("note", held + more)
    fair.await_quiet()
    fair.check_pairs({"guild.note": held + more})
    assert not fair.deliveries(late[0]), "a worker does not bring back what a person retired"


def test_fault_67_a_subscriber_is_renamed_while_both_releases_work(fair: Fair) -> None:
    old = fair.worker(lease=LONG).ready()
    first = fair.publish(*(Rung(number=n) for n in range(20)))
    id = fair.subscriptions()["guild.note"][0]
    new = fair.worker(release="scribe", lease=LONG).ready()
    second = fair.publish(*(Rung(number=n) for n in range(20, 60)))
    restarted = fair.worker(lease=LONG).ready()  # the old release again: it must not bring its name back
    third = fair.publish(*(Rung(number=n) for n in range(60, 100)))
    fair.await_ends("note", first + second + third)
    fair.await_quiet()
    known = fair.subscriptions()
    assert "guild.note" not in known
    assert (known["guild.scribe"][0], known["guild.scribe"][2]) == (id, ["guild.note"]), "the same one, renamed"
    assert known["guild.scribe"][1] == 2, "and declared anew once"
    fair.check_pairs({"guild.scribe": first + second + third})
    assert Counter(fair.starts("note")) == Counter(first + second + third)
    for worker in (old, new, restarted):
        assert worker.stop() == 0


def test_fault_61_a_renamed_function_is_the_same_subscriber(fair: Fair) -> None:
    held = fair.publish(*(Rung(number=n) for n in range(5)))
    before = fair.subscriptions()
    fair.worker(release="refunctioned")
    fair.await_ends("note", held)
    assert fair.subscriptions() == before


def test_fault_94_an_old_worker_does_not_revert_what_a_new_release_declared(fair: Fair) -> None:
    fair.worker(lease=LONG).ready()
    fair.worker(release="dear", lease=LONG).ready()
    fair.worker(lease=LONG).ready()
    ids = fair.publish(*(Rung(number=n, kind=kind) for n, kind in enumerate(["fine", "dear"] * 20)))
    fair.await_ends("note", ids)
    fair.await_ends("picky", ids[1::2])
    fair.await_quiet()
    assert set(fair.starts("picky")) == set(ids[1::2]), "what the newest release declared holds, whoever relays"
    assert fair.subscriptions()["guild.picky"][1] == 2


# --- payloads that nobody can read


def test_fault_60_an_event_that_its_subscriber_cannot_decode_is_a_dead_delivery(fair: Fair) -> None:
    ids = fair.publish(Rung(number=1), Rung(number=2))
    fair.database.execute("""UPDATE remit.event SET payload = '{"number":"x"}' WHERE id::text = %s""", ids[0])
    fair.worker()
    fair.await_ends("note", ids[1:])
    until(lambda: fair.deliveries(ids[0]) == {"guild.note": "dead"}, "the delivery is dead")
    [job] = [row for row in fair.database.rows().values() if row.name == "guild.note" and row.state == "dead"]
    assert "number" in (job.reason or ""), "it says why"
    assert fair.events()[ids[0]].state == "dispatched"
    fair.database.execute("""UPDATE remit.event SET payload = '{"number":1}' WHERE id::text = %s""", ids[0])
    fair.app.sync.jobs.retry(job.id)
    fair.await_ends("note", ids)


def test_fault_55_an_event_version_that_nobody_knows_waits_and_is_seen(fair: Fair) -> None:
    first = fair.worker(lease=1.0).ready()
    [id] = fair.run("print(market.sync.publish(Quoted(number=1)).id)", release="quoted-2").split()
    until(lambda: fair.app.sync.events.get(id).state == "unknown", "it is set aside")
    assert first.stop() == 0
    worker = fair.worker(lease=1.0).ready()
    until(lambda: "events wait for a release that declares them: market.quoted v2 (1)" in worker.log, "it is logged")
    known = fair.publish(Quoted(number=2))
    fair.await_ends("quotes", known)
    assert fair.app.sync.events.outbox().unknown == 1
    fair.worker(release="quoted-2")
    fair.await_ends("quotes", [id])


# --- relays that die, stand still, or lose their database


@pytest.mark.soak  # tests/crash/test_events.py dies at every call; this is the same with real processes
@pytest.mark.parametrize("point", ["dispatch:before:1", "dispatch:after:1", "release:before:2", "release:after:2"])
def test_fault_09_a_relay_is_killed_with_a_batch_in_its_hands(fair: Fair, point: str) -> None:
    ids = fair.publish(*(Rung(number=n, kind="fine") for n in range(20)))
    paid = fair.publish(*(Paid(number=n, account="one") for n in range(10)))
    fair.worker(die_at=point).wait()
    fair.worker(lease=1.0)
    fair.await_ends("teller", paid)
    fair.await_quiet()
    fair.check_pairs({"guild.note": ids, "guild.picky": ids, "guild.teller": paid})
    assert [id for id, _ in groupby(fair.starts("teller"))] == paid


def test_fault_13_a_relay_that_was_frozen_in_a_batch_leaves_it_to_another(fair: Fair) -> None:
    """Its transaction may be open: what it holds is not seen by others, and comes back when it is thawed or gone."""
    frozen = fair.worker(lease=1.0).ready()
    first = fair.publish(*(Rung(number=n) for n in range(50)))
    paid = fair.publish(*(Paid(number=n, account="one", fails=n % 3 == 0) for n in range(10)))
    frozen.freeze()
    other = fair.worker(lease=1.0)
    if not fair.database.is_sqlite:  # there it may stand with the write lock
        other.ready()
        second = fair.publish(*(Rung(number=n) for n in range(50, 60)))
        fair.await_ends("note", second)
    frozen.thaw()
    fair.await_ends("note", first)
    fair.await_ends("teller", paid)
    fair.await_quiet()
    fair.check_pairs({"guild.note": first, "guild.teller": paid})


def test_fault_22_the_sessions_of_a_relay_are_cut_while_it_dispatches(
    postgres_fair: Fair, postgres_server: PostgresServer
) -> None:
    fair = postgres_fair
    worker = fair.worker(lease=LONG).ready()
    ids: list[str] = []
    for n in range(10):
        ids += fair.publish(*(Rung(number=10 * n + k) for k in range(10)), Paid(number=n, account="one"))
        postgres_server.terminate(application_name="remit:relay")
    events = fair.events()
    paid = [id for id in ids if events[id].name == "market.paid"]
    rung = [id for id in ids if id not in paid]
    fair.await_ends("note", rung)
    fair.await_ends("teller", paid)
    fair.await_quiet()
    fair.check_pairs({"guild.note": rung, "guild.teller": paid})
    assert fair.starts("teller") == paid
    assert worker.stop() == 0


def test_fault_21_the_server_restarts_while_a_backlog_is_dispatched(
    own_postgres_server: PostgresServer, own_fair: Fair
) -> None:
    fair = own_fair
    ids = fair.publish(*(Rung(number=n) for n in range(1500)))
    paid = fair.publish(*(Paid(number=n, account=str(n % 3)) for n in range(30)))
    fair.worker(lease=LONG)
    until(lambda: len(fair.ends("note")) > 10, "it is under way")
    own_postgres_server.restart()
    until(lambda: len(fair.ends("note")) > 700, "it goes on")
    own_postgres_server.crash()
    own_postgres_server.start()
    fair.await_ends("note", ids)
    fair.await_ends("teller", paid)
    fair.await_quiet()
    fair.check_pairs({"guild.note": ids, "guild.teller": paid})


def test_a_relay_that_cannot_work_says_so_in_the_health_of_its_worker_and_heals(fair: Fair) -> None:
    """Somebody took a table away: it is not the events that are to blame."""
    worker = fair.worker(lease=1.0).ready()
    first = fair.publish(Rung(number=1))
    fair.await_ends("note", first)
    gone = "remit_gone" if fair.database.is_sqlite else "gone"
    fair.database.execute(f"ALTER TABLE remit.turn RENAME TO {gone}")
    second = fair.publish(Rung(number=2))
    until(lambda: "relay" in str(health(fair, worker).get("trouble", "")), "the health says so")
    assert health(fair, worker)["ok"] is False
    assert worker.process.poll() is None
    fair.database.execute(f"ALTER TABLE remit.gone RENAME TO {'remit_turn' if fair.database.is_sqlite else 'turn'}")
    fair.await_ends("note", second)
    until(lambda: health(fair, worker).get("ok") is True, "it has healed")
    assert fair.events()[second[0]].attempts == 0


@pytest.mark.soak  # the storm, in slow motion
def test_fault_69_a_backlog_meets_workers_that_are_killed_one_after_the_other(fair: Fair) -> None:
    ids = fair.publish(*(Paid(number=n, account=str(n % 4), fails=n % 5 == 0) for n in range(200)))
    for share in (20, 60):
        worker = fair.worker(lease=1.0)
        until(lambda wanted=share: len(fair.ends("teller")) >= wanted, "some are delivered")  # type: ignore[misc]
        worker.kill()
    fair.worker(lease=1.0)
    fair.await_ends("teller", ids)
    fair.await_quiet()
    fair.check_pairs({"guild.teller": ids})
    seq = {id: event.seq for id, event in fair.events().items()}
    for account in range(4):
        starts = [seq[id] for id in fair.starts("teller") if id in set(ids[account::4])]
        assert starts == sorted(starts), "in order, through failures and deaths"


# --- what a run publishes


def test_run_publish_is_sent_if_and_only_if_the_run_succeeds(fair: Fair) -> None:
    sold = [job(number=n, how="return") for n, job in enumerate((Sell, SellInThread, SellInProcess))]
    failing = [job(number=10 + n, how="raise") for n, job in enumerate((Sell, SellInThread, SellInProcess))]
    failing.append(SellSlowly(number=20, gate="never"))
    ids = [market.sync.enqueue(job).id for job in [*sold, *failing]]
    fair.worker()
    fair.await_final(*ids)
    fair.await_quiet()
    sales = [event for event in fair.events().values() if event.name != "remit.job-died"]
    published = Counter(json.loads(event.payload)["number"] for event in sales)
    assert published == Counter({0: 2, 1: 2, 2: 2}), "each success has published both, and nobody else any"


@pytest.mark.parametrize("kind, point", [(SellInThread, "finish:after:1"), (SellInProcess, "finish:before:1")])
def test_run_publish_and_a_worker_that_is_killed_at_the_completion(
    fair: Fair, kind: type[SellInThread | SellInProcess], point: str
) -> None:
    id = market.sync.enqueue(kind(number=1)).id
    fair.worker(die_at=point).wait()
    fair.worker(lease=1.0)
    fair.await_final(id)
    fair.await_quiet()
    assert Counter(event.name for event in fair.events().values()) == {"market.paid": 1, "market.rung": 1}
    fair.check_pairs({
        f"guild.{by}": [id for id, event in fair.events().items() if event.name == name]
        for by, name in {"teller": "market.paid", "note": "market.rung"}.items()
    })  # fmt: skip


def test_run_publish_of_a_run_that_lost_its_lease_is_refused(postgres_fair: Fair) -> None:
    fair = postgres_fair
    zombie = fair.worker(lease=1.0).ready()
    id = market.sync.enqueue(Sell(number=1, gate="a")).id
    fair.await_line("selling", id)
    zombie.freeze()
    fair.worker(lease=1.0)
    fair.await_line("selling", id, 2)
    fair.open("a")
    fair.await_final(id)
    zombie.thaw()
    until(lambda: "lost" in zombie.log, "it knows")
    fair.await_quiet()
    assert Counter(event.name for event in fair.events().values()) == {"market.paid": 1, "market.rung": 1}


# --- delayed events and deaths


def test_publish_later_fires_once_through_a_kill(fair: Fair) -> None:
    id = market.sync.publish_later(Rung(number=1), delay=0.01).id
    cancelled = market.sync.publish_later(Rung(number=2), delay=600).id
    fair.app.sync.jobs.cancel(cancelled)
    fair.worker(die_at="finish:before:1").wait()
    fair.worker(lease=1.0, die_at="finish:after:1").wait()
    fair.worker(lease=1.0)
    fair.await_final(id)
    fair.await_quiet()
    events = fair.events()
    assert [json.loads(event.payload)["number"] for event in events.values()] == [1]
    fair.check_pairs({"guild.note": list(events)})
    assert fair.database.rows()[cancelled].state == "cancelled"


def test_the_exhausted_hook_is_told_of_every_death_and_a_subscriber_that_dies_does_not_feed_itself(fair: Fair) -> None:
    ids = {how: market.sync.enqueue(Perish(number=1, how=how), attempts=2).id for how in ("raise", "dead letter")}
    events = {how: fair.publish(Broken(number=2, how=how))[0] for how in ("raise", "dead letter")}
    fair.worker()
    for id in ids.values():
        fair.await_line("mourned", id)
    fair.await_quiet()
    assert {
        line["job"]: line["name"] for line in fair.ledger.lines("mourned") if line["by"] == "mourner"
    } == dict.fromkeys(ids.values(), "market.perish")
    undertaken = [line for line in fair.ledger.lines("mourned") if line["by"] == "undertaker"]
    assert {(line["name"], line["died"]) for line in undertaken} == {("guild.fragile", id) for id in events.values()}
    assert len(undertaken) == 2
    deaths = [event for event in fair.events().values() if event.name == "remit.job-died"]
    assert len(deaths) == 4, "the death of who hears of deaths is no event"
    assert len(fair.ledger.lines("fainted")) == 4
    assert Counter(fair.deliveries(event.id)["guild.faint"] for event in deaths) == {"dead": 4}


def test_the_exhausted_hook_is_told_of_a_job_that_killed_its_worker(fair: Fair) -> None:
    id = market.sync.enqueue(Perish(number=1, how="kill"), attempts=1).id
    [event] = fair.publish(Broken(number=2, how="return"))
    for _ in range(2):
        fair.worker(lease=1.0).wait(PATIENCE)
    fair.worker(lease=1.0)
    fair.await_line("mourned", id)
    fair.await_ends("fragile", [event])
    fair.await_quiet()
    [line] = fair.ledger.lines("mourned", id)
    assert "killed its worker" in line["reason"]
    assert fair.database.rows()[id].state == "dead"


# --- a shutdown in the middle


def test_fault_16_a_worker_that_is_stopped_while_it_dispatches_leaves_nothing_half_done(fair: Fair) -> None:
    ids = fair.publish(*(Rung(number=n, kind="fine") for n in range(1200)))
    paid = fair.publish(*(Paid(number=n, account=str(n % 3)) for n in range(30)))
    for share in (1, 400):
        worker = fair.worker(lease=LONG)
        until(lambda wanted=share: len(fair.ends("note")) >= wanted, "it is under way")  # type: ignore[misc]
        worker.signal(signal.SIGTERM)
        assert worker.wait() == 0
        assert not fair.database.workers()
        held = [row for row in fair.database.rows().values() if row.state == "running"]
        assert not held, "everything was given back"
        dispatched = [event for event in fair.events().values() if event.state == "dispatched"]
        pairs = fair.pairs()
        for event in dispatched:
            if event.name == "market.rung":
                assert (pairs[event.id, "guild.note"], pairs[event.id, "guild.picky"]) == (1, 1)
    fair.worker(lease=LONG)
    fair.await_ends("note", ids)
    fair.await_quiet()
    fair.check_pairs({"guild.note": ids, "guild.picky": ids, "guild.teller": paid})
    assert all(row.failures == 0 for row in fair.database.rows().values())
