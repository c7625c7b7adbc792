"""Whatever opens a context is one kind of factory afterwards."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
    nullcontext,
)
from typing import Any

import pytest

from remit.catalog.contexts import examine_context
from remit.errors import HandlerShape


async def async_generator() -> AsyncIterator[str]:
    yield "services"


def generator() -> Iterator[str]:
    yield "services"


def plain() -> AbstractContextManager[str]:
    return nullcontext("services")


@pytest.mark.parametrize("function", [async_generator, asynccontextmanager(async_generator)])
async def test_an_async_factory_opens_an_async_context(function: Any) -> None:
    factory = examine_context(function, "billing")
    for _ in range(2):
        opened = factory.open()
        assert isinstance(opened, AbstractAsyncContextManager)
        async with opened as services:
            assert services == "services"


@pytest.mark.parametrize("function", [generator, contextmanager(generator), plain])
def test_a_blocking_factory_opens_a_blocking_context(function: Any) -> None:
    factory = examine_context(function, "billing")
    for _ in range(2):
        opened = factory.open()
        assert isinstance(opened, AbstractContextManager)
        with opened as services:
            assert services == "services"


def needs_an_argument(settings: object) -> AbstractContextManager[str]:
    return nullcontext("services")


async def returns_later() -> AbstractContextManager[str]:
    return nullcontext("services")


@pytest.mark.parametrize("function", [needs_an_argument, returns_later, 3])
def test_what_cannot_be_opened_is_refused(function: Any) -> None:
    with pytest.raises(HandlerShape, match="callable without arguments: a function, async or not, that yields once"):
        examine_context(function, "billing")
