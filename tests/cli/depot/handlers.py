import asyncio
import time
from pathlib import Path

from depot.messages import Depot, Hang, Lose, Pack, Recount, Weigh, depot

from remit import Run, Skip


@depot.handles(Pack)
async def pack(job: Pack, run: Run[Depot]) -> str:
    run.log.info("packing parcel %d", job.number)
    if job.ledger:
        with Path(job.ledger).open("a") as ledger:
            ledger.write(f"{job.number}\n")
    await asyncio.sleep(job.seconds)
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


@depot.handles(Hang)
def hang(job: Hang, run: Run[Depot]) -> None:
    time.sleep(job.seconds)
