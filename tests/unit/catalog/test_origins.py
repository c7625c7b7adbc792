"""Where a message comes from, as far as anybody said."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.catalog import Origin, current_origin, traceparent

OURS = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def in_a_run() -> Iterator[None]:
    token = current_origin.set(Origin(correlation="c", causation="j", traceparent=OURS))
    yield
    current_origin.reset(token)


class Span:
    """A span and its context in one, as far as they are read."""

    def __init__(self, trace_id: int, span_id: int, flags: int, *, is_valid: bool = True) -> None:
        self.trace_id, self.span_id, self.trace_flags, self.is_valid = trace_id, span_id, flags, is_valid

    def get_span_context(self) -> Span:
        return self


def trace_module(span: Span) -> types.ModuleType:
    module = types.ModuleType("opentelemetry.trace")
    module.get_current_span = lambda: span  # type: ignore[attr-defined]
    return module


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> Callable[[Span], None]:
    return lambda span: monkeypatch.setitem(sys.modules, "opentelemetry.trace", trace_module(span))


@pytest.fixture(autouse=True)
def untraced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "opentelemetry.trace", raising=False)


def test_without_a_run_and_without_telemetry_there_is_no_trace() -> None:
    assert traceparent() is None


@pytest.mark.usefixtures("in_a_run")
def test_a_run_hands_on_its_own_trace() -> None:
    assert traceparent() == OURS


def test_a_run_without_a_trace_has_none_to_hand_on() -> None:
    token = current_origin.set(Origin(correlation="c", causation="j"))
    assert traceparent() is None
    current_origin.reset(token)


@pytest.mark.usefixtures("in_a_run")
def test_the_span_that_is_open_comes_before_the_run_s(traced: Callable[[Span], None]) -> None:
    traced(Span(0x1, 0x2, 0))
    assert traceparent() == "00-00000000000000000000000000000001-0000000000000002-00"


@pytest.mark.usefixtures("in_a_run")
def test_without_an_open_span_the_run_s_trace_goes_on(traced: Callable[[Span], None]) -> None:
    traced(Span(0, 0, 0, is_valid=False))
    assert traceparent() == OURS


def test_without_an_open_span_and_outside_a_run_there_is_no_trace(traced: Callable[[Span], None]) -> None:
    traced(Span(0, 0, 0, is_valid=False))
    assert traceparent() is None


@pytest.mark.usefixtures("in_a_run")
def test_a_telemetry_that_cannot_be_imported_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", None)
    assert traceparent() == OURS


def test_telemetry_is_not_imported_for_it() -> None:
    traceparent()
    assert "opentelemetry.trace" not in sys.modules


@given(st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1), st.integers(0, 255))
def test_the_ids_of_a_span_are_spelled_in_full(trace_id: int, span_id: int, flags: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "opentelemetry.trace", trace_module(Span(trace_id, span_id, flags)))
        text = traceparent() or ""
    assert [len(part) for part in text.split("-")] == [2, 32, 16, 2]
    assert [int(part, 16) for part in text.split("-")] == [0, trace_id, span_id, flags]
