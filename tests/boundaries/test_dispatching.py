"""Handlers of events: dispatchers pass in every shape, work is found in every disguise."""

import textwrap

import pytest

from remit.boundaries import Boundaries
from tests.boundaries.conftest import Project

MESSAGES = """
    from remit import Domain, Event, Job

    class Shop(Domain[object]): ...

    shop = Shop()

    class Sync(Job[Shop]):
        number: str

    class OrderPaid(Event[Shop]):
        number: str
        items: tuple[str, ...] = ()
"""

AROUND = """
    from __future__ import annotations

    import asyncio
    import logging
    import os
    import smtplib
    import subprocess
    import time
    from collections.abc import Iterator
    from dataclasses import dataclass
    from datetime import datetime, timedelta
    from functools import partial
    from pathlib import Path
    from typing import Protocol
    from uuid import uuid4

    import sqlalchemy
    from remit import Retry, RetryAfter, Run, Skip
    from sqlalchemy.orm import Session

    from PKG import other
    from PKG.messages import OrderPaid, Shop, Sync, shop
    from PKG.outside.mails import send_mail

    log = logging.getLogger(__name__)
    engine = sqlalchemy.create_engine("sqlite://")
    RATES = {"EUR": 1}
    LIMITS = frozenset({"a"})

    class Ledger(Protocol):
        def post(self, number: str) -> None: ...

    @dataclass
    class Service:
        ledger: Ledger
        session: Session

        def settle(self, number: str) -> None:
            self.ledger.post(number)

        def save(self) -> None:
            self.session.commit()

        def key(self, number: str) -> str:
            return number.strip().lower()

    service = Service(None, None)

    @dataclass(frozen=True)
    class Window:
        start: datetime
        def end(self) -> datetime:
            return self.start + timedelta(days=1)

    def numbers(event: OrderPaid) -> Iterator[str]:
        for each in event.items:
            yield each.upper()

    def jobs(event: OrderPaid) -> list[Sync]:
        return [Sync(number=each) for each in numbers(event)]

    async def fan_out(event: OrderPaid, run: Run[Shop]) -> None:
        for job in jobs(event):
            run.enqueue(job)

    def reads_a_file(event: OrderPaid) -> str:
        return Path(event.number).read_text()

    def indirectly(event: OrderPaid) -> str:
        return reads_a_file(event)

    def endless(event: OrderPaid) -> None:
        endless(event)

    @shop.handles(Sync)
    def sync(job: Sync, run: Run[Shop]) -> None:
        run.publish(OrderPaid(number=job.number))
"""

FILES = {
    "messages.py": MESSAGES,
    "other.py": "def compute(number: str) -> str:\n    return number.title()\n",
    "outside/mails.py": "import smtplib\n\ndef send_mail(to: str) -> None:\n    smtplib.SMTP(to)\n",
}


NO_LOOPS = Boundaries(off=("event-loop",))  # many of these handlers send what starts them again


def violations(
    project: Project, body: str, head: str = "async def handler(event: OrderPaid, run: Run[Shop])"
) -> list[str]:
    lines = "\n".join(f"        {line}" for line in body.splitlines())
    handler = f'\n    @shop.on(OrderPaid, name="handler")\n    {head}:\n{lines}\n'
    project.write(FILES | {"handlers.py": AROUND + handler})
    found = project.check("messages:shop", boundaries=NO_LOOPS).violations
    assert {each.rule for each in found} <= {"inline-handler"}, found
    return [each.message for each in found]


@pytest.mark.parametrize(
    "body",
    [
        "run.enqueue(Sync(number=event.number))",
        "run.enqueue(Sync(number=event.number), delay=timedelta(minutes=3), unique=f'{event.number}-{uuid4()}')",
        "run.publish(OrderPaid(number='2'))",
        "await shop.enqueue(Sync(number='1'))\nawait shop.enqueue_named('sync', {'number': '1'})",
        "shop.sync.enqueue_many([Sync(number=each) for each in event.items])",
        "if event.number in LIMITS:\n    raise Skip('limited')\nrun.enqueue(Sync(number=RATES.get('EUR', '1')))",
        "if run.attempt > 2:\n    raise RetryAfter(60)",
        "log.info('paid %s', event.number)\nrun.log.debug('seen')\nrun.progress(0.5)",
        "for number in sorted(set(event.items), key=str.lower):\n    run.enqueue(Sync(number=number.strip()))",
        "await fan_out(event, run)",
        "for job in jobs(event):\n    run.enqueue(job)",
        "run.enqueue(Sync(number=other.compute(event.number)))",
        "window = Window(datetime.fromisoformat(event.number))\nrun.enqueue(Sync(number=str(window.end())))",
        "make = partial(Sync, number=event.number)\nrun.enqueue(make())",
        "def job(number: str) -> Sync:\n    return Sync(number=number)\nrun.enqueue(job(event.number))",
        "try:\n    number = int(event.number)\nexcept ValueError as error:\n    raise Skip(str(error)) from error",
        "match event.items:\n    case [first, *_]:\n        run.enqueue(Sync(number=first.strip()))",
        "if (number := event.number.strip()):\n    run.enqueue(Sync(number=number))\nreturn f'{number!r}'",
        "run.enqueue(Sync(number=service.key(event.number)))",
        "assert run.event is not None\nrun.enqueue(Sync(number=run.event.id))",
        "key = os.path.join('a', event.number)",
        "endless(event)",
        "'''It only has a docstring.'''",
        "flag = run.context.flag\nif flag:\n    run.enqueue(Sync(number='1'))",
    ],
)
def test_dispatchers_pass(project: Project, body: str) -> None:
    assert violations(project, body) == []


