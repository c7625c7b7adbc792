"""A domain whose handlers use Django's ORM, in each mode: what a child process imports is this, and no test."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import urlsplit

import django
from django.conf import settings

if not settings.configured:
    settings.configure(USE_TZ=True, INSTALLED_APPS=[], DATABASES={})
    django.setup()

from asgiref.sync import sync_to_async
from django.db import connections
from django.db.utils import load_backend

from remit import Domain, Job, Retry, Run

VARIABLE = "REMIT_TEST_DJANGO"
"""Holds the URL of the database, for children too."""


class Studio(Domain[None], handlers="tests.adapters.djangoed", retry=Retry(attempts=1)):
    """One slot a queue, so that a connection meets the next run."""


studio = Studio()


class OnLoop(Job[Studio], queue=studio.queue("on-loop", concurrency=1)):
    kept: bool = True


class InThread(Job[Studio], queue=studio.queue("in-threads", concurrency=1)):
    kept: bool = True


class InProcess(Job[Studio], queue=studio.queue("in-processes", concurrency=1)):
    kept: bool = True


def address(url: str, *, kept: bool) -> dict[str, Any]:
    parts = urlsplit(url)
    return {
        "ENGINE": "django.db.backends.postgresql", "NAME": parts.path.lstrip("/"), "USER": parts.username,
        "HOST": parts.hostname, "PORT": parts.port, "PASSWORD": parts.password, "OPTIONS": {}, "TIME_ZONE": None,
        "CONN_MAX_AGE": None if kept else 0, "CONN_HEALTH_CHECKS": False, "AUTOCOMMIT": True, "ATOMIC_REQUESTS": False,
        "TEST": {"MIRROR": None},
    }  # fmt: skip


def ask(*, kept: bool) -> int:
    """The backend that answers a query of this thread's connection."""
    url = os.environ[VARIABLE]
    alias = f"studio-{url.rpartition('/')[2]}-{kept}"  # threads of the process may still hold those of other databases
    connections.databases[alias] = address(url, kept=kept)
    if not hasattr(connections._connections, alias):
        backend = load_backend("django.db.backends.postgresql")
        connections[alias] = backend.DatabaseWrapper(connections.databases[alias], alias)
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return int(cursor.fetchone()[0])


@studio.handles(OnLoop)
async def on_loop(job: OnLoop, run: Run[Studio]) -> int:
    return int(await sync_to_async(ask)(kept=job.kept))


@studio.handles(InThread)
def in_thread(job: InThread, run: Run[Studio]) -> int:
    return ask(kept=job.kept)


@studio.handles(InProcess, mode="process")
def in_process(job: InProcess, run: Run[Studio]) -> int:
    return ask(kept=job.kept)
