"""The outside world, in a process of its own: a mail server and a warehouse. Both write down what reaches them.

python -m shop.demo.world FOLDER
"""

import asyncio
import json
import mailbox
import signal
import socket
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import uvicorn
from aiosmtpd.smtp import SMTP, Envelope, Session
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from shop.demo.outside import PACKED, Answer, Outside

LATE_BY = 3.0
"""Seconds that the warehouse takes where it is late; the shop of the demo waits for less."""


class MailServer:
    """Puts what arrives into a Maildir, and says so only then."""

    def __init__(self, folder: Path) -> None:
        self._mailbox = mailbox.Maildir(folder, create=True)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        assert isinstance(envelope.content, bytes)
        self._mailbox.add(envelope.content)
        return "250 OK"


class Warehouse:
    """Accepts parcels, and at times fails: every 7th order at first, every 13th it is busy, every 31st it is late.

    The number of the order decides, so that every demo meets the same troubles.
    """

    def __init__(self, book: Path) -> None:
        self._book = book.open("a", encoding="utf-8")
        self._deliveries: Counter[str] = Counter()
        self._packed: set[str] = set()

    async def post_parcel(self, request: Request) -> JSONResponse:
        try:
            key, order = request.headers["Idempotency-Key"], await request.json()
        except ClientDisconnect:  # its worker was killed
            return JSONResponse({}, 400)
        answer = self._answer(key, int(order["order"][-6:]))
        self._write(key, order, answer)
        match answer:
            case Answer.FAILED:
                return JSONResponse({"error": "the conveyor belt is stuck"}, 500)
            case Answer.BUSY:
                return JSONResponse({"error": "too much at once"}, 429, headers={"Retry-After": "1"})
            case Answer.LATE:
                await asyncio.sleep(LATE_BY)
            case Answer.ACCEPTED | Answer.KNOWN:
                pass
        return JSONResponse({"parcel": f"P-{order['order']}"})

    def _answer(self, key: str, number: int) -> Answer:
        if key in self._packed:
            return Answer.KNOWN
        self._deliveries[key] += 1
        first = self._deliveries[key] == 1
        if first and number % 7 == 0:
            return Answer.FAILED
        if first and number % 13 == 0:
            return Answer.BUSY
        return Answer.LATE if first and number % 31 == 0 else Answer.ACCEPTED

    def _write(self, key: str, order: dict[str, Any], answer: Answer) -> None:
        if answer in PACKED:
            self._packed.add(key)
        pieces = sum(line["quantity"] for line in order["lines"])
        line = json.dumps({"key": key, "order": order["order"], "answer": answer, "pieces": pieces})
        self._book.write(line + "\n")
        self._book.flush()


async def run(folder: Path) -> None:
    """Serve until SIGTERM. `addresses.json` says where, once both servers listen."""
    outside = Outside(folder)
    mail_server = MailServer(outside.mailbox)
    loop = asyncio.get_running_loop()
    mail = await loop.create_server(lambda: SMTP(mail_server, ident="demo", loop=loop), "127.0.0.1", 0)
    routes = [Route("/parcels", Warehouse(outside.parcels).post_parcel, methods=["POST"])]
    web = uvicorn.Server(uvicorn.Config(Starlette(routes=routes), log_level="warning", lifespan="off"))
    door = socket.create_server(("127.0.0.1", 0))
    addresses = {"mail_port": mail.sockets[0].getsockname()[1], "warehouse_port": door.getsockname()[1]}
    draft = folder / "addresses.draft"
    draft.write_text(json.dumps(addresses))
    draft.rename(folder / "addresses.json")
    await web.serve(sockets=[door])  # until a signal
    mail.close()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asyncio.run(run(Path(sys.argv[1])))
