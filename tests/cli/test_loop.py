"""The event loop of `remit worker`."""

import asyncio
import sys

import pytest
import uvloop

from remit.cli.serving import new_loop


def kind() -> type[asyncio.AbstractEventLoop]:
    loop = new_loop()
    loop.close()
    return type(loop)


def test_it_is_uvloops_where_that_is_installed() -> None:
    assert kind() is uvloop.Loop


def test_it_is_asyncios_own_where_it_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert issubclass(kind(), asyncio.BaseEventLoop)
