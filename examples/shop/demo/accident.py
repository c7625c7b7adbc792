"""The accident: a worker is killed with `kill -9` in the middle of its work, and others take over."""

import asyncio
import signal
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass

from remit import JobRecord, Remit
from shop.demo.refusal import Refusal
from shop.demo.story import Story
from shop.demo.team import Child, Team
from shop.demo.waiting import until

PAUSE = 1.0
"""Seconds until somebody notices and starts another worker."""


@dataclass(frozen=True, slots=True)
class Caught:
    """A worker that was stopped at work; `id` is what remit calls it."""

    child: Child
    id: str
    jobs: int
    deliveries: int
    pending: int
    """Events that waited for a relay at that moment."""


async def kill_a_worker(
    app: Remit, team: Team, workers: list[Child], environment: Mapping[str, str], story: Story
) -> None:
    """Kill the worker that leads, with deliveries in its hands; start another; wait until these are in other hands."""
    caught = await _caught_working(app, workers)
    victim, in_hand = caught.child, f"{caught.deliveries} deliveries and {caught.jobs} jobs"
    story.phase = f"kill -9 {victim.name} (pid {victim.pid})"
    await victim.kill()
    killed = asyncio.get_running_loop().time()
    story.tell(f"kill -9 {victim.name} (pid {victim.pid}), leader and relay, with {in_hand} in its hands", "bold red")
    if caught.pending:
        story.tell(f"{caught.pending} events had been committed and not been relayed at that moment", "red")
    await asyncio.sleep(PAUSE)
    fresh = await team.start_worker(environment)
    workers.append(fresh)
    story.tell(f"started {fresh.name} (pid {fresh.pid}) in its place")
    story.phase = f"{in_hand} wait until the lease of {victim.name} has run out"
    await until(lambda: _none_left(app, caught.id))
    seconds = asyncio.get_running_loop().time() - killed
    story.tell(f"rescued: all {in_hand} of {victim.name}, {seconds:.1f} s after the kill", "bold green")


async def _caught_working(app: Remit, workers: list[Child]) -> Caught:
    """Stop the leader while it has deliveries: a process that is stopped cannot end them meanwhile."""
    for _ in range(1000):
        led = {leader.holder for leader in await app.workers.leaders()}
        known = {record.pid: record.id for record in await app.workers.list() if record.id in led}
        for victim in workers:
            worker = known.get(victim.pid)
            if worker is None or not victim.alive:
                continue
            async with AsyncExitStack() as stack:
                victim.signal(signal.SIGSTOP)
                stack.callback(victim.signal, signal.SIGCONT)
                jobs = await _running(app, worker)
                deliveries = sum(job.event is not None for job in jobs)
                if deliveries:
                    outbox = await app.events.outbox()
                    stack.pop_all()
                    return Caught(victim, worker, len(jobs) - deliveries, deliveries, outbox.pending)
        await asyncio.sleep(0.01)
    raise Refusal("no worker was found with deliveries in its hands: nothing to kill")


async def _none_left(app: Remit, worker: str) -> bool:
    return not await _running(app, worker)


async def _running(app: Remit, worker: str) -> list[JobRecord]:
    page = await app.jobs.list(state="running", limit=1000)
    return [job for job in page.jobs if job.worker == worker]
