"""Statements are read from files and spelled for each driver; nothing else of their text changes."""

from __future__ import annotations

import pytest

from remit.db import statements
from remit.db.statements import Query, Rendered, in_schema, parameters, parse

FILE = """-- A feature, in one dialect.

-- name: first
-- What it is for: :nothing is a parameter here.
SELECT :id::text, ':literal', 'it''s 12:30 :x' -- and a remark :here
FROM remit.job WHERE id = :id AND name LIKE '%:x' AND n = :n::bigint;

-- name: second_one
INSERT INTO remit_job VALUES (:a);
SELECT :b, :a;
"""


@pytest.fixture
def feature(monkeypatch: pytest.MonkeyPatch) -> Query:
    """The first statement of a feature whose file is `FILE`."""
    statements.statements.cache_clear()
    statements.render.cache_clear()
    monkeypatch.setattr(statements, "read", lambda package, path: FILE)
    return Query("a.feature", "first")


@pytest.fixture(autouse=True)
def _forget() -> None:
    statements.statements.cache_clear()
    statements.render.cache_clear()


def test_a_file_is_split_at_its_headers() -> None:
    parsed = parse(FILE)
    assert list(parsed) == ["first", "second_one"]
    assert parsed["second_one"] == "INSERT INTO remit_job VALUES (:a);\nSELECT :b, :a;"
    assert parsed["first"].startswith("SELECT :id::text")


def test_two_statements_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match=r"named twice: \['first', 'first'\]"):
        parse(FILE + "\n-- name: first\nSELECT 1;\n")


def test_an_empty_file_holds_nothing() -> None:
    assert parse("-- nothing yet\n") == {}


def test_the_parameters_of_a_statement_are_known() -> None:
    assert parameters(parse(FILE)["first"]) == {"id", "n"}
    assert parameters(parse(FILE)["second_one"]) == {"a", "b"}


@pytest.mark.parametrize(
    "style, id, n",
    [
        ("named", ":id", ":n"),
        ("numbered", "$1", "$2"),
        ("qmark", "?", "?"),
        ("pyformat", "%(id)s", "%(n)s"),
        ("format", "%s", "%s"),
    ],
)
def test_parameters_are_spelled_as_the_driver_wants_them(
    feature: Query, style: statements.Style, id: str, n: str
) -> None:
    rendered = statements.render(feature, "postgres", style)
    percent = "%%" if style in ("pyformat", "format") else "%"
    assert rendered.text == (
        f"SELECT {id}::text, ':literal', 'it''s 12:30 :x' -- and a remark :here\n"
        f"FROM remit.job WHERE id = {id} AND name LIKE '{percent}:x' AND n = {n}::bigint"
    )


def test_names_come_in_the_order_of_the_text(feature: Query) -> None:
    assert statements.render(feature, "postgres", "numbered").names == (("id", "n"),)
    assert statements.render(feature, "postgres", "qmark").names == (("id", "id", "n"),)


def test_a_script_is_several_statements_with_the_same_parameters(feature: Query) -> None:
    script = statements.render(Query("a.feature", "second_one"), "sqlite", "qmark")
    assert script == Rendered(("INSERT INTO remit_job VALUES (?)", "SELECT ?, ?"), (("a",), ("b", "a")), writes=True)
    assert script.writes
    one = statements.render(feature, "sqlite", "named")
    assert (len(one.parts), one.writes) == (1, False)


def test_a_statement_for_a_schema_of_another_name(feature: Query) -> None:
    text = statements.render(feature, "postgres", "numbered", "work").text
    assert 'FROM "work".job' in text
    assert "remit." not in text
    assert (
        in_schema("remit.job remit.job_id 'remit: x' premit.x", "remit") == "remit.job remit.job_id 'remit: x' premit.x"
    )
    assert (
        in_schema("remit.job AND 'remit: x' premit.x remit_job", "w") == "\"w\".job AND 'remit: x' premit.x remit_job"
    )


def test_the_name_of_an_event_is_no_name_of_a_schema() -> None:
    assert in_schema("INSERT INTO remit.event VALUES ('remit.job-died')", "w") == (
        "INSERT INTO \"w\".event VALUES ('remit.job-died')"
    )


def test_a_schema_is_no_business_of_sqlite(feature: Query) -> None:
    assert "remit.job" in statements.render(feature, "sqlite", "named", "work").text


def test_a_statement_that_nobody_wrote(feature: Query) -> None:
    with pytest.raises(KeyError, match="third"):
        statements.render(Query("a.feature", "third"), "sqlite", "named")


def test_a_statement_is_spelled_once(feature: Query) -> None:
    assert statements.render(feature, "postgres", "numbered") is statements.render(feature, "postgres", "numbered")
