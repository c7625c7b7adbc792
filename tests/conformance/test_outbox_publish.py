"""An event is one row in the caller's commit: as it was said, once, in this store and in no other."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from remit.catalog import Domain, Event
from remit.catalog.publishing import event_spec_of, prepare_event
from remit.errors import ForeignTransaction
from remit.jobs.ids import new_id
from remit.outbox import operations as outbox
from remit.outbox.model import EventState
from remit.outbox.rows import event_row
from tests.conformance.desk import DAWN, SECOND, Desk, an_event

AWKWARD = ['"', "\\", "'", "ünïcödé ☃ 🜚", "a\u0000b", "\u2028", "%s :name ? $1 {}", ""]


async def columns_of(desk: Desk, id: str) -> dict[str, Any]:
    columns = await desk.columns("event")
    [found] = await desk.execute(f"SELECT {', '.join(columns)} FROM {{event}} WHERE id = ?", [id])
    return dict(zip(columns, found, strict=True))


async def test_an_event_waits_for_the_relay_as_it_was_published(desk: Desk) -> None:
    id = await desk.publish(payload='{"invoice_id":"i-7"}', scope='{"tenant":"t"}')
    event = await desk.event(id)
    assert (event.id, event.name, event.version, event.domain) == (id, "billing.invoice-paid", 1, "billing")
    assert (event.state, event.attempts, event.error, event.deliveries) == (EventState.PENDING, 0, None, None)
    assert (event.encoding, event.payload, event.scope) == ("json", {"invoice_id": "i-7"}, {"tenant": "t"})
    assert event.occurred_at == event.published_at == datetime.fromtimestamp(DAWN / SECOND, UTC)
    assert (event.dispatched_at, event.correlation, event.causation, event.traceparent) == (None, None, None, None)
    assert event.records == ()


async def test_everything_that_was_said_is_kept(desk: Desk) -> None:
    correlation, causation = new_id(), new_id()
    id = await desk.publish(
        occurred_at=DAWN - 5 * SECOND,
        correlation=correlation,
        causation=causation,
        traceparent="00-1-2-01",
        lane=-(2**63),
        keep=12.5,
        version=32_767,
    )
    event, row = await desk.event(id), await columns_of(desk, id)
    assert event.occurred_at == event.published_at - timedelta(seconds=5)
    assert (event.correlation, event.causation, event.traceparent) == (correlation, causation, "00-1-2-01")
    assert (row["lane"], row["keep"], event.version) == (-(2**63), 12.5, 32_767)


@pytest.mark.parametrize("awkward", AWKWARD)
async def test_a_payload_is_kept_byte_for_byte(desk: Desk, awkward: str) -> None:
    for payload in (json.dumps({"text": awkward}, ensure_ascii=False), json.dumps({"text": awkward})):
        assert (await desk.event(await desk.publish(payload=payload))).payload_text == payload


async def test_an_id_that_is_there_already_is_left_alone(desk: Desk) -> None:
    id = await desk.publish(payload='{"n":1}')
    store = await desk.identity()
    assert await desk(outbox.publish, [an_event(id=id, payload='{"n":2}')], store=store) == 0
    assert (await desk.event(id)).payload == {"n": 1}
    other = an_event()
    assert await desk(outbox.publish, [an_event(id=id), other, other], store=store) == 1
    assert await desk.count("event") == 2


async def test_a_dispatched_event_that_is_published_again_stays_dispatched(desk: Desk) -> None:
    id = await desk.publish()
    await desk.dispatch()
    await desk.publish(id=id)
    assert (await desk.event(id)).state is EventState.DISPATCHED


async def test_nothing_is_written_to_another_store(desk: Desk) -> None:
    with pytest.raises(ForeignTransaction, match="another database"):
        await desk(outbox.publish, [an_event(lane=5)], store=new_id())
    assert await desk.count("event") == 0


async def test_thousands_are_published_in_their_order(desk: Desk) -> None:
    rows = [an_event(lane=place % 3) for place in range(2500)]
    assert await desk(outbox.publish, rows, store=await desk.identity(), atomic=True) == 2500
    found = await desk.execute("SELECT id FROM {event} ORDER BY seq")
    assert [str(id) for (id,) in found] == [row["id"] for row in rows]


async def test_nothing_is_nothing(desk: Desk) -> None:
    assert await desk(outbox.publish, [], store=await desk.identity()) == 0


async def test_a_rollback_leaves_nothing(desk: Desk) -> None:
    await desk.subscribe()
    store = await desk.identity()
    with suppress(LookupError):
        async with desk.session() as (tx, _):
            await outbox.publish(tx, [an_event(), an_event(lane=1)], store=store)
            raise LookupError
    assert await desk.count("event") == 0
    assert (await desk.dispatch()).seen == 0


async def test_a_commit_leaves_everything(desk: Desk) -> None:
    store = await desk.identity()
    async with desk.session() as (tx, _):
        await outbox.publish(tx, [an_event(), an_event(lane=1)], store=store)
    assert await desk.count("event") == 2


async def test_what_a_call_says_is_what_the_row_holds(desk: Desk) -> None:
    """From a class and its options to the columns."""

    class Stock(Domain[None]):
        """Things on shelves."""

    class Moved(Event[Stock], version=3, ordered_by="shelf"):
        """Something stands elsewhere."""

        shelf: str

    Stock()
    id, correlation = new_id(), new_id()
    at = datetime(2026, 3, 1, 12, tzinfo=UTC)
    event = Moved(shelf="a")
    request = prepare_event(
        event_spec_of(event), event, {"id": id, "occurred_at": at, "correlation": correlation}, 1000, keep=60.0
    )
    await desk.publish_many([event_row(request, id, correlation=new_id(), causation=None, traceparent="00-1")])
    record, row = await desk.event(id), await columns_of(desk, id)
    assert (record.name, record.version, record.occurred_at, row["keep"]) == ("stock.moved", 3, at, 60.0)
    assert (record.correlation, record.causation, record.traceparent) == (correlation, None, "00-1")
    assert row["lane"] == request.lane
    assert request.lane is not None
