"""Every verb that takes an id takes it in any spelling."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID, uuid4

import pytest

from remit import Domain, Event, Job, Remit, Run, State
from remit.errors import EventNotFound, InvalidArgument, JobNotFound


class Desk(Domain, handlers=__name__):
    """The domain of these tests."""


desk = Desk()


class File(Job[Desk]):
    number: int


class Filed(Event[Desk], audit_only=True):
    number: int


@desk.handles(File)
async def file(job: File, run: Run[Desk]) -> None: ...


@pytest.fixture
def app(store_url: str) -> Iterator[Remit]:
    app = Remit(store_url, domains=[desk])
    app.sync.migrate()
    with app.bound(), app.sync:
        yield app


def spellings(id: UUID) -> list[str | UUID]:
    return [id, str(id), str(id).upper(), id.hex, f"{{{id}}}", id.urn]


def test_every_verb_of_jobs_takes_an_id_in_any_spelling(app: Remit) -> None:
    jobs, id = app.sync.jobs, uuid4()
    refs = [desk.sync.enqueue(File(number=1), id=each) for each in spellings(id)]
    assert [(ref.id, ref.duplicate) for ref in refs] == [(str(id), False), *[(str(id), True)] * 5]
    for each in spellings(id):
        assert jobs.get(each).id == str(id)
        assert jobs.cancel(each).state is State.CANCELLED
        assert jobs.retry(each).state is State.READY
        assert [job.id for job in jobs.list(correlation=each).jobs] == [str(id)]
        assert jobs.delete(each) is State.READY
        jobs.retry(each)
    own = desk.sync.enqueue(File(number=1)).id
    for spelled in spellings(UUID(own)):
        assert not any(job.id == own for job in jobs.list(after=spelled).jobs)
        assert jobs.whole_id(str(spelled)) == own
    assert jobs.whole_id(own[:20].upper()) == own
    with pytest.raises(JobNotFound, match="there is no job"):
        jobs.get(uuid4())
    for verb in (jobs.get, jobs.cancel, jobs.retry, jobs.delete):
        with pytest.raises(JobNotFound, match="'7' is no id of a job: copy one from `remit jobs list`"):
            verb("7")
    with pytest.raises(InvalidArgument, match="correlation is '7'"):
        jobs.list(correlation="7")
    with pytest.raises(InvalidArgument, match="after is '7'"):
        jobs.list(after="7")


def test_every_verb_of_events_takes_an_id_in_any_spelling(app: Remit) -> None:
    events, id, cause = app.sync.events, uuid4(), uuid4()
    refs = [desk.sync.publish(Filed(number=1), id=each, correlation=cause.urn) for each in spellings(id)]
    assert [(ref.id, ref.duplicate) for ref in refs] == [(str(id), False), *[(str(id), True)] * 5]
    for each in spellings(id):
        assert events.get(each).correlation == str(cause)
        assert events.list(after=each).events == ()
        events.retry(each)
    with pytest.raises(EventNotFound, match="no event"):
        events.get(uuid4())
    for verb in (events.get, events.retry):
        with pytest.raises(EventNotFound, match="'7' is no id of an event: copy one from `remit events list`"):
            verb("7")


async def test_the_async_faces_do_too(app: Remit) -> None:
    async with app:
        id = uuid4()
        await desk.enqueue(File(number=1), id=id)
        await desk.publish(Filed(number=1), id=id)
        assert (await app.jobs.get(id)).id == (await app.events.get(str(id).upper())).id == str(id)
