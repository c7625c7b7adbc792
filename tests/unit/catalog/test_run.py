"""The contract of a run, as a fake fulfils it in a user's tests."""

from __future__ import annotations

import pytest

from remit.catalog import Run, SyncRun


def test_a_run_is_a_contract_only() -> None:
    with pytest.raises(TypeError, match="abstract"):
        Run()  # type: ignore[abstract]
    with pytest.raises(TypeError, match="abstract"):
        SyncRun()  # type: ignore[abstract]


def test_the_contract_is_small_and_complete() -> None:
    members = {name for name in (*dir(Run), *Run.__annotations__) if not name.startswith("_")}
    assert members == {
        "attempt",
        "attempts",
        "cancelled",
        "check",
        "complete",
        "context",
        "enqueue",
        "event",
        "job_id",
        "key",
        "log",
        "message",
        "name",
        "publish",
        "publish_later",
        "result",
        "sync",
        "transaction",
    }
