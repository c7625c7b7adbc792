"""An option is a flag, a variable and a key of a file: file < environment < flag, and no name goes unknown."""

from pathlib import Path

import pytest

from remit.cli.program import build
from remit.cli.settings import options_of
from remit.cli.stopping import StopSwitch
from tests.cli.harness import Command, Depot


@pytest.fixture
def seven(depot: Depot) -> Depot:
    from depot.messages import Pack

    depot.enqueue(*(Pack(number=number) for number in range(7)))
    return depot


def _count(remit: Command, *argv: str) -> int:
    result = remit("jobs", "list", "--json", *argv)
    assert result.status == 0, result.err
    return len(result.json["jobs"])


def test_the_flag_overrules_the_environment_and_that_the_file(
    seven: Depot, remit: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "remit.toml").write_text("limit = 2")
    assert _count(remit) == 2
    monkeypatch.setenv("REMIT_LIMIT", "3")
    assert _count(remit) == 3
    assert _count(remit, "--limit", "4") == 4


def test_the_file_may_be_a_table_of_pyproject_toml(seven: Depot, remit: Command, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "shop"\n[tool.remit]\nlimit = 5\njson = true')
    assert len(remit("jobs", "list").json["jobs"]) == 5


def test_the_application_may_stand_in_the_file(
    depot: Depot, remit: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REMIT_APP")
    (tmp_path / "remit.toml").write_text('app = "depot.app:make_app"')
    assert remit("jobs", "list").out == "no jobs\n"


def test_an_empty_variable_says_nothing(depot: Depot, remit: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REMIT_LIMIT", "")
    assert remit("jobs", "list").status == 0


@pytest.mark.parametrize("true, false", [("true", "false"), ("1", "0"), ("yes", "no")])
def test_a_variable_sets_a_flag(
    depot: Depot, remit: Command, monkeypatch: pytest.MonkeyPatch, true: str, false: str
) -> None:
    monkeypatch.setenv("REMIT_JSON", true)
    monkeypatch.setenv("REMIT_WATCH", false)
    assert remit("status").json["totals"]["ready"] == 0


def test_an_unknown_variable_is_an_error_with_the_nearest(
    depot: Depot, remit: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REMIT_PROCESES", "4")
    result = remit("jobs", "list")
    assert result.status == 2
    assert result.err == (
        "error: the environment sets REMIT_PROCESES, and no option has that name. "
        "Did you mean 'REMIT_PROCESSES'? [usage]\n"
    )


def test_an_unknown_variable_may_be_near_to_one_that_the_application_reads(
    depot: Depot, remit: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REMIT_DATABASE_URI", "sqlite://")
    assert "Did you mean 'REMIT_DATABASE_URL'?" in remit("jobs", "list").err


@pytest.mark.parametrize("file, head", [("remit.toml", ""), ("pyproject.toml", "[tool.remit]\n")])
def test_an_unknown_key_is_an_error_with_the_nearest(
    depot: Depot, remit: Command, tmp_path: Path, file: str, head: str
) -> None:
    (tmp_path / file).write_text(head + 'log_level = "debug"')
    result = remit("jobs", "list")
    assert result.status == 2
    assert result.err == (
        f"error: {file} sets 'log_level', and no option has that name. Did you mean 'log-level'? [usage]\n"
    )


@pytest.mark.parametrize(
    "name", ["REMIT_PORT", "REMIT_SERVICE_HOST", "REMIT_PORT_8000_TCP_ADDR", "REMIT_WEB_SERVICE_PORT_HTTP"]
)
def test_variables_that_kubernetes_sets_for_a_service_are_ignored(
    depot: Depot, remit: Command, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "tcp://10.0.0.1:8000")
    result = remit("jobs", "list")
    assert (result.status, result.err) == (0, "")


def test_variables_of_others_are_ignored_with_a_warning(
    depot: Depot, remit: Command, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("REMIT_INVOICE_TEMPLATE", "blue")
    monkeypatch.setenv("REMIT_TEST_DATABASE_URL", "sqlite:///test.db")
    assert remit("jobs", "list").status == 0
    assert [record.getMessage() for record in caplog.records] == [
        "the environment sets REMIT_INVOICE_TEMPLATE, which is not an option of remit: it is ignored"
    ]


@pytest.mark.parametrize(
    "text, words",
    [
        ("limit = {a = 1}", "'limit' in remit.toml is dict: an option is a text, a number, true or false"),
        ("limit = ", "remit.toml is not TOML: "),
        ('database-url = "sqlite://"', "The application reads it only from REMIT_DATABASE_URL."),
        ('limit = "many"', 'Invalid value for --limit from limit in remit.toml: unable to convert "many" into int'),
        ("limit = 0", "limit in remit.toml"),
    ],
)
def test_a_file_that_says_nonsense_is_an_error(
    depot: Depot, remit: Command, tmp_path: Path, text: str, words: str
) -> None:
    (tmp_path / "remit.toml").write_text(text)
    result = remit("jobs", "list")
    assert (result.status, result.out) == (2, "")
    assert words in result.err


def test_a_wrong_value_names_the_variable(depot: Depot, remit: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REMIT_LIMIT", "many")
    assert "from REMIT_LIMIT" in remit("jobs", "list").err


def test_two_files_are_an_error(depot: Depot, remit: Command, tmp_path: Path) -> None:
    (tmp_path / "remit.toml").write_text("limit = 2")
    (tmp_path / "pyproject.toml").write_text("[tool.remit]\nlimit = 3")
    assert "keep one of them" in remit("jobs", "list").err


def test_the_options_are_stable() -> None:
    """Each is a variable in somebody's deployment."""
    assert options_of(build(StopSwitch())) == {
        "after", "app", "at", "attempts", "baseline", "baseline-file", "by", "cache", "cache-dir", "cancel",
        "canvas", "check", "correlation", "dead-before", "delay", "deleted", "domain", "dry-run", "event", "exclude",
        "failed", "format", "grace", "id", "in-flight", "interval", "job", "json", "label", "lease", "limit",
        "log-format", "log-level", "max-tasks-per-child", "output", "priority", "processes", "purge", "queue",
        "rate", "reason", "reload", "requested-by", "rule", "scope", "since", "sql", "state", "timeout", "to",
        "traceback", "until", "watch", "window", "yes",
    }  # fmt: skip
