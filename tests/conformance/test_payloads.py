"""A payload comes back byte for byte, whatever is in it, and so does what else is text."""

import json
from typing import Any

import pytest

from remit.codec import encode
from remit.jobs import operations as jobs
from remit.jobs.ids import new_token
from remit.jobs.states import Completed, Failed, Failure, GaveUp, Skipped, State
from tests.conformance.desk import Desk, message_of

PAYLOADS = {
    "escaped NUL": r'{"a":"\u0000","b":"x\u0000y"}',
    "lone surrogate": r'{"a":"\ud800","b":"\udfff\ud800"}',
    "escaped pair": r'{"a":"\ud83d\ude00"}',
    "unicode": '{"grüße":"日本語 😀 \u200b e\u0301 \U0010ffff"}',
    "spaces and order": '{ "b" : 1,\t"a":\n[ 1 ,2 ]}',
    "a key twice": '{"a":1,"a":2}',
    "big integers": json.dumps({"a": 2**53 + 1, "b": -(2**63), "c": 2**64 - 1, "d": 10**40}),
    "numbers as they were written": '{"a":1.0,"b":1e3,"c":0.10000000000000000000001,"d":-0}',
    "quotes and backslashes": r'{"a":"\\\" \\u0041 ' ' % %s ? $1 :now ::text {x}"}',
    "no JSON at all": "\x01\x02 plain 'text' \\ -- ; \n",
    "empty": "",
}


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
async def test_a_payload_comes_back_byte_for_byte(desk: Desk, payload: str) -> None:
    id = await desk.enqueue(payload=payload)
    assert (await desk.get(id)).payload_text == payload
    claim = await desk.claim_one()
    assert claim.payload == payload
    message = message_of(claim, payload=payload)
    await desk.finish(claim, Completed(), messages=[message])
    assert (await desk.get(message["id"])).payload_text == payload


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
async def test_a_dead_letter_holds_its_payload_byte_for_byte(desk: Desk, payload: str) -> None:
    claim = await desk.running(payload=payload)
    await desk.finish(claim, GaveUp("unreadable"))
    job = await desk.get(claim.id)
    assert (job.state, job.payload_text, job.reason) == (State.DEAD, payload, "unreadable")
    await desk(jobs.retry, claim.id, token=new_token())
    assert (await desk.claim_one()).payload == payload


async def test_a_payload_of_a_megabyte(desk: Desk) -> None:
    payload = encode({"text": "ä€😀" * 120_000})
    assert len(payload.encode()) > 1_000_000
    id = await desk.enqueue(payload=payload)
    assert (await desk.claim_one()).payload == (await desk.get(id)).payload_text == payload


RESULTS: dict[str, Any] = {"NUL": "a\0b", "big": 2**63 - 1, "text": "日本語 😀", "nested": {"a": [1, None, True]}}


@pytest.mark.parametrize("result", RESULTS.values(), ids=RESULTS)
async def test_a_result_comes_back_equal(desk: Desk, result: Any) -> None:
    claim = await desk.running()
    await desk.finish(claim, Completed(encode(result)))
    assert (await desk.get(claim.id)).result == result


async def test_a_large_result_and_a_long_traceback(desk: Desk) -> None:
    claim = await desk.running(attempts=5)
    long = "ä" * 200_000
    await desk.finish(claim, Failed(Failure("Error", long, long), 0))
    [failure] = (await desk.get(claim.id)).errors
    assert failure.message == failure.traceback == long
    await desk.promote()
    await desk.finish(await desk.claim_one(), Completed(encode(long)))
    assert (await desk.get(claim.id)).result == long


TEXT = 'it\'s 100 % "of" \\ %s ? $1 :now ::uuid {job} 日本語 😀'


async def test_reasons_and_names_of_people_are_text_and_nothing_else(desk: Desk) -> None:
    claim = await desk.running(label=TEXT)
    await desk.finish(claim, Skipped(TEXT))
    assert (await desk.get(claim.id)).reason == TEXT
    id = await desk.enqueue(label=TEXT)
    await desk(jobs.cancel, id, reason=TEXT, by=TEXT)
    job = await desk.get(id)
    assert (job.reason, job.cancelled_by, job.label) == (TEXT, TEXT, TEXT)
    await desk(jobs.pause, TEXT, by=TEXT)
    assert (await desk(jobs.paused))[0][::2] == (TEXT, TEXT)
