"""Random loads below capacity: no job that is ready waits for long while its queue has a free slot.

`LOAD_SEED=… LOAD_SECONDS=… make soak ARGS=tests/liveness` runs a load again.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from random import Random

import pytest

from remit import Remit
from remit.db import fallbacks
from tests.liveness.fleet import OwnWorker, WorkerProcess, fleet
from tests.liveness.judge import BOUND, Pulse, judge
from tests.liveness.load import Load
from tests.runtime.working import opened

SEED = int(os.environ.get("LOAD_SEED", random.randrange(1_000_000)))
SECONDS = float(os.environ.get("LOAD_SECONDS", "40"))
SHORT = 2.0


@pytest.fixture(autouse=True)
def _lose_no_signal(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `fleet.lose_no_signal`, for this process; a worker that is alone needs no sweep of the lanes either."""
    is_alone = request.node.callspec.params["layout"] == "alone"
    for name in ("WAKEUP", "SATURATED", *(("SEQUENCER",) if is_alone else ())):
        monkeypatch.setattr(fallbacks, name, 60.0)


@asynccontextmanager
async def alone(app: Remit, url: str, load: Load) -> AsyncIterator[None]:
    """One worker in this process."""
    worker = await OwnWorker(app, load.queues, str(load.trace)).start()
    yield
    await worker.stop()


@asynccontextmanager
async def coming_and_going(app: Remit, url: str, load: Load) -> AsyncIterator[None]:
    """Workers in this process: there is always one, and each is replaced by the next, or joined for a while."""
    chance = Random(load.seed)
    stays = True

    async def shifts() -> None:
        workers = [await OwnWorker(app, load.queues, str(load.trace)).start()]
        while stays:
            await asyncio.sleep(chance.uniform(0.1, 0.8))
            if len(workers) < 2:
                workers.append(await OwnWorker(app, load.queues, str(load.trace)).start())
            else:
                await workers.pop(chance.randrange(2)).stop()
        for worker in workers:
            await worker.stop()

    task = asyncio.create_task(shifts())
    yield
    stays = False
    await task


@asynccontextmanager
async def two_processes(app: Remit, url: str, load: Load) -> AsyncIterator[None]:
    """Two workers, each in a process of its own."""
    async with AsyncExitStack() as stack:
        workers = [WorkerProcess(url, load.queues, str(load.trace)) for _ in range(2)]
        for worker in workers:
            stack.push_async_callback(worker.stop)
        for worker in workers:
            await worker.start()
        yield


LAYOUTS = {layout.__name__: layout for layout in (alone, coming_and_going, two_processes)}


async def no_ready_job_waits(url: str, folder: Path, layout: str, seed: int, seconds: float) -> None:
    print("LOAD_SEED", seed)
    load = Load(seed, seconds, folder / "trace")
    async with opened(url, fleet) as app:
        with Pulse(url, folder) as pulse:
            async with LAYOUTS[layout](app, url, load):
                await load.run(app, patience=3 * BOUND)
                workers, waits = await load.evidence(app)
            faults = judge(waits, workers, pulse)
    longest = max(wait.end - wait.start for wait in waits)
    print(f"{len(waits)} attempts through {load.queues}; the longest wait {longest:.3f} s")
    assert len(waits) >= len(load.sent)
    report = "\n".join(faults[:20])
    assert not faults, f"{len(faults)} waits are too long in the load of seed {seed}, bound {BOUND} s:\n{report}"


@pytest.mark.parametrize(
    "layout, seed",
    [("alone", 6), ("alone", 7), ("alone", 12), ("coming_and_going", 5), ("two_processes", 8)],
)
async def test_no_ready_job_waits_beside_a_free_slot(store_url: str, tmp_path: Path, layout: str, seed: int) -> None:
    await no_ready_job_waits(store_url, tmp_path, layout, seed, SHORT)


@pytest.mark.soak
@pytest.mark.parametrize("layout", LAYOUTS)
async def test_soak_no_ready_job_waits_beside_a_free_slot_for_long(store_url: str, tmp_path: Path, layout: str) -> None:
    await no_ready_job_waits(store_url, tmp_path, layout, SEED, SECONDS)
