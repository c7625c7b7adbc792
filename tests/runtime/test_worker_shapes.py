"""Whatever a handler looks like: its body runs, or the job fails, or it is refused where it is declared.

No job is ever completed without having run.
"""

from __future__ import annotations

import pytest

from remit.catalog.handlers import Mode
from tests.runtime.shapes import MODES, SHAPES, forms, jobs, refused
from tests.runtime.working import all_ended, working

RUNS, FAILS, REFUSED = "ran", "fails", "refused"

EXPECTED: dict[str, tuple[str, str, str, str]] = {
    # by mode: the default, async, thread, process
    "plain": (RUNS, RUNS, RUNS, RUNS),
    "native": (RUNS, RUNS, REFUSED, REFUSED),
    "wrapped": (RUNS, RUNS, RUNS, RUNS),
    "wrapped async": (RUNS, RUNS, RUNS, FAILS),
    "made blocking": (FAILS, FAILS, RUNS, RUNS),
    "consumed generator": (RUNS, RUNS, RUNS, RUNS),
    "wrapped generator": (FAILS, FAILS, FAILS, FAILS),
    "wrapped async generator": (FAILS, FAILS, FAILS, FAILS),
    "wrapper beside what it wraps": (RUNS, RUNS, RUNS, RUNS),
    "generator": (REFUSED, REFUSED, REFUSED, REFUSED),
    "async generator": (REFUSED, REFUSED, REFUSED, REFUSED),
    "manager": (FAILS, FAILS, FAILS, FAILS),
    "async manager": (FAILS, FAILS, FAILS, FAILS),
    "delegates": (RUNS, RUNS, RUNS, FAILS),
    "delegates unawaited": (RUNS, RUNS, REFUSED, REFUSED),
    "old coroutine": (REFUSED, REFUSED, REFUSED, REFUSED),
    "makes an awaitable": (RUNS, RUNS, RUNS, FAILS),
    "submits": (FAILS, FAILS, FAILS, FAILS),
    "callee": (RUNS, RUNS, RUNS, REFUSED),
    "async callee": (RUNS, RUNS, REFUSED, REFUSED),
    "generator callee": (REFUSED, REFUSED, REFUSED, REFUSED),
    "method": (RUNS, RUNS, RUNS, REFUSED),
    "async method": (RUNS, RUNS, REFUSED, REFUSED),
    "class": (REFUSED, REFUSED, REFUSED, REFUSED),
    "partial": (RUNS, RUNS, RUNS, REFUSED),
    "async partial": (RUNS, RUNS, REFUSED, REFUSED),
    "partial of a wrapper": (RUNS, RUNS, RUNS, REFUSED),
    "delegating partial": (RUNS, RUNS, RUNS, REFUSED),
    "lambda": (RUNS, RUNS, RUNS, REFUSED),
    "lambda that makes a coroutine": (RUNS, RUNS, RUNS, REFUSED),
    "named lambda": (RUNS, RUNS, RUNS, FAILS),
}


def test_the_table_names_every_shape() -> None:
    assert EXPECTED.keys() == SHAPES.keys()
    expected = {(shape, mode) for shape, row in EXPECTED.items() for mode, end in zip(MODES, row, strict=True)
                if end == REFUSED}  # fmt: skip
    assert set(refused) == expected


@pytest.mark.filterwarnings("ignore:coroutine 'made_blocking' was never awaited")  # it is asyncio.run that drops it
async def test_every_shape_in_every_mode_runs_or_fails_in_words(store_url: str) -> None:
    async with working(store_url, forms) as (app, _):
        refs = [await forms.enqueue(job()) for job in jobs.values()]
        records = dict(zip(jobs, await all_ended(app, *refs), strict=True))
    ends: dict[tuple[str, Mode | None], str] = {}
    for key, record in records.items():
        ends[key] = record.result if record.state == "completed" else FAILS
    assert ends == {
        (shape, mode): end
        for shape, row in EXPECTED.items()
        for mode, end in zip(MODES, row, strict=True)
        if end != REFUSED
    }
    kinds = {key: record.errors[0].kind for key, record in records.items() if record.state == "dead"}
    loops: set[tuple[str, Mode | None]] = {("made blocking", None), ("made blocking", "async")}
    assert {key for key, kind in kinds.items() if kind != "remit.errors.HandlerShape"} == loops
    assert {kinds[key] for key in loops} == {"RuntimeError"}
    assert (
        "asyncio.run() cannot be called from a running event loop" in records["made blocking", None].errors[0].message
    )


def test_a_class_is_refused_in_words() -> None:
    assert "is a class: calling it makes an object and runs nothing; register a function" in refused["class", None]


def test_an_object_cannot_be_imported_by_a_process() -> None:
    assert 'is not a function at the top level of its module, so mode="process"' in refused["partial", "process"]