@pytest.mark.parametrize(
    "body, told",
    [
        ("async with run.transaction() as tx:\n    await tx.execute('x')", "calls run.transaction (line"),
        ("with run.sync.transaction() as tx:\n    tx.execute('x')", "calls run.sync.transaction"),
        ("await run.complete('done')", "calls run.complete"),
        ("await run.context.orders.pay(event.number)", "calls run.context.orders.pay"),
        ("services = run.context\nservices.orders.pay(event.number)", "calls services.orders.pay"),
        ("pay = run.context.pay\npay(event.number)", "calls pay"),
        ("other.compute(run.context)", "passes run.context to other.compute"),
        ("send_mail(event.number)", "calls send_mail, which calls smtplib.SMTP"),
        ("await asyncio.sleep(1)", "awaits asyncio.sleep"),
        ("time.sleep(1)", "calls time.sleep"),
        ("smtplib.SMTP('host').send_message(event)", "calls smtplib.SMTP"),
        ("with Session(engine) as session:\n    session.add(event)", "calls Session"),
        ("engine.connect()", "calls engine.connect"),
        ("open(event.number).close()", "calls open"),
        ("Path(event.number).write_text('x')", "calls Path"),
        ("subprocess.run(['true'])", "calls subprocess.run"),
        ("indirectly(event)", "calls indirectly, which calls reads_a_file, which calls Path"),
        ("service.settle(event.number)", "calls service.settle, which calls self.ledger.post"),
        ("Service(None, None).save()", "which calls self.session.commit"),
        ("local = Service(None, None)\nlocal.settle(event.number)", "calls local.settle"),
        ("def inner():\n    time.sleep(1)\ninner()", "calls inner, which calls time.sleep"),
        ("[await asyncio.sleep(1) for _ in event.items]", "awaits asyncio.sleep"),
        ("async for each in run.context.stream():\n    pass", "calls run.context.stream"),
        ("os.remove(event.number)", "calls os.remove"),
        ("future = asyncio.ensure_future(other)\nawait future", "asyncio.ensure_future"),
    ],
)  # fmt: skip
def test_work_is_found(project: Project, body: str, told: str) -> None:
    [message] = violations(project, body)
    assert told in message


def test_the_parameters_may_have_any_name(project: Project) -> None:
    assert violations(project, "me.enqueue(Sync(number='1'))", "def handler(it, me)") == []


def test_a_run_under_another_name_is_known(project: Project) -> None:
    [message] = violations(project, "me.context.pay(it)", "def handler(it, me)")
    assert "calls me.context.pay" in message


def test_the_line_is_that_of_the_first_work(project: Project) -> None:
    write(project, "", "x = 1", "time.sleep(x)", "time.sleep(2)")
    [found] = project.check("messages:shop", boundaries=NO_LOOPS).violations
    text = (project.folder / found.file).read_text().splitlines()
    assert text[found.line - 1].strip() == "time.sleep(x)"
    assert found.subject == "shop.handler"


@pytest.mark.parametrize("option, count", [('inline="it is one line"', 0), ("where={'number': '1'}", 1)])
def test_only_a_reason_lifts_it(project: Project, option: str, count: int) -> None:
    write(project, option, "time.sleep(1)")
    assert len(project.check("messages:shop", boundaries=NO_LOOPS).violations) == count


def write(project: Project, option: str, *body: str) -> None:
    lines = [
        f'@shop.on(OrderPaid, name="handler", {option})',
        "def handler(event, run):",
        *(f"    {each}" for each in body),
    ]
    project.write(FILES | {"handlers.py": AROUND + "\n" + "\n".join(f"    {each}" for each in lines) + "\n"})


