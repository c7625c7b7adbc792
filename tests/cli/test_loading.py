"""APP is a dotted path as in uvicorn; every way to get it wrong is told apart."""

from pathlib import Path

import pytest

from remit import Remit
from remit.cli.exits import UsageError
from remit.cli.loading import load


@pytest.fixture(autouse=True)
def _database(monkeypatch: pytest.MonkeyPatch, sqlite_url: str) -> None:
    monkeypatch.setenv("REMIT_DATABASE_URL", sqlite_url)


def test_a_path_names_the_module_and_the_attribute() -> None:
    assert isinstance(load("depot.serving:app"), Remit)


def test_the_attribute_is_app_where_it_is_left_out() -> None:
    assert load("depot.serving") is load("depot.serving:app")


def test_a_factory_without_parameters_is_called() -> None:
    assert isinstance(load("depot.app:make_app"), Remit)


def test_the_attribute_may_be_dotted(tmp_path: Path) -> None:
    (tmp_path / "composed.py").write_text("class container:\n    from depot.serving import app")
    assert load("composed:container.app") is load("depot.serving:app")


def test_the_current_directory_is_searched_first(tmp_path: Path) -> None:
    (tmp_path / "only_here.py").write_text("from depot.serving import app as application")
    assert load("only_here:application") is load("depot.serving:app")


@pytest.mark.parametrize(
    "path, words",
    [
        ("depo.app:app", "there is no module 'depo' in "),
        ("depot.ap:app", "there is no module 'depot.ap' beside 'depot'"),
        ("depot.serving:ap", "depot.serving has no 'ap'. Did you mean depot.serving:app?"),
        ("depot.app", "depot.app has no 'app'."),
        ("depot.app:make_ap", "depot.app has no 'make_ap'. Did you mean 'make_app'?"),
        ("depot.app:not_an_app", "depot.app:not_an_app is an int, not a Remit."),
        ("depot.messages:Depot", "depot.messages:Depot is a type, not a Remit."),
        (
            "depot.app:needs_arguments",
            "depot.app:needs_arguments needs arguments: a factory of the application takes none",
        ),
        ("depot.app:later", "depot.app:later is an async function: a factory of the application is a plain `def`"),
        ("depot/app.py", "'depot/app.py' names no application: write module:attribute, for instance shop.app:app"),
    ],
)
def test_what_is_no_application_is_an_error_that_helps(path: str, words: str) -> None:
    with pytest.raises(UsageError) as raised:
        load(path)
    assert words in str(raised.value)


def test_a_module_that_misses_another_keeps_its_traceback(tmp_path: Path) -> None:
    (tmp_path / "needy.py").write_text("import no_such_library")
    with pytest.raises(ModuleNotFoundError, match="no_such_library"):
        load("needy:app")
