"""The contract of both ports of a domain, as a test class: for fakes and adapters of your own.

It needs pytest. Subclass it, and provide the tested object with the fixture `port`; it owns the messages of `depot`:

    class TestMyPort(PortContract):
        @pytest.fixture
        def port(self) -> Iterator[Subject]:
            mine = MyPort(depot)
            yield Subject(mine, lambda: mine.jobs_that_were_sent, lambda: mine.events_that_were_sent)
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, TypeVar, cast
from uuid import UUID, uuid4

import pytest

from remit.catalog import Domain, Event, Job, Publisher, Scheduler, fixed, running_domain
from remit.errors import (
    IdTaken,
    InvalidArgument,
    NotAMessage,
    OwnershipError,
    PayloadError,
    PayloadTooLarge,
    UnknownOption,
)

T = TypeVar("T")


class Depot(Domain, name="depot", handlers=__name__):
    """The domain whose ports are tested."""


class Courier(Domain, name="courier", handlers=__name__):
    """Another one."""


depot, courier = Depot(), Courier()


class Pack(Job[Depot], max_payload=200):
    """A job of the domain."""

    order: str
    parts: int = 1


class Packed(Event[Depot], max_payload=200):
    """An event of the domain."""

    order: str
    parts: int = 1


class Unpack(Job[Depot]):
    """Another job of the domain."""

    order: str


class Unpacked(Event[Depot]):
    """Another event of the domain."""

    order: str


class Ship(Job[Courier]):
    """A job of another domain."""

    order: str


class Shipped(Event[Courier]):
    """An event of another domain."""

    order: str


class Port(Scheduler[Depot], Publisher[Depot], Protocol):
    """Both ports in one."""


@dataclass(frozen=True)
class Subject:
    """The tested object, and access to its results: the jobs and the events that it accepted, without duplicates.

    `call` completes the result of a method, if one event loop must serve the whole test.
    """

    port: Port
    jobs: Callable[[], Sequence[object]]
    events: Callable[[], Sequence[object]]
    call: Callable[[Coroutine[Any, Any, Any]], Any] = asyncio.run


class PortContract:
    """Subclass it with a fixture `port` that returns a `Subject`."""

    # --- accepted messages

    def test_a_job_is_taken_under_an_id_that_is_known_at_once(self, port: Subject) -> None:
        ref = port.call(port.port.enqueue(Pack(order="7", parts=3)))
        assert UUID(ref.id).version == 7
        assert not ref.duplicate
        assert list(port.jobs()) == [Pack(order="7", parts=3)]
        assert list(port.events()) == []

    def test_an_event_is_taken_under_an_id_that_is_known_at_once(self, port: Subject) -> None:
        ref = port.call(port.port.publish(Packed(order="7", parts=3)))
        assert UUID(ref.id).version == 7
        assert not ref.duplicate
        assert list(port.events()) == [Packed(order="7", parts=3)]
        assert list(port.jobs()) == []

    def test_many_come_back_in_their_order(self, port: Subject) -> None:
        jobs = [Pack(order=str(number)) for number in range(20)]
        events = [Packed(order=str(number)) for number in range(20)]
        assert len({ref.id for ref in port.call(port.port.enqueue_many(iter(jobs)))}) == 20
        assert len({ref.id for ref in port.call(port.port.publish_many(iter(events)))}) == 20
        assert sorted(port.jobs(), key=_order) == sorted(jobs, key=_order)
        assert sorted(port.events(), key=_order) == sorted(events, key=_order)

    def test_none_are_taken_of_none(self, port: Subject) -> None:
        assert port.call(port.port.enqueue_many([])) == []
        assert port.call(port.port.publish_many([])) == []
        _nothing(port)

    # --- ids and duplicates

    def test_a_second_message_under_one_id_is_a_duplicate_and_the_first_one_stays(self, port: Subject) -> None:
        id = uuid4()
        for verb, message in _both(port):
            first = port.call(verb(message("first"), id=id))
            second = port.call(verb(message("second"), id=str(id).upper()))
            assert (first.id, first.duplicate) == (str(id), False)
            assert (second.id, second.duplicate) == (str(id), True)
        assert [list(port.jobs()), list(port.events())] == [[Pack(order="first")], [Packed(order="first")]]

    def test_an_id_of_another_kind_is_refused(self, port: Subject) -> None:
        id = uuid4()
        port.call(port.port.enqueue(Pack(order="1"), id=id))
        port.call(port.port.publish(Packed(order="1"), id=id))
        with pytest.raises(IdTaken, match=r"the id of depot\.pack already, and depot\.unpack was not written"):
            port.call(port.port.enqueue(Unpack(order="1"), id=id))
        with pytest.raises(IdTaken, match=r"the id of depot\.packed already, and depot\.unpacked was not written"):
            port.call(port.port.publish(Unpacked(order="1"), id=id))
        assert [list(port.jobs()), list(port.events())] == [[Pack(order="1")], [Packed(order="1")]]

    def test_several_messages_cannot_share_an_id(self, port: Subject) -> None:
        with pytest.raises(InvalidArgument, match="id belongs to one job"):
            port.call(port.port.enqueue_many([Pack(order="1"), Pack(order="2")], id=uuid4()))
        with pytest.raises(InvalidArgument, match="id belongs to one event"):
            port.call(port.port.publish_many([Packed(order="1"), Packed(order="2")], id=uuid4()))
        _nothing(port)

    def test_an_id_that_is_no_uuid_is_refused(self, port: Subject) -> None:
        for verb, message in _both(port):
            with pytest.raises(InvalidArgument, match="id must be a UUID"):
                port.call(verb(message("1"), id="order 1"))
        _nothing(port)

    # --- owners

    def test_a_message_of_another_domain_is_refused(self, port: Subject) -> None:
        foreign_job, foreign_event = cast("Any", Ship(order="1")), cast("Any", Shipped(order="1"))
        with pytest.raises(OwnershipError, match=r"depot cannot enqueue courier\.ship"):
            port.call(port.port.enqueue(foreign_job))
        with pytest.raises(OwnershipError, match=r"depot cannot publish courier\.shipped"):
            port.call(port.port.publish(foreign_event))
        _nothing(port)

    def test_a_handler_of_another_domain_is_refused(self, port: Subject) -> None:
        for verb, message in _both(port):
            with _running(courier), pytest.raises(OwnershipError, match="A handler of courier cannot"):
                port.call(verb(message("1")))
        _nothing(port)

    def test_a_handler_of_the_domain_may_send(self, port: Subject) -> None:
        with _running(depot):
            for verb, message in _both(port):
                port.call(verb(message("1")))
        assert [len(port.jobs()), len(port.events())] == [1, 1]

    def test_the_wrong_kind_and_what_is_no_message_are_refused(self, port: Subject) -> None:
        wrong: list[Any] = [Packed(order="1"), Pack, "pack", None]
        for each in wrong:
            with pytest.raises(NotAMessage):
                port.call(port.port.enqueue(each))
        wrong = [Pack(order="1"), Packed, "packed", None]
        for each in wrong:
            with pytest.raises(NotAMessage):
                port.call(port.port.publish(each))
        _nothing(port)

    # --- payloads

    def test_a_payload_that_does_not_survive_its_way_through_json_is_refused(self, port: Subject) -> None:
        for verb, message in _both(port):
            with pytest.raises(PayloadError, match="field `order`"):
                port.call(verb(message(cast("Any", 7))))
        _nothing(port)

    def test_a_payload_over_its_limit_is_refused(self, port: Subject) -> None:
        for verb, message in _both(port):
            with pytest.raises(PayloadTooLarge, match="over the limit of 200"):
                port.call(verb(message("x" * 200)))
        _nothing(port)

    def test_of_several_all_are_taken_or_none(self, port: Subject) -> None:
        with pytest.raises(PayloadError):
            port.call(port.port.enqueue_many([Pack(order="1"), Pack(order="x" * 200)]))
        with pytest.raises(PayloadError):
            port.call(port.port.publish_many([Packed(order="1"), Packed(order="x" * 200)]))
        _nothing(port)

    # --- options

    def test_every_option_is_taken_and_none_says_nothing(self, port: Subject) -> None:
        due = datetime.now(UTC) + timedelta(hours=1)
        port.call(
            port.port.enqueue(
                Pack(order="1"),
                at=due,
                priority=-3,
                attempts=7,
                backoff=fixed(1),
                expires=due + timedelta(hours=1),
                timeout=60,
                keep=60,
                label="first",
                requested_by={"name": "warehouse"},
                attachment="https://example.com/1.pdf",
            )
        )
        port.call(port.port.enqueue(Pack(order="2"), delay=timedelta(minutes=1), requested_by="warehouse"))
        port.call(port.port.enqueue(Pack(order="3"), delay=None, at=None, priority=None, id=None, tx=None))
        port.call(port.port.publish(Packed(order="1"), occurred_at=due, correlation=uuid4()))
        port.call(port.port.publish(Packed(order="2"), occurred_at=None, correlation=None, id=None, tx=None))
        assert [len(port.jobs()), len(port.events())] == [3, 2]

    def test_an_unknown_option_is_refused_with_the_nearest(self, port: Subject) -> None:
        enqueue, publish = cast("Any", port.port.enqueue), cast("Any", port.port.publish)
        with pytest.raises(UnknownOption, match="Did you mean 'delay'"):
            port.call(enqueue(Pack(order="1"), dealy=1))
        with pytest.raises(UnknownOption, match="Did you mean 'occurred_at'"):
            port.call(publish(Packed(order="1"), ocurred_at=None))
        _nothing(port)

    @pytest.mark.parametrize(
        "options",
        [
            {"delay": -1},
            {"delay": 1, "at": datetime(2030, 1, 1, tzinfo=UTC)},
            {"at": datetime(2030, 1, 1)},  # noqa: DTZ001 - that it knows no zone is what is tested
            {"priority": 100_000},
            {"attempts": 0},
            {"backoff": 5},
            {"timeout": 0},
            {"keep": -1},
            {"label": ""},
            {"requested_by": {"nmae": "warehouse"}},
            {"attachment": "javascript:alert()"},
        ],
        ids=str,
    )
    def test_an_option_that_cannot_be_meant_is_refused(self, port: Subject, options: dict[str, Any]) -> None:
        with pytest.raises(InvalidArgument, match=r"depot\.pack"):
            port.call(port.port.enqueue(Pack(order="1"), **options))
        _nothing(port)


def _nothing(port: Subject) -> None:
    assert [list(port.jobs()), list(port.events())] == [[], []]


def _both(port: Subject) -> list[tuple[Any, Any]]:
    return [
        (port.port.enqueue, lambda order: Pack(order=order)),
        (port.port.publish, lambda order: Packed(order=order)),
    ]


def _order(message: Any) -> int:
    return int(message.order)


@contextmanager
def _running(domain: Domain[Any]) -> Iterator[None]:
    token = running_domain.set(domain)
    try:
        yield
    finally:
        running_domain.reset(token)
