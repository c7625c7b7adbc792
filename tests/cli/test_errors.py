"""Every error is one line with its code, and a stable exit status; a bug keeps its traceback."""

import builtins
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from remit import errors
from remit.cli.exits import Exit, exit_of
from tests.cli.harness import HERE, Command, Depot


def test_the_exit_statuses_are_stable() -> None:
    assert {status.name: status.value for status in Exit} == {
        "OK": 0, "FAILED": 1, "USAGE": 2, "NOT_FOUND": 3, "STORE": 4, "FINDINGS": 5, "INTERRUPTED": 130,
        "BROKEN_PIPE": 141,
    }  # fmt: skip


@pytest.mark.parametrize(
    "error, status",
    [
        (errors.InvalidTransition("x"), 1),
        (errors.MissingHandler("x"), 1),
        (errors.ConfigurationError("x"), 2),
        (errors.MissingExtra("x"), 2),
        (errors.InvalidArgument("x"), 2),
        (errors.JobNotFound("x"), 3),
        (errors.UnknownJob("x"), 3),
        (errors.EventNotFound("x"), 3),
        (errors.UnknownSubscription("x"), 3),
        (errors.StoreUnavailable("x"), 4),
        (errors.StoreBusy("x"), 4),
        (errors.WrongSchema("x"), 4),
    ],
)
def test_an_error_means_an_exit_status(error: errors.RemitError, status: int) -> None:
    assert exit_of(error) == status


@pytest.mark.parametrize(
    "argv, words",
    [
        (("job", "list"), 'Unknown command "job". Did you mean "jobs"?'),
        (("job", "list"), "and others: see remit --help"),
        (("jobs", "lst"), 'Unknown command "lst". Did you mean "list"?'),
        (
            ("jobs", "list", "--stat", "dead"),
            "Unknown option: --stat. Did you mean --state?: see remit jobs list --help",
        ),
        (("jobs", "list", "--state", "ded"), 'Invalid value "ded" for --state.'),
        (("jobs", "list", "--limit", "0"), "--limit"),
        (("jobs", "show"), "the id of a job is missing"),
        (("queues", "pause"), "the name of a queue is missing"),
        (("worker", "depot.serving", "--processes", "0"), "--processes"),
        (("worker", "depot.serving", "--lease", "0"), "--lease"),
        (("worker", "depot.serving", "--log-format", "xml"), 'Invalid value "xml" for --log-format.'),
        (("migrate", "depot.serving", "surplus"), "surplus"),
    ],
)
def test_wrong_usage_is_one_line(depot: Depot, remit: Command, argv: tuple[str, ...], words: str) -> None:
    result = remit(*argv)
    assert (result.status, result.out) == (2, "")
    assert words in result.err
    assert result.err.startswith("error: ")
    assert result.err.endswith("[usage]\n")
    assert len(result.err.splitlines()) == 1


def test_an_application_must_be_named(remit: Command) -> None:
    for argv in (("jobs", "list"), ("worker",), ("jobs", "show", "x"), ("dead", "replay")):
        result = remit(*argv)
        assert result.status == 2
        assert "which application? Name it as module:attribute" in result.err


def test_an_unknown_job_is_not_found(depot: Depot, remit: Command) -> None:
    unknown = "01900000-0000-7000-8000-000000000000"
    result = remit("jobs", "show", unknown)
    assert result.status == 3
    assert result.err.startswith(f"error: there is no job {unknown}: ")


def test_what_is_no_id_is_told_as_such(depot: Depot, remit: Command) -> None:
    for noun, kind in (("jobs", "a job"), ("events", "an event")):
        result = remit(noun, "show", "123")
        assert result.status == 3
        assert result.err.startswith(f"error: '123' is no id of {kind}: copy one from `remit {noun} list` [")


def test_a_url_in_code_that_hides_the_one_of_the_environment_is_reported(
    remit: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "hidden.py").write_text("from remit import Remit\napp = Remit('sqlite:///own.db', domains=[])\n")
    monkeypatch.setenv("REMIT_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nowhere")
    result = remit("migrate", "hidden:app")
    assert result.status == 0
    assert result.err.startswith("warning: hidden:app names its database in code, so REMIT_DATABASE_URL has no effect")
    (tmp_path / "plain.py").write_text("from remit import Remit\napp = Remit('sqlite:///own.db', domains=[])\n")
    monkeypatch.setenv("REMIT_DATABASE_URL", "sqlite:///own.db")
    assert remit("migrate", "plain:app").err == ""


