"""Applications of tests: on a fresh store, watched, closed afterwards, with their domains bound temporarily."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable
from contextlib import ExitStack
from typing import Any, Self

from remit.app import Remit
from remit.catalog import Domain
from remit.errors import InvalidArgument
from remit.testing.databases import FreshDatabase
from remit.testing.watches import watching


class Applications:
    """Makes applications on one store; the value of the fixture `remit_app`. A context manager that closes them all.

    with Databases().fresh() as database, Applications(database) as make:
        app = make(domains=[billing])
    """

    def __init__(self, database: FreshDatabase) -> None:
        self.database = database
        self._stack = ExitStack()

    def __call__(
        self, app: Remit | None = None, *, domains: Iterable[Domain[Any]] | None = None, **options: Any
    ) -> Remit:
        """Make an application: a copy of `app`, or one of `domains`. `options` are those of `Remit`.

        Its domains are bound to it, and it is watched, until the test ends; then they are bound to their previous
        application. Open it with `async with app:` or `with app.sync:` if a test needs to; it is closed in any case.
        Raises `InvalidArgument` unless exactly one of both is given, and the errors of `Remit`.
        """
        if (app is None) == (domains is None):
            raise InvalidArgument("remit_app takes an application, or domains=[…]: one of them.")
        owned = tuple(domains or ()) if app is None else app.catalog.domains
        before = [(domain, domain.binding) for domain in owned]
        place: dict[str, Any] = {"schema": self.database.schema, **options}
        made = Remit(self.database.url, domains=owned, **place) if app is None else app.twin(self.database.url, **place)
        for domain, binding in before:
            self._stack.callback(domain.rebind, binding)
        self._stack.enter_context(made.bound())
        self._stack.callback(_close, made)
        self._stack.enter_context(watching(made))
        return made

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def _close(app: Remit) -> None:
    """Close an application that a test has opened by sending, on any event loop."""
    app.sync.__exit__()
    left = list(app._connections._awaiting.values())

    async def close() -> None:
        for database in left:
            await database.close()

    if left:
        thread = threading.Thread(target=lambda: asyncio.run(close()), name="remit-testing")
        thread.start()  # another loop may be the current one of this thread
        thread.join()
        app._connections._awaiting.clear()
