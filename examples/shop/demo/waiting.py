"""Waiting for something that nobody announces."""

import asyncio
from collections.abc import Awaitable, Callable

PAUSE = 0.05


async def until(condition: Callable[[], bool | Awaitable[bool]]) -> None:
    """Look again and again until it is so."""
    while True:
        found = condition()
        if found if isinstance(found, bool) else await found:
            return
        await asyncio.sleep(PAUSE)
