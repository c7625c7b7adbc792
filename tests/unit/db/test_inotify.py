"""Writes to a file are heard, where the system can tell."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from remit.db.sqlite.inotify import Inotify

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "x.db-wal"
    file.touch()
    return file


@pytest.fixture
def inotify(file: Path) -> Iterator[Inotify]:
    inotify = Inotify(file)
    yield inotify
    inotify.close()


def test_silence_is_told_after_the_wait(inotify: Inotify) -> None:
    assert not inotify.wait(0)
    assert not inotify.wait(0.0001)
    assert not inotify.wait(0.01)


def test_a_write_before_the_wait_is_heard_and_heard_once(inotify: Inotify, file: Path) -> None:
    file.write_bytes(b"1")
    assert inotify.wait(0)
    assert not inotify.wait(0)


def test_many_writes_between_two_waits_are_heard_once(inotify: Inotify, file: Path) -> None:
    with file.open("ab", buffering=0) as log:
        for _ in range(100_000):
            log.write(b"1")
    assert inotify.wait(0)
    assert not inotify.wait(0)


async def test_a_write_ends_the_wait(inotify: Inotify, file: Path) -> None:
    waiting = asyncio.create_task(asyncio.to_thread(inotify.wait, 10))
    await asyncio.sleep(0)
    file.write_bytes(b"1")
    async with asyncio.timeout(5):
        assert await waiting


def test_where_there_is_no_file_there_is_nothing_to_hear(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Inotify(tmp_path / "absent")


def test_it_is_closed_once_only_since_the_system_uses_the_number_again(inotify: Inotify, file: Path) -> None:
    inotify.close()
    with file.open("rb") as other:
        inotify.close()
        assert other.read() == b""
