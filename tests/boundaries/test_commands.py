"""`remit check` and `remit graph`: exit statuses, JSON, filters, the baseline, files to compare."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from remit.boundaries import RULES
from remit.cli import main
from tests.boundaries.conftest import Project, planted

BAZAAR, MARKET = "bazaar.app:app", "market.app:app"


@dataclass(frozen=True)
class Result:
    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Remit = Callable[..., Result]


@pytest.fixture
def remit(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Remit:
    monkeypatch.setenv("REMIT_CACHE_DIR", str(tmp_path / "cache"))
    for name in ("REMIT_APP", "REMIT_DATABASE_URL", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)

    def run(*argv: str) -> Result:
        capsys.readouterr()
        return Result(main(argv), *capsys.readouterr())

    return run


def test_a_clean_application_exits_with_0(remit: Remit) -> None:
    result = remit("check", MARKET)
    assert (result.status, result.out) == (0, "no violations in 2 domains, 19 modules\n")
    assert remit("check", "--app", "market.app:make_app").status in (0, 1)


def test_violations_exit_with_5_and_say_file_line_rule_and_remedy(remit: Remit) -> None:
    result = remit("check", BAZAAR, "--rule", "layer-order")
    assert result.status == 5
    [(file, line, _)] = [each for each in planted("bazaar") if each[2] == "layer-order"]
    first, remedy, last = result.out.splitlines()
    assert first.startswith(f"{file}:{line}: layer-order: catalog imports bazaar.shipping.api, and shipping is above")
    assert remedy.startswith("    Let catalog publish an event")
    assert last == "1 violation in 3 domains, 29 modules"


def test_json_has_everything(remit: Remit) -> None:
    result = remit("check", BAZAAR, "--json")
    assert result.status == 5
    document = result.json
    assert set(document) == {"violations", "counts", "checked", "unread"}
    assert document["checked"] == {"domains": 3, "modules": 29}
    assert sum(document["counts"].values()) == len(document["violations"]) == sum(planted("bazaar").values()) - 1
    for violation in document["violations"]:
        assert set(violation) == {
            "rule", "file", "line", "domain", "subject", "message", "remedy", "fingerprint",
        }  # fmt: skip
        assert violation["rule"] in RULES
        assert violation["message"]
        assert violation["remedy"].endswith(".") or "?" in violation["remedy"]
        assert len(violation["fingerprint"]) == 16
    places = [(each["file"], each["line"]) for each in document["violations"]]
    assert places == sorted(places)


def test_filters_narrow_the_list(remit: Remit) -> None:
    rules = ("--rule", "foreign-enqueue", "--rule", "foreign-publish")
    found = remit("check", BAZAAR, *rules, "--domain", "catalog", "--json").json["violations"]
    assert {each["rule"] for each in found} == {"foreign-enqueue", "foreign-publish"}
    assert {each["domain"] for each in found} == {"catalog"}
    assert remit("check", BAZAAR, "--rule", "layer-order", "--domain", "billing").status == 0


@pytest.mark.parametrize(
    "argv, told",
    [
        (("--rule", "layer-orders"), "Did you mean 'layer-order'?"),
        (("--domain", "bilingual"), "Did you mean 'billing'?"),
        (("--baseline", "use", "--baseline-file", "/nowhere/at/all.json"), "--baseline write"),
        (("--baseline", "write", "--rule", "layer-order"), "leave --rule and --domain out"),
        (("--baseline", "grow"), "grow"),
        (("--baseline-file", "known.json"), "add --baseline use"),
    ],
)
def test_wrong_usage_exits_with_2(remit: Remit, argv: tuple[str, ...], told: str) -> None:
    result = remit("check", BAZAAR, *argv)
    assert result.status == 2
    assert told in result.err


def test_the_baseline_only_shrinks(remit: Remit, tmp_path: Path) -> None:
    file = tmp_path / "known.json"
    options = ("--baseline-file", str(file), "--baseline")
    result = remit("check", BAZAAR, *options, "write")
    count = sum(planted("bazaar").values()) - 1
    assert (result.status, result.out.split(": ")[1]) == (0, f"{count} violations known\n")
    result = remit("check", BAZAAR, *options, "use")
    assert result.status == 0
    assert result.out.startswith(f"no violations in 3 domains, 29 modules beside {count} known in ")
    assert remit("check", BAZAAR, "--rule", "layer-order", *options, "use").status == 0

    document = json.loads(file.read_text())
    whole = file.read_text()
    document["violations"] = [each for each in document["violations"] if each["rule"] != "layer-order"]
    file.write_text(json.dumps(document))
    result = remit("check", BAZAAR, *options, "use")  # one that the file does not know is new
    assert result.status == 5
    assert result.out.count("layer-order") == 1
    result = remit("check", BAZAAR, *options, "write")  # and cannot be written into it
    assert result.status == 5
    assert "which can only shrink: fix them, or remove the file" in result.out
    assert json.loads(file.read_text()) == document

    document = json.loads(whole)
    document["violations"].append({"rule": "unheard-event", "subject": "billing.gone", "domain": "billing", "count": 1})
    file.write_text(json.dumps(document))
    result = remit("check", BAZAAR, *options, "use")  # one that was fixed has to go
    assert result.status == 5
    assert "fixed: unheard-event: billing.gone\n" in result.out
    assert "1 entry to remove: --baseline write" in result.out
    told = remit("check", BAZAAR, *options, "use", "--json").json
    assert told["baseline"]["fixed"] == [{"rule": "unheard-event", "subject": "billing.gone", "domain": "billing"}]
    assert told["violations"] == []
    assert remit("check", BAZAAR, *options, "write", "--json").json == {"written": str(file), "known": count}
    assert file.read_text() == whole


@pytest.mark.parametrize(
    "format, start", [("mermaid", "flowchart LR\n"), ("dot", "digraph"), ("json", "{"), ("html", "<!doctype html>")]
)
def test_every_format_goes_to_a_file_or_to_standard_output(
    remit: Remit, tmp_path: Path, format: str, start: str
) -> None:
    result = remit("graph", MARKET, "--format", format)
    assert result.status == 0
    assert result.out.startswith(start)
    file = tmp_path / "map"
    assert remit("graph", MARKET, "--format", format, "--output", str(file)).status == 0
    assert file.read_text("utf-8") == result.out
    assert remit("graph", MARKET, "--format", format, "--output", str(file), "--check").status == 0
    file.write_text("old")
    result = remit("graph", MARKET, "--format", format, "--output", str(file), "--check")
    assert (result.status, file.read_text()) == (5, "old")
    assert "is out of date" in result.out


def test_mermaid_is_the_default(remit: Remit) -> None:
    assert remit("graph", MARKET).out.startswith("flowchart LR\n")


def test_canvases_are_written_and_compared(remit: Remit, tmp_path: Path) -> None:
    folder = tmp_path / "domains"
    result = remit("graph", MARKET, "--canvas", str(folder), "--check")
    assert result.status == 5
    assert "orders.md is missing" in result.out
    assert not folder.exists()
    result = remit("graph", MARKET, "--canvas", str(folder))
    assert (result.status, result.out.splitlines()[-1]) == (0, f"3 files changed in {folder}")
    result = remit("graph", MARKET, "--canvas", str(folder), "--check")
    assert (result.status, result.out) == (0, "2 canvases up to date\n")
    (folder / "stock.md").write_text("edited\n")
    result = remit("graph", MARKET, "--canvas", str(folder), "--check")
    assert result.status == 5
    assert f"{folder}/stock.md is out of date\n" in result.out


@pytest.mark.parametrize("argv", [("--check",), ("--canvas", "a", "--output", "b"), ("--format", "png")])
def test_graph_refuses_what_cannot_be(remit: Remit, argv: tuple[str, ...]) -> None:
    assert remit("graph", MARKET, *argv).status == 2


SHOP = """
    import os

    from remit import Domain, Event, Remit, RetryAfter

    class Shop(Domain[object], handlers="PKG.app"): ...

    shop = Shop()

    class OrderPaid(Event[Shop], audit_only=True): ...

    if "SUBSCRIBED" in os.environ:
        @shop.on(OrderPaid, name="unlock")
        def unlock(event, run):
            raise RetryAfter(3600)

    app = Remit("sqlite:///PKG.db", domains=[shop])

    def main():
        with app.sync:
            app.sync.migrate()
            shop.sync.publish(OrderPaid())
            app.sync.drain()
