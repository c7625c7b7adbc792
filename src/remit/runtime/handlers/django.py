"""Django's connections between runs: what Django does around each request, done around each run.

A connection of Django belongs to a thread, and is given up when its time is over, or when it is dead, only where
somebody calls `close_old_connections`.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from remit.catalog import Hook, Run


def hook() -> Hook | None:
    """The hook, where Django is set up in this process. Nothing of Django is imported to find that out."""
    conf: Any = sys.modules.get("django.conf")
    if conf is None or not conf.settings.configured:
        return None
    return Hook(blocking=_blocking, awaiting=_awaiting, path=None, place=__file__)


@contextmanager
def _blocking(_: Run[Any]) -> Iterator[None]:
    from django.db import close_old_connections  # type: ignore[import-untyped]

    close_old_connections()
    try:
        yield
    finally:
        close_old_connections()


@asynccontextmanager
async def _awaiting(_: Run[Any]) -> AsyncIterator[None]:
    """In the thread in which `sync_to_async`, and with it the async ORM, uses connections."""
    from asgiref.sync import sync_to_async
    from django.db import close_old_connections

    close: Any = sync_to_async(close_old_connections, thread_sensitive=True)
    await close()
    try:
        yield
    finally:
        await close()
