"""Applications in the shapes that they have: one file, no packages, nested domains, several domains in one package."""

from __future__ import annotations

import importlib
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from remit.boundaries import Boundaries, check, map_of
from remit.catalog import Catalog
from remit.errors import ConfigurationError, InvalidArgument
from tests.boundaries.conftest import Application, Project

DOMAIN = "from remit import Domain, Event, Job, Run\nclass {0}(Domain[object]): ...\n{1} = {0}()\n"


def domain(name: str) -> str:
    return DOMAIN.format(name, name.lower())


def test_an_application_in_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    text = domain("Solo") + (
        "import celery\n"
        "class Work(Job[Solo]): ...\n"
        "class Done(Event[Solo], audit_only=True): ...\n"
        "class Lost(Event[Solo], audit_only=True): ...\n"
        "@solo.handles(Work)\n"
        "def work(job, run):\n"
        "    run.publish(Done())\n"
    )
    (tmp_path / "solo_main.py").write_text(text)
    monkeypatch.setitem(sys.modules, "celery", sys)
    import solo_main

    report = check(Application(Catalog([solo_main.solo])))
    assert [(each.rule, each.line) for each in report.violations] == [("engine-import", 4), ("unpublished-event", 7)]
    assert len(map_of(Application(Catalog([solo_main.solo]))).domains) == 1


def test_a_tree_without_init_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    for name in ("east", "west"):
        folder = tmp_path / "nowhere" / name
        folder.mkdir(parents=True)
        (folder / "messages.py").write_text(domain(name.capitalize()))
        (folder / "inner.py").write_text("")
    (tmp_path / "nowhere" / "east" / "service.py").write_text("from nowhere.west import inner\n")
    (tmp_path / "nowhere" / "web.py").touch()
    from nowhere.east.messages import east
    from nowhere.west.messages import west

    monkeypatch.syspath_prepend(str(tmp_path / "." / ".." / tmp_path.name))  # the same folder in other words
    report = check(Application(Catalog([east, west])))
    assert report.modules == 6
    [found] = report.violations
    assert (found.rule, found.file, found.line) == ("foreign-internals", "nowhere/east/service.py", 1)


def test_a_domain_within_the_package_of_another(project: Project) -> None:
    project.write(
        {
            "messages.py": domain("Outer"),
            "inner/messages.py": domain("Inner"),
            "inner/service.py": "X = 1\n",
            "work.py": "from PKG.inner.service import X\n",
        }
    )
    [found] = project.check("messages:outer", "inner.messages:inner").violations
    assert (found.rule, found.domain) == ("foreign-internals", "outer")


TWO_IN_ONE = {
    "messages.py": "from remit import Domain, Event, Job\n"
    "class Left(Domain[object]): ...\nclass Right(Domain[object]): ...\nleft, right = Left(), Right()\n"
    "class Sync(Job[Left]): ...\nclass Index(Job[Right]): ...\nclass Indexed(Event[Right], audit_only=True): ...\n",
    "handlers.py": "from remit import Run\nfrom PKG.messages import *\n"
    "@left.handles(Sync)\ndef sync(job, run): ...\n"
    "@right.handles(Index)\nasync def index(job: Index, run: Run[Right]) -> None:\n"
    "    run.publish(Indexed())\n    BODY\n",
}


@pytest.mark.parametrize(
    "body, rules",
    [
        ("run.enqueue(Sync())", ["foreign-enqueue"]),
        ("await left.enqueue(Sync())", ["foreign-enqueue"]),
        ("await left.enqueue_named('sync', {})", ["foreign-enqueue"]),
        ("await left.enqueue(made())", ["foreign-enqueue"]),
        ("[left.sync.enqueue(Sync()) for _ in 'a']", ["foreign-enqueue"]),
        ("def inner():\n        left.sync.enqueue(Sync())\n    inner()", ["foreign-enqueue"]),
        ("await right.enqueue(Index())", []),
        ("helper(run)\ndef helper(run: 'Run[Right]'):\n    left.sync.enqueue(Sync())", ["foreign-enqueue"]),
        ("helper()\ndef helper():\n    left.sync.enqueue(Sync())\n    right.sync.enqueue(Index())", []),
    ],
)
def test_a_handler_in_a_shared_package_sends_for_its_own_domain(project: Project, body: str, rules: list[str]) -> None:
    project.write({name: text.replace("BODY", body) for name, text in TWO_IN_ONE.items()})
    found = project.check("messages:left", "messages:right").violations
    assert [each.rule for each in found] == rules
    assert {each.domain for each in found} <= {"right"}


