"""Applications of tests: on a fresh store, watched, closed afterwards, and their domains given back."""

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
    """Makes applications on one store; what the fixture `remit_app` is. A context manager: at its end all are closed.

    with Databases().fresh() as database, Applications(database) as make:
        app = make(domains=[billing])
    """

    def __init__(self, database: FreshDatabase) -> None:
        self.database = database
        self._stack = ExitStack()

    def __call__(
        self, app: Remit | None = None, *, domains: Iterable[Domain[Any]] | None = None, **options: Any
    ) -> Remit:
        """Make an application: a twin of `app`, or one of `domains`. `options` are those of `Remit`.

        It is the application of its domains, and watched, until the test ends; then they belong again to the one that
        had them. Open it with `async with app:` or `with app.sync:` where a test wants to; it is closed in any case.
        Raises `InvalidArgument` unless exactly one of both is given, and what `Remit` raises.
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
    """Close what a test has opened by sending, on whatever event loop."""
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
