"""A network that goes silent for some connections only."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.servers import Proxy


class SelectiveProxy(Proxy):
    """`silence(b"remit:listen")` stops forwarding on the connections whose client has said so, in both directions."""

    def __init__(self, port: int) -> None:
        self._silenced: set[bytes] = set()
        self._speaking = asyncio.Event()
        super().__init__(port)

    def silence(self, name: bytes) -> None:
        self._silenced.add(name)

    def speak(self) -> None:
        """Forward everything again."""
        self._silenced.clear()
        self._loop.call_soon_threadsafe(self._speaking.set)

    def close(self) -> None:
        self.speak()
        super().close()

    async def _pump(self, link: Any, source: Any, reader: Any, target: Any) -> None:
        await super()._pump(link, source, _Overheard(self, link, reader), target)


class _Overheard:
    """A reader that remembers who speaks, and says nothing more of those that are silenced."""

    def __init__(self, proxy: SelectiveProxy, link: Any, reader: asyncio.StreamReader) -> None:
        self._proxy = proxy
        self._link = link
        self._reader = reader

    async def read(self, count: int) -> bytes:
        data = await self._reader.read(count)
        said = getattr(self._link, "said", b"")
        if len(said) < 1000:
            self._link.said = said = said + data  # the first that a client says holds its application_name
        if any(name in said for name in self._proxy._silenced):
            await self._proxy._speaking.wait()
        return data