"""


def run_in(project: Project, *words: str, subscribed: bool = False) -> subprocess.CompletedProcess[str]:
    environment = os.environ | ({"SUBSCRIBED": "yes"} if subscribed else {})
    command = [sys.executable, *words]
    return subprocess.run(command, cwd=project.folder, env=environment, capture_output=True, text=True, check=False)


def test_deliveries_that_wait_in_vain_are_found_where_the_database_is(project: Project) -> None:
    project.write({"app.py": SHOP})
    command = ("-m", "remit.cli", "check", f"{project.name}.app:app")
    first = run_in(project, *command)
    assert (first.returncode, first.stderr) == (0, "")
    assert not (project.folder / f"{project.name}.db").exists()  # to check is to create nothing

    done = run_in(project, "-c", f"from {project.name}.app import main; main()", subscribed=True)
    assert done.returncode == 0, done.stderr
    found = run_in(project, *command)
    assert found.returncode == 5, found.stderr
    assert f"{project.name}/app.py:17: vanished-subscription: 1 delivery waits for shop.unlock" in found.stdout
    assert run_in(project, *command, subscribed=True).returncode == 0


def test_a_database_that_cannot_be_reached_is_no_violation(project: Project) -> None:
    project.write({"app.py": SHOP.replace("sqlite:///PKG.db", "postgresql://nobody@127.0.0.1:1/nowhere")})
    done = run_in(project, "-m", "remit.cli", "check", f"{project.name}.app:app")
    assert (done.returncode, done.stderr) == (0, "")
