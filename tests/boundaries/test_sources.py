"""What is looked at: every module of the application, in every folder; what is not looked at is reported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from remit.boundaries import TESTS, Boundaries, Report, check
from remit.boundaries.reading import FILE
from remit.errors import ConfigurationError
from tests.boundaries.conftest import Application, Project

BILLING = (
    "from remit import Domain, Event, Job\nclass Billing(Domain[object]): ...\nbilling = Billing()\n"
    "class Sync(Job[Billing]): ...\nclass InvoicePaid(Event[Billing]): ...\n"
)
CATALOG = (
    "from remit import Domain, Job\nclass Catalog(Domain[object]): ...\ncatalog = Catalog()\n"
    "class Index(Job[Catalog]): ...\n"
)
SHOP = {
    "billing/messages.py": BILLING,
    "billing/handlers.py": "from PKG.billing.messages import *\n"
    "@billing.handles(Sync)\ndef sync(job, run):\n    run.publish(InvoicePaid())\n",
    "billing/ledger.py": "def balance():\n    return 1\n",
    "catalog/messages.py": CATALOG,
    "catalog/handlers.py": "from PKG.billing.messages import InvoicePaid\nfrom PKG.catalog.messages import *\n"
    "@catalog.on(InvoicePaid, name='unlock')\ndef unlock(event, run):\n    run.enqueue(Index())\n"
    "@catalog.handles(Index)\ndef index(job, run): ...\n",
}
CROSSING = "from PKG.billing.ledger import balance\n"
DOMAINS = ("billing.messages:billing", "catalog.messages:catalog")


def report(project: Project, files: dict[str, str], **options: object) -> Report:
    project.write(SHOP | files)
    return project.check(*DOMAINS, boundaries=Boundaries(**options) if options else None)  # type: ignore[arg-type]


def found(project: Project, files: dict[str, str], **options: object) -> list[tuple[str, str, int]]:
    """The violations of these files beside those of the shop: rule, file, line."""
    violations = report(project, files, **options).violations
    return [(each.rule, each.file.removeprefix(f"{project.name}/"), each.line) for each in violations]


def without_init(project: Project, *folders: str) -> None:
    for folder in folders:
        (project.folder / project.name / folder / "__init__.py").unlink()


# --- folders


@pytest.mark.parametrize(
    "text, rule",
    [
        (CROSSING, "foreign-internals"),
        ("from PKG.billing.messages import billing, Sync\nbilling.sync.enqueue(Sync())\n", "foreign-enqueue"),
    ],
)
def test_a_folder_without_an_init_file_is_looked_at(project: Project, text: str, rule: str) -> None:
    project.write(SHOP | {"catalog/views/pages.py": text})
    without_init(project, "catalog/views")
    [violation] = project.check(*DOMAINS).violations
    assert (violation.rule, violation.file) == (rule, f"{project.name}/catalog/views/pages.py")


def test_internals_in_a_folder_without_an_init_file_are_internals(project: Project) -> None:
    project.write(
        SHOP | {"billing/core/secret.py": "x = 1\n", "catalog/views.py": "from PKG.billing.core.secret import x\n"}
    )
    without_init(project, "billing/core")
    [violation] = project.check(*DOMAINS).violations
    assert (violation.rule, violation.subject.partition(" -> ")[2]) == (
        "foreign-internals",
        f"{project.name}.billing.core.secret",
    )


def test_a_domain_in_a_folder_without_an_init_file_publishes_and_crosses(project: Project) -> None:
    project.write(SHOP | {"catalog/views.py": CROSSING})
    without_init(project, "billing", "catalog")
    assert [each.rule for each in project.check(*DOMAINS).violations] == ["foreign-internals"]


def test_a_folder_behind_a_link_is_looked_at_and_a_circle_of_links_ends(project: Project, tmp_path: Path) -> None:
    project.write(SHOP)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "pages.py").write_text(CROSSING.replace("PKG", project.name))
    (project.folder / project.name / "catalog" / "views").symlink_to(elsewhere)
    (elsewhere / "again").symlink_to(project.folder / project.name)
    assert "foreign-internals" in {each.rule for each in project.check(*DOMAINS).violations}


def test_what_cannot_be_imported_is_reported_as_not_looked_at(project: Project) -> None:
    project.write(SHOP)
    root = project.folder / project.name
    (root / "catalog" / "v1.2").mkdir()
    (root / "catalog" / "v1.2" / "pages.py").write_text(CROSSING)
    (root / "catalog" / "old.pages.py").write_text(CROSSING)
    (root / "catalog" / "fast.abi3.so").touch()
    (root / "catalog" / ".venv").mkdir()
    (root / "catalog" / ".venv" / "hidden.py").write_text(CROSSING)
    checked = project.check(*DOMAINS)
    assert checked.violations == ()
    assert [(each.file.removeprefix(f"{project.name}/catalog/"), each.why) for each in checked.unread] == [
        ("fast.abi3.so", "it is compiled, and its source is not beside it"),
        ("old.pages.py", "no module can have a dot in its name"),
        ("v1.2", "no package can have a dot in its name"),
    ]
    assert checked.document()["unread"][2]["file"] == f"{project.name}/catalog/v1.2"


# --- files


def test_a_file_that_cannot_be_parsed_is_named_with_what_to_do(project: Project) -> None:
    project.write(SHOP | {"catalog/templates/app.py": "\nfrom {{ name }} import x\n"})
    with pytest.raises(ConfigurationError) as raised:
        project.check(*DOMAINS)
    assert f"{project.name}/catalog/templates/app.py:2 cannot be parsed" in str(raised.value)
    assert f'Boundaries(ignore=(*TESTS, "{project.name}.catalog.templates.app"))' in str(raised.value)


@pytest.mark.parametrize("content", [b"print 'x'\n", b"x = '\xe9'\n", b"x = '\0'\n"])
def test_what_is_ignored_need_not_be_python(project: Project, content: bytes) -> None:
    project.write(SHOP | {"catalog/tests/data.py": "", "catalog/legacy.py": ""})
    for name in ("catalog/tests/data.py", "catalog/legacy.py"):
        (project.folder / project.name / name).write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"legacy\.py.* cannot be parsed"):
        project.check(*DOMAINS)
    assert project.check(*DOMAINS, boundaries=Boundaries(ignore=(*TESTS, "**.legacy"))).violations == ()


def test_a_file_in_another_encoding_is_read_by_its_declaration(project: Project) -> None:
    project.write(SHOP | {"catalog/views.py": ""})
    text = f"# coding: latin-1\nx = 'é'\n{CROSSING}".replace("PKG", project.name)
    (project.folder / project.name / "catalog" / "views.py").write_bytes(text.encode("latin-1"))
    [violation] = project.check(*DOMAINS).violations
    assert (violation.rule, violation.line) == ("foreign-internals", 3)


@pytest.mark.parametrize(
    "name", ["tests/helpers", "test/helpers", "conftest", "test_ledger", "ledger_test", "inner/test/deep/helpers"]
)
def test_tests_are_not_looked_at(project: Project, name: str) -> None:
    assert found(project, {f"catalog/{name}.py": CROSSING}) == []


@pytest.mark.parametrize("name", ["contest", "latest", "testing/helpers", "protest/helpers"])
def test_what_only_sounds_like_tests_is_looked_at(project: Project, name: str) -> None:
    assert len(found(project, {f"catalog/{name}.py": CROSSING})) == 1


# --- what is reached without an import of its own


@pytest.mark.parametrize(
    "text, lines",
    [
        ("import PKG.billing.messages\nx = PKG.billing.ledger.balance()\n", [2]),
        ("import PKG\n\ndef f():\n    return PKG.billing.ledger.balance()\n", [4]),
        ("import PKG.billing.messages as m\nimport PKG as p\nx = [p.billing.ledger.balance for _ in 'a']\n", [3]),
        ("from PKG import billing\n\nclass A:\n    x: billing.ledger.Row = billing.ledger.Row()\n", [1, 4]),
        ("from PKG import hub\nhub.ledger.balance()\nhub.balance()\nhub.post()\n", [2, 3, 4]),
        ("from PKG.hub import ledger\nledger.balance()\n", [1]),
        ("from PKG.hub import balance, sync\n", [1]),
        ("from PKG.hub2 import again\n", [1]),
        ("from PKG.billing.messages import ledger\n", [1]),
        ("from PKG.billing import messages\nmessages.ledger.balance()\n", [2]),
    ],
)
def test_internals_that_are_reached_by_attribute_or_through_others_are_found(
    project: Project, text: str, lines: list[int]
) -> None:
    files = {
        "hub.py": "from PKG.billing import ledger\nfrom PKG.billing.ledger import balance\n"
        "from PKG.billing.messages import Sync as sync\npost = ledger.balance\n",
        "hub2.py": "import PKG.hub as first\nagain = first.balance\n",
        "billing/messages.py": BILLING + "from PKG.billing import ledger\n",
        "catalog/views.py": text,
    }
    assert found(project, files) == [("foreign-internals", "catalog/views.py", line) for line in lines]


@pytest.mark.parametrize(
    "text",
    [
        "import PKG.billing.messages\nPKG.billing.messages.Sync\n",
        "from PKG import billing\n",
        "from PKG import billing\n\ndef f(billing):\n    return billing.ledger.balance()\n",
        "from PKG.billing.messages import balance\nbalance()\n",
        "from PKG.hub import made, sync\nmade.ledger.balance()\n",
        "from PKG import hub\nhub.sync()\nhub.billing.Sync()\n",
        "ledger = object()\nledger.balance()\n",
    ],
)
def test_what_is_public_may_be_reached_in_any_way(project: Project, text: str) -> None:
    files = {
        "hub.py": "from PKG.billing.ledger import balance as _b\nfrom PKG.billing import messages as billing\n"
        "from PKG.billing.messages import Sync as sync\nmade = _b()\n",
        "billing/messages.py": BILLING + "from PKG.billing.ledger import balance\n",
        "catalog/views.py": text,
    }
    assert found(project, files, faces=("messages", "__init__")) == []


# --- imports for types


def test_imports_for_types_count_unless_they_are_switched_off(project: Project) -> None:
    text = (
        "from __future__ import annotations\nimport typing\nfrom typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from PKG.billing import ledger\n    import celery\n"
        "if typing.TYPE_CHECKING:\n    import PKG.billing.ledger as other\nelse:\n    other = None\n\n"
        "def f(row: ledger.Row, more: other.Row): ...\n"
    )
    assert found(project, {"catalog/views.py": text}) == [
        ("foreign-internals", "catalog/views.py", 5),
        ("engine-import", "catalog/views.py", 6),
        ("foreign-internals", "catalog/views.py", 8),
    ]
    assert found(project, {"catalog/views.py": text}, type_checking=False) == []
    at_run_time = text + "\nfrom PKG.billing.ledger import balance\n"
    [(_, _, line)] = found(project, {"catalog/views.py": at_run_time}, type_checking=False)
    assert line == 14


# --- engines


@pytest.mark.parametrize(
    "text, engine",
    [
        ("def f():\n    from google.cloud import tasks_v2\n", "google.cloud.tasks_v2"),
        ("def f():\n    from google.cloud.tasks_v2 import types, services\n", "google.cloud.tasks_v2"),
        ("import os\nimport django.core.mail\n", "django.core.mail"),
        ("import os\nfrom django.core.mail.message import X as Y\n", "django.core.mail"),
    ],
)
def test_an_engine_may_be_a_module_below_a_package(project: Project, text: str, engine: str) -> None:
    engines = ("google.cloud.tasks_v2", "django.core.mail")
    checked = report(project, {"catalog/views.py": text}, engines=engines)
    [violation] = checked.violations
    assert (violation.rule, violation.line) == ("engine-import", 2)
    assert violation.subject == f"{project.name}.catalog.views -> {engine}"
    others = "import google.cloud.storage\nfrom google import cloud\nfrom django.core import mailers\n"
    assert found(project, {"catalog/views.py": others}, engines=engines) == []


# --- the cache


@pytest.fixture
def cached(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    project.write(
        SHOP
        | {
            "app.py": "from remit import Remit\nfrom PKG.billing.messages import billing\n"
            "from PKG.catalog.messages import catalog\napp = Remit('sqlite://', domains=[billing, catalog])\n",
            "hub.py": "from PKG.billing.messages import billing as them\n",
            "catalog/views.py": "from PKG.hub import them\nthem.sync.enqueue_named('sync', {})\n",
        }
    )
    return project


def command(project: Project, *options: str) -> list[str]:
    """What `remit check` finds in a process of its own, where nothing is in memory: rule and file."""
    argv = [sys.executable, "-m", "remit.cli", "check", f"{project.name}.app:app", "--json", *options]
    done = subprocess.run(argv, cwd=project.folder, capture_output=True, text=True, check=False, env=dict(os.environ))
    assert done.returncode in (0, 5), done.stderr
    return [each["rule"] for each in json.loads(done.stdout)["violations"]]


def test_a_check_from_the_cache_finds_what_a_fresh_one_finds(cached: Project) -> None:
    file = cached.folder / ".remit-cache" / FILE
    assert command(cached, "--no-cache") == ["foreign-enqueue"]
    assert not file.parent.exists()
    assert command(cached) == ["foreign-enqueue"]
    kept = json.loads(file.read_text())
    assert set(kept["files"]) >= {f"{cached.name}.hub", f"{cached.name}.catalog.views"}
    assert (file.parent / ".gitignore").read_text() == "*\n"

    views = kept["files"][f"{cached.name}.catalog.views"]
    views[3] = []  # that nothing is sent there, is believed: the file was not read again
    file.write_text(json.dumps(kept))
    assert command(cached) == []
    assert command(cached, "--no-cache") == ["foreign-enqueue"]


def test_a_change_is_seen_in_every_file_whose_meaning_it_changes(cached: Project) -> None:
    assert command(cached) == ["foreign-enqueue"]
    cached.write({"hub.py": "from PKG.catalog.messages import catalog as them\n"})  # catalog/views.py stays as it is
    assert command(cached) == ["unknown-job"]
    cached.write({"catalog/messages.py": CATALOG + "class Sync(Job[Catalog], name='catalog.sync'): ...\n"})
    assert command(cached) == ["missing-handler"]
    cached.write({"catalog/pages.py": CROSSING})
    assert command(cached) == ["missing-handler", "foreign-internals"]


@pytest.mark.parametrize("content", ["", "{", '{"version": 3}', "[]"])
def test_a_damaged_cache_is_read_anew(cached: Project, content: str) -> None:
    file = cached.folder / "kept" / FILE
    file.parent.mkdir()
    file.write_text(content)
    assert command(cached, "--cache-dir", "kept") == ["foreign-enqueue"]
    assert json.loads(file.read_text())["files"]


def test_a_cache_that_cannot_be_written_is_no_failure(project: Project) -> None:
    project.write(SHOP | {"catalog/views.py": CROSSING})
    (project.folder / "file").touch()
    import importlib

    domains = [getattr(importlib.import_module(f"{project.name}.{m}"), n) for m, n in (d.split(":") for d in DOMAINS)]
    from remit.catalog import Catalog

    application = Application(Catalog(domains))
    assert len(check(application, cache=project.folder / "file" / "below").violations) == 1
