"""An application that opens its store, forks, and goes on sending in both processes, blocking and from asyncio."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from remit import Remit
from tests.faults.application import Note, yard
from tests.faults.ledger import Ledger


def main(url: str, folder: str) -> None:
    ledger = Ledger(Path(folder))

    def send(first: int) -> None:
        for number in range(first, first + 10):
            ledger.write("sent", yard.sync.enqueue(Note(number=number)).id)

    async def send_async(first: int) -> None:
        for number in range(first, first + 10):
            ledger.write("sent", (await yard.enqueue(Note(number=number))).id)

    async def parent() -> None:
        await send_async(20)
        child = os.fork()  # with an open loop, and with connections of both kinds open
        if child == 0:
            send(30)
            os._exit(0)
        await send_async(40)
        status = await asyncio.to_thread(os.waitpid, child, 0)
        assert status[1] == 0, status
        await send_async(50)

    Remit(url, domains=[yard])
    send(0)
    child = os.fork()
    if child == 0:
        send(10)
        asyncio.run(send_async(60))
        os._exit(0)
    asyncio.run(parent())
    _, status = os.waitpid(child, 0)
    assert status == 0, status
    send(70)


if __name__ == "__main__":
    main(*sys.argv[1:])
