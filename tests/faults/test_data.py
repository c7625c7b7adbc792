"""Faults 81 to 85: what people put into payloads, and what their code raises."""

from __future__ import annotations

import pytest

from remit.errors import PayloadError, PayloadTooLarge
from tests.faults.application import Burden, Note, Outburst, Parent
from tests.faults.harness import Site

pytestmark = pytest.mark.fault


def arrived(site: Site, number: int) -> bytes:
    return (site.folder / f"burden-{number}").read_bytes()


@pytest.mark.parametrize("megabytes", [1, pytest.param(50, marks=pytest.mark.soak)])
def test_fault_81_large_payloads(site: Site, megabytes: int) -> None:
    text = "ä\n" * (megabytes * 250_000)
    id = site.send(Burden(number=1, text=text))
    neighbours = site.send_all([Note(number=n) for n in range(2, 12)])
    site.worker(lease=5.0)
    site.await_final(id, *neighbours)
    site.check()
    assert arrived(site, 1) == text.encode() + b"()"
    assert site.ledger.count("started", id) == 1


def test_fault_81_a_payload_over_the_limit_is_refused_where_it_is_sent(site: Site) -> None:
    with pytest.raises(PayloadTooLarge, match="over the limit"):
        site.send(Burden(number=1, text="x" * 2**28))
    assert not site.database.rows()


def test_fault_82_a_nul_byte_goes_through_and_half_a_surrogate_pair_is_refused(site: Site) -> None:
    text = "a\0b\x01\x1f\x7f\u2028\ufffe😀\\u0000 \\ud800"
    id = site.send(Burden(number=1, text=text))
    with pytest.raises(PayloadError):
        site.send(Burden(number=2, text="half \ud83d of a pair"))
    site.worker()
    site.await_final(id)
    site.check()
    assert arrived(site, 1) == text.encode() + b"()"
    record = site.app.sync.jobs.get(id)
    assert record.payload == {"number": 1, "text": text, "integers": []}


def test_fault_84_integers_beyond_2_to_the_53rd(site: Site) -> None:
    integers = (2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63), 2**64 - 1)
    id = site.send(Burden(number=1, integers=integers))
    site.worker()
    site.await_final(id)
    site.check()
    assert arrived(site, 1) == repr(integers).encode()
    record = site.app.sync.jobs.get(id)
    assert record.payload["integers"] == list(integers)
    assert record.result["integers"] == list(integers)


def test_fault_85_a_traceback_of_five_megabytes(site: Site) -> None:
    ids = site.send_all([Outburst(number=n, length=5_000_000) for n in range(3)])
    neighbour = site.send(Parent(number=10, children=2))
    site.worker(lease=5.0)
    site.await_final(*ids, neighbour)
    site.await_final()
    rows = site.check()
    assert rows[neighbour].state == "completed"
    for id in ids:
        record = site.app.sync.jobs.get(id)
        assert record.state == "dead"
        [error] = record.errors
        assert error.kind == "RuntimeError"
        assert error.message.startswith("a\\0bxxx")
        assert len(error.message) < 3_000
        assert len(error.traceback or "") < 20_000
        assert "in outburst" in (error.traceback or "")
