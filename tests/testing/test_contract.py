"""The fakes and the real domains keep one contract, on each store and in both calling styles."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from contextvars import copy_context
from typing import Any

import pytest

from remit import Remit
from remit.testing import Applications, Fake, enqueued, published
from remit.testing.contract import Pack, Packed, PortContract, Subject, courier, depot


class Verbs:
    """A blocking face in the clothes of a port."""

    def __init__(self, face: Any) -> None:
        self._face = face

    def __getattr__(self, name: str) -> Any:
        verb = getattr(self._face, name)

        async def call(*args: Any, **options: Any) -> Any:
            return verb(*args, **options)

        return call


class TestFake(PortContract):
    @pytest.fixture
    def port(self) -> Subject:
        fake = Fake(depot, domains=[courier])
        return Subject(fake, lambda: list(fake.enqueued(Pack)), lambda: list(fake.published(Packed)))


class TestBlockingFake(PortContract):
    @pytest.fixture
    def port(self) -> Subject:
        fake = Fake(depot)
        port: Any = Verbs(fake.sync)
        return Subject(port, lambda: list(fake.enqueued(Pack)), lambda: list(fake.published(Packed)))


class TestFakeThatStandsIn(PortContract):
    @pytest.fixture
    def port(self) -> Iterator[Subject]:
        with Fake(depot).standing_in() as fake:
            yield Subject(depot, lambda: list(fake.enqueued(Pack)), lambda: list(fake.published(Packed)))


class TestDomain(PortContract):
    @pytest.fixture
    def port(self, depots: Remit) -> Iterator[Subject]:
        with asyncio.Runner() as runner:

            def call(verb: Coroutine[Any, Any, Any]) -> Any:
                return runner.run(verb, context=copy_context())

            runner.run(depots.__aenter__())
            yield Subject(depot, lambda: list(enqueued(Pack)), lambda: list(published(Packed)), call)
            runner.run(depots.__aexit__())


class TestBlockingDomain(PortContract):
    @pytest.fixture
    def port(self, depots: Remit) -> Subject:
        port: Any = Verbs(depot.sync)
        return Subject(port, lambda: list(enqueued(Pack)), lambda: list(published(Packed)))


@pytest.fixture
def depots(make: Applications) -> Remit:
    return make(domains=[depot, courier])