IN_OTHER_SHAPES = """

class Bound:
    def __init__(self, service: Service) -> None:
        self.service = service
        self.window = Window(datetime.min)

    def go(self, event, run):
        GO

class Kept:
    numbers: list[str] = []
    def save(self, number):
        open(number)
    def key(self, number):
        return number.strip()

kept = Kept()
bound = Bound(service)
"""


@pytest.mark.parametrize(
    "body, registered, told",
    [
        ("run.context.pay(event)", "shop.on(OrderPaid, name='a')(bound.go)", "calls run.context.pay"),
        ("self.service.settle('1')", "shop.on(OrderPaid, name='a')(bound.go)", "calls self.service.settle, which"),
        ("time.sleep(1)", "shop.on(OrderPaid, name='a')(Bound(service).go)", "calls time.sleep"),
        ("...", "shop.on(OrderPaid, name='a')(lambda event, run: run.context.pay(event))", "calls run.context.pay"),
        ("...", "shop.on(OrderPaid, name='a')(lambda e, r: time.sleep(r.attempt))", "calls time.sleep"),
        (
            "...",
            "shop.on(OrderPaid, name='a', where=lambda e: e.number)(lambda e, r: (log.info('a'), send_mail(e)))",
            "calls send_mail",
        ),
        (
            "...",
            "@shop.on(OrderPaid, name='a')\ndef handler(event, run, repo=Kept()):\n    repo.save(event.number)",
            "calls repo.save, which calls open",
        ),
        (
            "...",
            "@shop.on(OrderPaid, name='a')\ndef handler(event, run, *, kept=kept):\n    kept.save(event.number)",
            "calls kept.save, which calls open",
        ),
    ],
)
def test_work_is_found_in_methods_lambdas_and_defaults(project: Project, body: str, registered: str, told: str) -> None:
    [message] = in_other_shapes(project, body, registered)
    assert told in message


@pytest.mark.parametrize(
    "body, registered",
    [
        ("run.enqueue(Sync(number=self.service.key('1')))", "shop.on(OrderPaid, name='a')(bound.go)"),
        ("run.enqueue(Sync(number=str(self.window.end())))", "shop.on(OrderPaid, name='a')(bound.go)"),
        ("...", "shop.on(OrderPaid, name='a')(lambda event, run: run.enqueue(Sync(number=event.number)))"),
        (
            "...",
            (
                "@shop.on(OrderPaid, name='a', where=lambda e: open(e.number))\n"
                "def handler(event, run, kept=kept):\n"
                "    run.enqueue(Sync(number=kept.key(event.number)))"
            ),
        ),
    ],
)
def test_dispatchers_pass_as_methods_lambdas_and_with_defaults(project: Project, body: str, registered: str) -> None:
    assert in_other_shapes(project, body, registered) == []


def in_other_shapes(project: Project, body: str, registered: str) -> list[str]:
    added = IN_OTHER_SHAPES.replace("GO", body) + registered + "\n"
    project.write(FILES | {"handlers.py": AROUND + textwrap.indent(added, "    ")})
    return [each.message for each in project.check("messages:shop", boundaries=NO_LOOPS).violations]


KERNEL = {
    "common/money.py": "import os\n\ndef fmt(x):\n    return x.upper()\n\ndef save(x):\n    os.remove(x)\n",
    "other/messages.py": "from remit import Domain\nclass Other(Domain[object]): ...\nother = Other()\n",
    "other/prices.py": "def price(x):\n    return x\n",
    "shop/messages.py": "from remit import Domain, Event, Job\nclass Shop(Domain[object]): ...\nshop = Shop()\n"
    "class OrderPaid(Event[Shop]):\n    number: str\n\ndef tell():\n    shop.sync.publish(OrderPaid(number='1'))\n",
}


@pytest.mark.parametrize(
    "call, told",
    [
        ("money.fmt(event.number)", None),
        ("fmt(event.number)", None),
        ("money.save(event.number)", "calls money.save, which calls os.remove"),
        ("price(event.number)", "calls price"),
    ],
)
def test_functions_outside_all_domains_are_read_and_those_of_another_domain_are_work(
    project: Project, call: str, told: str | None
) -> None:
    handlers = (
        "from PKG.common import money\nfrom PKG.common.money import fmt\nfrom PKG.other.prices import price\n"
        "from PKG.shop.messages import OrderPaid, shop\n\n"
        f"@shop.on(OrderPaid, name='it')\ndef it(event, run):\n    {call}\n"
    )
    project.write(KERNEL | {"shop/handlers.py": handlers, "shop/prices.py": ""})
    found = project.check(
        "shop.messages:shop", "other.messages:other", boundaries=Boundaries(faces=("messages", "prices"))
    )
    assert len(found.violations) == (told is not None)
    assert all((told or "") in each.message for each in found.violations)