def test_a_handler_that_nothing_imports_is_reported_with_the_module_that_should(project: Project) -> None:
    project.write(
        {
            "messages.py": domain("Shop") + "class Sync(Job[Shop]): ...\nclass Seen(Event[Shop]): ...\n",
            "handlers.py": "from PKG.messages import *\n@shop.on(Seen, name='first')\ndef first(event, run): ...\n"
            "def tell():\n    shop.sync.publish(Seen())\n",
            "listeners.py": "from PKG.messages import *\n@shop.on(Seen, name='second')\ndef second(event, run): ...\n"
            "@shop.handles(Sync)\ndef sync(job, run): ...\n",
        }
    )
    violations = project.check("messages:shop").violations
    assert [(each.rule, each.line) for each in violations] == [("unloaded-handler", 2), ("unloaded-handler", 4)]
    assert violations[0].subject == f"{project.name}.listeners registers the subscription 'second'"
    assert f"Import it in {project.name}.handlers" in violations[0].remedy
    with (project.folder / project.name / "handlers.py").open("a") as file:
        file.write(f"import {project.name}.listeners\n")
    importlib.import_module(f"{project.name}.listeners")  # as the line would, in a process that starts with it
    assert project.check("messages:shop").violations == ()


LOOPS = domain("Shop") + "".join(
    [f"class {name}(Event[Shop]): ...\n" for name in ("OrderPaid", "OrderSent", "OrderClosed")]
    + [f"class {name}(Job[Shop]): ...\n" for name in ("Send", "Poll")]
)
HANDLERS = """
from PKG.messages import *

def tell():
    shop.sync.publish_many([OrderPaid(), OrderSent(), OrderClosed()])

@shop.on(OrderPaid, name="send-it")
def send_it(event, run):
    PAID

@shop.handles(Send)
def send(job, run):
    SEND

@shop.handles(Poll)
def poll(job, run):
    run.enqueue(Poll())

@shop.on(OrderSent, name="close-it")
def close_it(event, run):
    SENT

@shop.on(OrderClosed, name="end")
def end(event, run):
    run.enqueue(Poll())

def later(run):
    run.publish(OrderPaid())

class Sender:
    def go(self, run):
        run.publish(OrderPaid())
"""


PAID, BOTH = "order-paid -> order-paid", "order-paid -> order-sent -> order-paid"


@pytest.mark.parametrize(
    "paid, send, sent, subjects",
    [
        ("run.enqueue(Send())", "run.publish(OrderSent())", "run.publish(OrderClosed())", []),
        ("run.publish(OrderPaid())", "...", "...", [PAID]),
        ("run.enqueue(Send())", "run.publish(OrderPaid())", "...", [PAID]),
        ("run.enqueue(Send())", "run.publish(OrderSent())", "run.publish(OrderPaid())", [BOTH]),
        ("shop.sync.enqueue_named('send', {})", "run.publish(OrderSent())", "later(run)", [BOTH]),
        ("run.enqueue(Send())", "run.enqueue(Send())", "Sender().go(run)", []),
        ("run.enqueue(Send())", "Sender().go(run)", "...", [PAID]),
        (
            "run.publish(OrderSent())",
            "...",
            "run.publish_many([OrderSent(), OrderPaid()])",
            [BOTH, "order-sent -> order-sent"],
        ),
    ],
)
def test_events_that_lead_back_to_themselves(
    project: Project, paid: str, send: str, sent: str, subjects: list[str]
) -> None:
    text = HANDLERS.replace("PAID", paid).replace("SEND", send).replace("SENT", sent)
    project.write({"messages.py": LOOPS, "handlers.py": text})
    found = project.check("messages:shop").violations
    assert {each.rule for each in found} <= {"event-loop"}
    assert sorted(each.subject.replace("shop.", "") for each in found) == subjects
    for each in found:
        assert f'Exempt("event-loop", "{each.subject}"' in each.remedy
    if send == "run.publish(OrderPaid())":
        assert found[0].message.startswith("shop.order-paid → shop.send-it → shop.send → shop.order-paid is a loop")