def test_a_database_that_is_away(remit: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REMIT_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nowhere")
    result = remit("jobs", "list", "depot.app:make_app")
    assert (result.status, len(result.err.splitlines())) == (4, 1)
    assert result.err.endswith("[store-unavailable]\n")


@pytest.mark.parametrize(
    "text, error",
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("import no_such_library", "ModuleNotFoundError: No module named 'no_such_library'"),
        ("def app():\n    1 / 0", "ZeroDivisionError: division by zero"),
        ("def app(:", "SyntaxError: invalid syntax"),
    ],
)
def test_a_module_that_fails_has_a_traceback_of_its_own_lines(
    remit: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, error: str
) -> None:
    (tmp_path / "broken.py").write_text(text)
    monkeypatch.delitem(sys.modules, "broken", raising=False)
    for command in (("jobs", "list"), ("worker",)):
        result = remit(*command, "broken:app")
        assert (result.status, result.out) == (1, "")
        lines = result.err.splitlines()
        assert lines[-1] == error
        assert next(line for line in lines if line.startswith("  File ")).startswith(f'  File "{tmp_path}/broken.py"')
        assert "cyclopts" not in result.err


def test_so_has_a_module_of_handlers(
    depot: Depot, remit: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hands.py").write_text("import no_such_library")
    (tmp_path / "fair.py").write_text(
        "from remit import Domain, Remit\nclass Fair(Domain, handlers='hands'): ...\napp = Remit(domains=[Fair()])"
    )
    result = remit("migrate", "fair:app")
    assert result.status == 1
    assert result.err.startswith(f'Traceback (most recent call last):\n  File "{tmp_path}/hands.py", line 1')


def test_a_bug_keeps_its_traceback(depot: Depot, remit: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("remit.cli.commands.jobs._nothing", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        remit("jobs", "list")


def test_a_declaration_that_is_wrong_is_one_line(remit: Command, tmp_path: Path) -> None:
    (tmp_path / "wrong.py").write_text("from remit import Remit\napp = Remit('mysql://x', domains=[])")
    result = remit("jobs", "list", "wrong:app")
    assert (result.status, len(result.err.splitlines())) == (2, 1)


def test_without_the_extra_the_error_names_it(remit: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.partition(".")[0] == "cyclopts":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *args, **kwargs)

    for module in [
        name
        for name in sys.modules
        if name.startswith(("remit.cli.program", "remit.cli.commands", "remit.cli.options", "remit.cli.settings"))
    ]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setattr(builtins, "__import__", without)
    result = remit("jobs", "list")
    assert result.status == 2
    assert result.err == "error: the command line needs cyclopts and rich: pip install 'remit[cli]' [missing-extra]\n"


def test_importing_the_command_needs_no_extra() -> None:
    code = "import sys, remit.cli; sys.exit(any(name in sys.modules for name in ('cyclopts', 'rich')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_whoever_reads_may_have_enough(depot: Depot) -> None:
    from depot.messages import Pack

    depot.enqueue(*(Pack(number=number, until="x" * 500) for number in range(500)))
    read, write = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "remit.cli", "jobs", "list", "--limit", "500", "--json"],
        cwd=HERE, stdout=write, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    os.close(write)
    os.read(read, 10)
    os.close(read)
    assert (process.communicate()[1], process.returncode) == ("", 141)


def test_help_needs_no_application(remit: Command) -> None:
    for argv in ((), ("--help",), ("jobs",), ("jobs", "--help"), ("worker", "--help"), ("dead", "replay", "--help")):
        result = remit(*argv)
        assert result.status == 0
        assert "Usage: remit" in result.out
    assert remit("--version").out.startswith("remit 0.")


def test_the_console_script_is_the_same() -> None:
    script = Path(sys.executable).with_name("remit")
    assert subprocess.run([script, "--version"], check=True, capture_output=True, text=True).stdout.startswith(
        "remit 0."
    )
