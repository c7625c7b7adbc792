"""A TCP proxy that cuts, freezes and delays what passes through it: the network of the fault tests."""

import asyncio
import socket
import struct
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

Side = Literal["client", "server"]
When = Literal["before", "after"]
T = TypeVar("T")


class Cut:
    """A cut that waits for its bytes."""

    def __init__(self, matches: Callable[[bytes], bool], side: Side, when: When) -> None:
        self.matches = matches
        self.side = side
        self.when = when
        self._happened = threading.Event()

    @property
    def happened(self) -> bool:
        """Whether the bytes have passed and the connection has been cut."""
        return self._happened.is_set()

    def wait(self, patience: float = 10.0) -> None:
        """Block until the cut has happened; an error when it does not."""
        if not self._happened.wait(patience):
            raise TimeoutError(f"nothing matched on the {self.side}'s side within {patience:.0f} s")

    async def reached(self, patience: float = 10.0) -> None:
        """Wait as `wait` does, without blocking the event loop."""
        await asyncio.to_thread(self.wait, patience)

    def done(self) -> None:
        """Note that it has happened; the proxy calls this."""
        self._happened.set()


class _Link:
    """One client's connection and, once it is dialled, the connection to the server that belongs to it."""

    def __init__(self, client: asyncio.StreamWriter) -> None:
        self.writers: dict[Side, asyncio.StreamWriter] = {"client": client}

    def cut(self, sent_to: Side | None = None) -> None:
        """Drop both sides with a RST; one to which bytes were just sent gets them, and then the end of the stream."""
        for side, writer in self.writers.items():
            if side == sent_to:
                writer.write_eof()
            else:
                _reset(writer)


class Proxy:
    """A proxy on a private loopback port. Its methods may be called from any thread, and return when it is done."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self._target = (host, port)
        self._links: set[_Link] = set()
        self._cuts: list[Cut] = []
        self._delay = 0.0
        self._listener: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self.port = 0
        self.accept()

    def through(self, url: str) -> str:
        """The same database, reached through the proxy."""
        parts = urlsplit(url)
        return parts._replace(netloc=f"{parts.username}@127.0.0.1:{self.port}").geturl()

    @property
    def connections(self) -> int:
        """How many connections pass through now."""
        return len(self._links)

    def cut(self) -> None:
        """Drop every connection, on both sides; new ones are welcome."""

        async def drop() -> None:
            for link in list(self._links):
                link.cut()

        self._call(drop())

    def cut_on(self, matches: Callable[[bytes], bool] | bytes, *, side: Side, when: When) -> Cut:
        """Cut the first connection on which bytes pass that match, once.

        `side` says whose bytes are looked at, as they are read from the socket (a message may come in two pieces, or
        with others); `when` whether they are still forwarded. The two that matter:

        - `cut_on(b"COMMIT", side="client", when="before")`: the server never hears of the commit.
        - `cut_on(b"COMMIT", side="server", when="before")`: it has committed, and the client never learns of it.
        """
        needle = matches
        cut = Cut(needle if callable(needle) else lambda data: needle in data, side, when)

        async def arm() -> None:
            self._cuts.append(cut)

        self._call(arm())
        return cut

    def freeze(self) -> None:
        """Stop forwarding, in both directions, without a word to anybody: a half-open network."""

        async def stop() -> None:
            self._flowing.clear()

        self._call(stop())

    def thaw(self) -> None:
        """Forward again, what was held back first."""

        async def go() -> None:
            self._flowing.set()

        self._call(go())

    def delay(self, seconds: float) -> None:
        """Hold every piece for so long before it is forwarded; 0 ends it."""

        async def slow() -> None:
            self._delay = seconds

        self._call(slow())

    def refuse(self) -> None:
        """Accept no new connection (ECONNREFUSED); those that exist live on."""

        async def close() -> None:
            if self._listener is not None:
                self._listener.close()
                self._listener = None

        self._call(close())

    def accept(self) -> None:
        """Accept connections again, on the same port."""

        async def listen() -> None:
            if self._listener is None:
                self._listener = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
                self.port = self._listener.sockets[0].getsockname()[1]

        self._call(listen())

    def close(self) -> None:
        """Drop everything and end the thread."""

        async def end() -> None:
            self._flowing.set()
            for link in list(self._links):
                link.cut()
            pending = asyncio.all_tasks() - {asyncio.current_task()}
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)

        self.refuse()
        self._call(end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _serve(self, client_reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        link = _Link(client)
        self._links.add(link)
        try:
            await self._flowing.wait()
            if client.is_closing():
                return
            server_reader, server = await asyncio.open_connection(*self._target)
            link.writers["server"] = server
            await asyncio.gather(
                self._pump(link, "client", client_reader, "server"), self._pump(link, "server", server_reader, "client")
            )
        except (OSError, asyncio.CancelledError):
            link.cut()
        finally:
            self._links.discard(link)
            for writer in link.writers.values():
                writer.close()

    async def _pump(self, link: _Link, source: Side, reader: asyncio.StreamReader, target: Side) -> None:
        writer = link.writers[target]
        while data := await _unless_lost(reader.read(65536)):
            if self._delay:
                await asyncio.sleep(self._delay)
            await self._flowing.wait()
            cut = next((cut for cut in self._cuts if cut.side == source and cut.matches(data)), None)
            if cut is not None and cut.when == "before":
                self._make(cut, link, sent_to=None)
            elif not writer.is_closing():  # after a cut the rest is read and thrown away: unread, it would make a RST
                writer.write(data)
                await _unless_lost(writer.drain())
                if cut is not None:
                    self._make(cut, link, sent_to=target)
        await self._flowing.wait()
        if not writer.is_closing():
            writer.write_eof()

    def _make(self, cut: Cut, link: _Link, sent_to: Side | None) -> None:
        self._cuts.remove(cut)
        link.cut(sent_to)
        cut.done()


def _reset(writer: asyncio.StreamWriter) -> None:
    raw = writer.get_extra_info("socket")
    if raw is not None and raw.fileno() >= 0:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _unless_lost(work: Awaitable[T]) -> T | None:
    try:
        return await work
    except OSError:
        return None