def test_two_domains_in_one_package(project: Project) -> None:
    project.write(
        {
            "left.py": domain("Left").replace("[object])", "[object], handlers='PKG.left')"),
            "right.py": domain("Right").replace("[object])", "[object], handlers='PKG.right')")
            + "from PKG.left import Left, left\nclass Task(Job[Left]): ...\n"
            "@left.handles(Task)\ndef task(job, run): ...\n",
            "shared.py": "from PKG.left import left\nfrom PKG.right import Task\nleft.sync.enqueue(Task())\n",
        }
    )
    found = project.check("left:left", "right:right").violations
    assert {each.rule for each in found} == {"misplaced-message", "foreign-registrar"}


def test_re_exports_and_stars_are_followed(project: Project) -> None:
    project.write(
        {
            "one/messages.py": domain("One")
            + "class Task(Job[One]): ...\nclass Seen(Event[One], audit_only=True): ...\n",
            "one/handlers.py": "from PKG.one.messages import *\n@one.handles(Task)\ndef task(job, run):\n"
            "    run.publish(Seen())\n",
            "hub/__init__.py": "from PKG.one.messages import *\n"
            "from PKG.one.messages import Task as Work, one as first\n",
            "two/messages.py": domain("Two"),
            "two/service.py": "from PKG import hub\nfrom PKG.hub import Work, first as them\nfrom PKG.hub import *\n\n"
            "def send():\n    them.sync.enqueue(Work())\n    hub.one.sync.enqueue(hub.Task())\n"
            "    one.sync.enqueue(Task())\n",
        }
    )
    found = project.check("one.messages:one", "two.messages:two").violations
    assert [(each.rule, each.line) for each in found] == [("foreign-enqueue", line) for line in (6, 7, 8)]


def test_an_event_that_is_handed_on_to_what_cannot_be_told_counts_as_published(project: Project) -> None:
    messages = domain("Shop") + "".join(
        f"class {name}(Event[Shop], audit_only=True): ...\n" for name in ("OrderPaid", "OrderSent", "OrderLost")
    )
    project.write(
        {
            "messages.py": messages,
            "facts.py": "from PKG.messages import OrderPaid, OrderSent, shop\n"
            "BY_NAME = {'paid': OrderPaid}\n\n"
            "def tell(name):\n    shop.sync.publish(BY_NAME[name]())\n\n"
            "def sent():\n    emit(OrderSent)\n",
        }
    )
    [found] = project.check("messages:shop").violations
    assert (found.rule, found.subject) == ("unpublished-event", "shop.order-lost")


def test_an_event_that_is_handed_to_an_object_of_the_application_counts_as_published(project: Project) -> None:
    project.write(
        {
            "shop/messages.py": domain("Shop")
            + "".join(f"class {name}(Event[Shop], audit_only=True): ...\n" for name in ("OrderPaid", "OrderLost")),
            "shop/paying.py": "from PKG.hub import Hub\nfrom PKG.shop.messages import OrderPaid\n\n"
            "def pay(hub: Hub | None) -> None:\n    hub.publish(OrderPaid())\n",
            "hub.py": "class Hub:\n    def __init__(self, publisher) -> None:\n        self.publisher = publisher\n\n"
            "    def publish(self, event) -> None:\n        self.publisher.publish(event)\n",
        }
    )
    [found] = project.check("shop.messages:shop", boundaries=Boundaries(packages=(project.name,))).violations
    assert (found.rule, found.subject) == ("unpublished-event", "shop.order-lost")


def test_a_scope_key_may_be_a_property(project: Project) -> None:
    text = domain("Shop") + (
        "class Seen(Event[Shop], audit_only=True):\n    tenant: str\n\n"
        "    @property\n    def organization_id(self):\n        return self.tenant\n\n"
        "class Lost(Event[Shop], audit_only=True):\n    tenant: str\n\n"
        "def tell():\n    shop.sync.publish_many([Seen(tenant='1'), Lost(tenant='1')])\n"
    )
    project.write({"messages.py": text})
    [found] = project.check("messages:shop", scope=("organization_id", "tenant")).violations
    assert (found.rule, found.message) == ("missing-scope", "Lost does not carry organization_id")


def test_the_composition_root_may_have_any_name_for_remit(project: Project) -> None:
    project.write(
        {
            "messages.py": domain("Shop"),
            "setup.py": "from remit import Remit as Application\nimport celery\nimport remit.db\n\n"
            "def make():\n    return Application('sqlite://', domains=[])\n",
        }
    )
    assert project.check("messages:shop").violations == ()


