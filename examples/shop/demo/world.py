"""The outside world, in a process of its own: a mail server, a warehouse, a push service. All write down what they get.

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

from shop.demo.outside import TAKEN, Answer, Outside

LATE_BY = 3.0
"""Seconds that the warehouse takes where it is late; the shop of the demo waits for less."""


class MailServer:
    """Puts what arrives into a Maildir, and says so only then."""

    def __init__(self, folder: Path) -> None:
        self._mailbox = mailbox.Maildir(folder, create=True)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        assert isinstance(envelope.content, bytes)
        await asyncio.to_thread(self._mailbox.add, envelope.content)  # it waits for the disk
        return "250 OK"


class Book:
    """What was asked under which key, and what was answered; a key that was accepted once is known."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8")
        self._calls: Counter[str] = Counter()
        self._taken: set[str] = set()

    def is_known(self, key: str) -> bool:
        return key in self._taken

    def is_first(self, key: str) -> bool:
        """Count a call, and tell whether it is the first with its key."""
        self._calls[key] += 1
        return self._calls[key] == 1

    def write(self, key: str, answer: Answer, **said: object) -> None:
        if answer in TAKEN:
            self._taken.add(key)
        self._file.write(json.dumps({"key": key, "answer": answer, **said}) + "\n")
        self._file.flush()


class Warehouse:
    """Accepts parcels, and at times fails: every 7th order at first, every 13th it is busy, every 31st it is late.

    To every 46th order it sends nothing, until somebody has mended the addresses. The number of the order decides, so
    that every demo meets the same troubles.
    """

    def __init__(self, outside: Outside) -> None:
        self._outside = outside
        self._book = Book(outside.parcels)

    async def post_parcel(self, request: Request) -> JSONResponse:
        try:
            key, order = request.headers["Idempotency-Key"], await request.json()
        except ClientDisconnect:  # its worker was killed
            return JSONResponse({}, 400)
        answer = self._answer(key, int(order["order"][-6:]))
        self._book.write(key, answer, order=order["order"], pieces=sum(line["quantity"] for line in order["lines"]))
        match answer:
            case Answer.FAILED:
                return JSONResponse({"error": "the conveyor belt is stuck"}, 500)
            case Answer.BUSY:
                return JSONResponse({"error": "too much at once"}, 429, headers={"Retry-After": "1"})
            case Answer.REFUSED:
                return JSONResponse({"error": "there is no such address"}, 422)
            case Answer.LATE:
                await asyncio.sleep(LATE_BY)
            case Answer.ACCEPTED | Answer.KNOWN:
                pass
        return JSONResponse({"parcel": f"P-{order['order']}"})

    def _answer(self, key: str, number: int) -> Answer:
        if self._book.is_known(key):
            return Answer.KNOWN
        if number % 46 == 0 and not self._outside.addresses_mended.exists():
            return Answer.REFUSED
        first = self._book.is_first(key)
        if first and number % 7 == 0:
            return Answer.FAILED
        if first and number % 13 == 0:
            return Answer.BUSY
        return Answer.LATE if first and number % 31 == 0 else Answer.ACCEPTED


class PushService:
    """Takes what the app shall show; for every 5th order it fails at first."""

    def __init__(self, outside: Outside) -> None:
        self._book = Book(outside.pushes)

    async def post_push(self, request: Request) -> JSONResponse:
        try:
            key, push = request.headers["Idempotency-Key"], await request.json()
        except ClientDisconnect:
            return JSONResponse({}, 400)
        answer = self._answer(key, push)
        self._book.write(key, answer, **push)
        return JSONResponse({}, 503 if answer is Answer.FAILED else 202)

    def _answer(self, key: str, push: dict[str, Any]) -> Answer:
        if self._book.is_known(key):
            return Answer.KNOWN
        fails = int(push["order"][-6:]) % 5 == 0 and not (push["paid"] and push["sent"])
        return Answer.FAILED if self._book.is_first(key) and fails else Answer.ACCEPTED


async def run(folder: Path) -> None:
    """Serve until SIGTERM. `addresses.json` says where, once both servers listen."""
    outside = Outside(folder)
    mail_server = MailServer(outside.mailbox)
    loop = asyncio.get_running_loop()
    mail = await loop.create_server(lambda: SMTP(mail_server, ident="demo", loop=loop), "127.0.0.1", 0)
    routes = [
        Route("/parcels", Warehouse(outside).post_parcel, methods=["POST"]),
        Route("/pushes", PushService(outside).post_push, methods=["POST"]),
    ]
    web = uvicorn.Server(uvicorn.Config(Starlette(routes=routes), log_level="warning", lifespan="off"))
    door = socket.create_server(("127.0.0.1", 0))
    addresses = {"mail_port": mail.sockets[0].getsockname()[1], "http_port": door.getsockname()[1]}
    draft = folder / "addresses.draft"
    draft.write_text(json.dumps(addresses))
    draft.rename(folder / "addresses.json")
    await web.serve(sockets=[door])  # until a signal
    mail.close()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asyncio.run(run(Path(sys.argv[1])))
