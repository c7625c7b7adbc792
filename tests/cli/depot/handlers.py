import asyncio
import subprocess
import time
from pathlib import Path

from depot.messages import Block, Depot, Lose, Orphan, Pack, Recount, Weigh, depot

from remit import Run, Skip


@depot.handles(Pack)
async def pack(job: Pack, run: Run[Depot]) -> str:
    run.log.info("packing parcel %d", job.number)
    while job.until and not Path(job.until).exists():
        await asyncio.sleep(0.01)
    return f"parcel {job.number} packed"


@depot.handles(Lose)
async def lose(job: Lose, run: Run[Depot]) -> None:
    raise LookupError(f"parcel {job.number} is not on its shelf")


@depot.handles(Weigh)
async def weigh(job: Weigh, run: Run[Depot]) -> None:
    raise TimeoutError("the scales do not answer")


@depot.handles(Recount)
def recount(job: Recount, run: Run[Depot]) -> None:
    raise Skip(f"shelf {job.shelf} is empty")


@depot.handles(Block)
async def block(job: Block, run: Run[Depot]) -> None:
    run.log.info("blocking the event loop")
    time.sleep(job.seconds)


@depot.handles(Orphan)
async def orphan(job: Orphan, run: Run[Depot]) -> None:
    subprocess.run(["sh", "-c", "sleep 0.2 &"], check=True, stdout=subprocess.DEVNULL)