def test_entities_of_an_orm_and_in_models(project: Project) -> None:
    project.write(
        {
            "messages.py": domain("Shop")
            + """
from dataclasses import dataclass
import pydantic
from sqlalchemy import Column, Integer, Table
from sqlalchemy.orm import registry

mapper = registry()

@dataclass
class Order:
    number: int

mapper.map_imperatively(Order, Table("orders", mapper.metadata, Column("number", Integer, primary_key=True)))

class Plain(pydantic.BaseModel):
    number: int

class Holding(pydantic.BaseModel):
    order: Order | None = None

class Direct(Job[Shop]):
    order: Order

class Nested(Job[Shop]):
    number: int
    orders: dict[str, list[Order | None]]

class Modelled(Job[Shop]):
    plain: Plain
    holding: Holding
""",
            "handlers.py": "from PKG.messages import *\n"
            + "".join(
                f"@shop.handles({n})\ndef {n.lower()}(job, run): ...\n" for n in ("Direct", "Nested", "Modelled")
            ),
        }
    )
    found = project.check("messages:shop").violations
    assert [(each.rule, each.subject) for each in found] == [
        ("entity-in-payload", "shop.direct order"),
        ("entity-in-payload", "shop.nested orders"),
        ("entity-in-payload", "shop.modelled holding.order"),
    ]


def test_a_domain_in_three_is_named_with_its_circle(project: Project) -> None:
    names = ("a", "b", "c")
    for name, other in zip(names, ("b", "c", "a"), strict=True):
        project.write(
            {
                f"{name}/messages.py": domain(name.upper()),
                f"{name}/api.py": "",
                f"{name}/service.py": f"import PKG.{other}.api\n",
            }
        )

    found = project.check(
        *(f"{n}.messages:{n}" for n in names), boundaries=Boundaries(faces=("messages", "api"))
    ).violations
    assert [(each.rule, each.subject) for each in found] == [("domain-cycle", "a -> b -> c -> a")]


def test_a_file_that_is_no_python_is_named(project: Project) -> None:
    project.write({"messages.py": domain("Shop"), "broken.py": "def (:\n"})
    with pytest.raises(ConfigurationError, match=r"broken\.py"):
        project.check("messages:shop")


def test_a_domain_that_does_not_exist_names_the_nearest() -> None:
    from market.app import app

    with pytest.raises(InvalidArgument, match="Did you mean 'stock'"):
        check(app, domains=["stok"])


@dataclass
class Stopwatch:
    started: float

    @property
    def seconds(self) -> float:
        return time.process_time() - self.started


def test_hundreds_of_modules_take_seconds(project: Project) -> None:
    """Four hundred modules in ten domains, each of which imports, publishes and enqueues."""
    files: dict[str, str] = {}
    for number in range(10):
        name = f"d{number}"
        files[f"{name}/messages.py"] = (
            f"from remit import Domain, Event, Job\nclass D{number}(Domain[object]): ...\n{name} = D{number}()\n"
            + "".join(
                f"class Job{j}(Job[D{number}]): ...\nclass Thing{j}Done(Event[D{number}]): ...\n" for j in range(10)
            )
            + f"class Job10(Job[D{number}]): ...\n"
        )
        files[f"{name}/handlers.py"] = f"from PKG.{name}.messages import *\n" + "".join(
            f"@{name}.handles(Job{j})\ndef job{j}(job, run):\n    run.publish(Thing{j}Done())\n"
            f"@{name}.on(Thing{j}Done, name='on-{j}')\ndef on{j}(event, run):\n    run.enqueue(Job{j + 1}())\n"
            for j in range(10)
        )
        files[f"{name}/handlers.py"] += f"@{name}.handles(Job10)\ndef job10(job, run): ...\n"
        for module in range(38):
            body = "".join(f"def f{k}(x):\n    y = [x, {k}]\n    return sorted(y)\n" for k in range(40))
            files[f"{name}/part{module}.py"] = (
                f"from PKG.{name}.messages import {name}, Job1\nfrom PKG.d0.messages import d0\n{body}"
                f"def send():\n    {name}.sync.enqueue(Job1())\n"
            )
    project.write(files)
    watch = Stopwatch(time.process_time())
    report = project.check(*(f"d{n}.messages:d{n}" for n in range(10)))
    assert report.violations == ()
    assert report.modules == 411
    assert watch.seconds < 20  # of this process; three on an idle machine
