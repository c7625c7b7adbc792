"""The accident: a worker is killed with `kill -9` in the middle of its work, and others take over."""

import asyncio
import signal
from collections.abc import Mapping
from contextlib import AsyncExitStack

from remit import Remit
from shop.demo.refusal import Refusal
from shop.demo.story import Story
from shop.demo.team import Child, Team
from shop.demo.waiting import until

PAUSE = 1.0
"""Seconds until somebody notices and starts another worker."""


async def kill_a_worker(
    app: Remit, team: Team, workers: list[Child], environment: Mapping[str, str], story: Story
) -> None:
    """Kill the worker that leads, with jobs in its hands; start another; wait until those jobs are in other hands."""
    victim, worker, jobs = await _caught_working(app, workers)
    story.phase = f"kill -9 {victim.name} (pid {victim.pid})"
    await victim.kill()
    killed = asyncio.get_running_loop().time()
    story.tell(f"kill -9 {victim.name} (pid {victim.pid}), the leader, with {jobs} jobs in its hands", "bold red")
    await asyncio.sleep(PAUSE)
    fresh = await team.start_worker(environment)
    workers.append(fresh)
    story.tell(f"started {fresh.name} (pid {fresh.pid}) in its place")
    story.phase = f"{jobs} jobs wait until the lease of {victim.name} has run out"
    await until(lambda: _none_left(app, worker))
    story.rescued += jobs
    seconds = asyncio.get_running_loop().time() - killed
    story.tell(f"rescued: all {jobs} jobs of {victim.name}, {seconds:.1f} s after the kill", "bold green")


async def _caught_working(app: Remit, workers: list[Child]) -> tuple[Child, str, int]:
    """Stop the leader while it runs jobs, and say how many: a process that is stopped cannot end them meanwhile."""
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
                if jobs:
                    stack.pop_all()
                    return victim, worker, jobs
        await asyncio.sleep(0.01)
    raise Refusal("no worker was found at work: nothing to kill")


async def _none_left(app: Remit, worker: str) -> bool:
    return not await _running(app, worker)


async def _running(app: Remit, worker: str) -> int:
    page = await app.jobs.list(state="running", limit=1000)
    return sum(job.worker == worker for job in page.jobs)
