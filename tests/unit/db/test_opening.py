"""From a URL to a store: nothing is connected, and what cannot be meant is refused in words that help."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest

from remit import Remit, schema
from remit.db.opening import open_store
from remit.db.postgres import PostgresStore
from remit.db.sqlite import SqliteStore
from remit.db.sqlite.place import file_system, local_path, obstacle
from remit.db.store import Capability
from remit.errors import ConfigurationError, StoreError


def test_a_file_is_opened_when_it_is_used(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path / 'a b%20c.db'}?synchronous=normal&busy_timeout=0.5")
    assert isinstance(store, SqliteStore)
    assert store.path == tmp_path / "a b c.db"
    assert list(tmp_path.iterdir()) == []
    assert (store.dialect, store.capabilities, store.schema_version()) == ("sqlite", frozenset(), None)
    assert store.describe() == f"SQLite {tmp_path / 'a b c.db'}"
    assert store.sidecar == tmp_path / "a b c.db-remit"


def test_an_application_without_a_url_says_where_one_may_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REMIT_DATABASE_URL", raising=False)
    with pytest.raises(ConfigurationError) as refused:
        Remit(domains=[])
    assert str(refused.value) == "no database: pass a URL to Remit(…), or set REMIT_DATABASE_URL"


def test_a_relative_file_lies_in_the_folder_of_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = open_store("sqlite:///shop.db")
    assert isinstance(store, SqliteStore)
    assert store.path == tmp_path / "shop.db"


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
def test_a_file_that_is_thrown_away_is_a_real_one_and_nobody_elses(url: str) -> None:
    one, other = open_store(url), open_store(url)
    assert isinstance(one, SqliteStore)
    assert isinstance(other, SqliteStore)
    assert one.path != other.path
    assert one.path.parent.is_dir()


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg", "postgresql+asyncpg"])
def test_a_server_is_named_without_its_password(scheme: str) -> None:
    store = open_store(f"{scheme}://ada:secret@db.example:6432/shop?sslmode=require", schema="work")
    assert isinstance(store, PostgresStore)
    assert (store.dialect, store.schema) == ("postgres", "work")
    assert store.describe() == "PostgreSQL db.example:6432/shop, schema work"


@pytest.mark.parametrize(
    "url, place",
    [
        ("//ada:secret@db1:5432,db2:5433/shop?target_session_attrs=read-write", "db1:5432,db2:5433/shop"),
        ("//db1,db2:5433/shop", "db1:5432,db2:5433/shop"),
        ("//ada:a#secret?x:y@h/shop", "h:5432/shop"),
        ("//ada:a%40secret%2F%25@h/shop", "h:5432/shop"),
        ("//h/shop?user=ada&password=a%40secret&sslmode=require&options=-c%20geqo%3Doff", "h:5432/shop"),
        ("//[2001:db8::1]:5433/shop", "[2001:db8::1]:5433/shop"),
        ("//h/sh%C3%B6p%20%3F", "h:5432/shöp ?"),
        ("///shop?host=/run/postgresql&port=5433", "/run/postgresql/.s.PGSQL.5433, database shop"),
        ("//%2Frun%2Fpostgresql/shop", "/run/postgresql/.s.PGSQL.5432, database shop"),
        ("///shop?host=@abstract", "@abstract/.s.PGSQL.5432, database shop"),
        ("///shop?hostaddr=127.0.0.1", "127.0.0.1:5432/shop"),
        ("//ada@:5433/shop", "local socket, port 5433, database shop"),
        ("//ada@h", "h:5432/ada"),
        ("//ada:secret@/?service=shop", "service shop"),
        ("//ada:secret@/orders?service=shop", "service shop, database orders"),
    ],
)
def test_a_url_is_read_as_libpq_reads_it(url: str, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PGHOST", "PGHOSTADDR", "PGPORT", "PGDATABASE", "PGUSER", "PGSERVICE"):
        monkeypatch.delenv(name, raising=False)
    store = open_store(f"postgresql:{url}")
    assert store.describe() == f"PostgreSQL {place}, schema remit"
    assert (
        "secret"
        not in f"{store.describe()} {store!r} {vars(store)['address']!r} {Remit(f'postgresql:{url}', domains=[])}"
    )


def test_what_the_url_leaves_out_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"PGHOST": "db.example", "PGPORT": "6432", "PGDATABASE": "shop"}.items():
        monkeypatch.setenv(name, value)
    assert open_store("postgresql://").describe() == "PostgreSQL db.example:6432/shop, schema remit"


def test_a_pooler_takes_away_what_needs_a_session() -> None:
    plain, pooled = (open_store("postgresql://u@h/d", pooler=pooler) for pooler in (False, True))
    assert plain.capabilities - pooled.capabilities == {Capability.NOTIFY}
    assert pooled.describe().endswith("behind a pooler")


@pytest.mark.parametrize(
    "url, words",
    [
        ("mysql://ada:secret@db.example/shop", "^'db.example/shop' is no database URL that remit knows"),
        ("postgers://h/shop", "The scheme 'postgers' is unknown. Did you mean 'postgres'"),
        ("mysql://ada:p@secret@db.example/shop", "^'db.example/shop' is no database URL"),
        ("sqlit:///shop.db", "Did you mean 'sqlite'"),
        ("postgres", "^'postgres' is no database URL .*database. The `://` is missing.$"),
        ("sqlite:shop.db", "^'sqlite:shop.db' is no database URL .*database. The `://` is missing.$"),
        ("postgresql:/u:secret@h/d", "^'h/d' is no database URL .*database. The `://` is missing.$"),
        ("shop.db", "^'shop.db' is no database URL"),
        ("", "is no database URL"),
        ("sqlite://shop.db", "has two slashes: write sqlite:///shop.db"),
        (
            "sqlite:///shop.db?synchronus=full",
            "unknown option 'synchronus' in the SQLite URL. Did you mean 'synchronous'",
        ),
        ("sqlite:///shop.db?synchronous=off", "synchronous in the SQLite URL is"),
        (
            "sqlite:///shop.db?write_pause=-1",
            "write_pause in the SQLite URL is a number of lengths of a write from",
        ),
        ("sqlite:///shop.db?busy_timeout=soon", "busy_timeout in the SQLite URL is a number of seconds"),
        ("sqlite:///shop.db?busy_timeout=-1", "busy_timeout in the SQLite URL is a number of seconds"),
        ("sqlite:///shop.db?busy_timeout=nan", "busy_timeout in the SQLite URL is a number of seconds"),
        ("mysql://db.example/shop?password=secret", "^'mysql://db.example/shop' is no database URL"),
        ("host=db.example password=secret", "^the database is given as keys and values, and remit takes a URL"),
        ("postgresql://u@h/d?sslmod=require", "libpq has no option 'sslmod'. Did you mean 'sslmode'"),
        ("postgresql://u:secret%zz@h/d", "this is not a PostgreSQL URL: invalid percent-encoded token: …$"),
        ("postgresql://u:secret@[::1/d", "this is not a PostgreSQL URL: end of string reached .* …$"),
        ("postgresql://u@h/d?secret", "this is not a PostgreSQL URL: missing key/value separator …$"),
        ("postgresql://u:a@secret@h/d", "write @ as %40, / as %2F and % as %25"),
        ("postgresql://u:a/secret@h/d", "write @ as %40, / as %2F and % as %25"),
        ("postgresql://u:12/secret@h/d", "write @ as %40, / as %2F and % as %25"),
        ("postgresql://h:secret/d", "the port in a PostgreSQL URL is a number from 1 to 65535"),
        ("postgresql://h1,h2/d?port=1,2,3", "one for all hosts or one for each"),
        ("sqlite:///C:/shop/x.db", "'C:/shop/x.db' names no file of this system: write sqlite:////path/to/file.db"),
        ("sqlite:///C%3A%5Cshop%5Cx.db", "names no file of this system"),
        ("sqlite:///a%00b.db", "names no file of this system"),
    ],
)
def test_a_url_that_cannot_be_meant(url: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as refused:
        open_store(url)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("name", ["", "Work", 'a"b', "1st", "a.b", "x" * 42, "pg catalog"])
def test_the_name_of_a_schema_is_plain(name: str) -> None:
    with pytest.raises(ConfigurationError, match="use lower-case letters, digits and _"):
        open_store("postgresql://u@h/d", schema=name)


def test_a_missing_driver_names_the_extra() -> None:
    code = (
        "import sys; sys.modules['psycopg'] = None\n"
        "from remit.db.opening import open_store\n"
        "from remit.errors import MissingExtra\n"
        "try: open_store('postgresql://u@h/d')\n"
        "except MissingExtra as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout == "PostgreSQL needs psycopg: pip install 'remit[postgres]'\n"


def test_a_file_does_not_load_the_driver_of_a_server() -> None:
    code = (
        "import sys; from remit.db.opening import open_store; open_store('sqlite:///x.db')\n"
        "print(sorted({'psycopg', 'asyncpg', 'sqlalchemy', 'django', 'aiosqlite'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout == "[]\n"


def test_a_file_that_cannot_be_opened_is_named_with_the_reason(tmp_path: Path) -> None:
    text = tmp_path / "passwd"
    text.write_text("root:x:0:0:root:/root:/bin/bash\n" * 40)
    missing = tmp_path / "no" / "such"
    reasons = {
        text: "it is not an SQLite file; correct the URL, or move that file away",
        tmp_path: "it is a directory; name a file in it",
        missing / "x.db": f"the folder {missing} does not exist, or cannot be reached; create it, or correct the URL",
        text / "x.db": f"{text} is a file; correct the URL",
    }
    for path, reason in reasons.items():
        with pytest.raises(StoreError) as refused:
            schema.check(open_store(f"sqlite:///{path}"))
        assert str(refused.value) == f"{path} cannot be opened: {reason}"
    assert list(tmp_path.iterdir()) == [text]  # opening creates no folder of a misspelled path


@pytest.mark.parametrize(
    "kept, reason",
    [
        ("", "there is no permission to write in the folder {folder}, where SQLite keeps its log; grant it"),
        ("x.db", "there is no permission to read and write it; grant it"),
    ],
)
def test_a_permission_that_lacks_is_named(
    kept: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By what the system answers about it: whoever runs the tests may be root."""
    path = tmp_path / "x.db"
    path.touch()
    monkeypatch.setattr(os, "access", lambda each, mode: mode == os.F_OK or each != tmp_path / kept)
    assert obstacle(path) == reason.format(folder=tmp_path)


def test_a_file_without_an_obstacle_is_told_with_the_words_of_sqlite(tmp_path: Path) -> None:
    (tmp_path / "x.db-wal").mkdir()
    with pytest.raises(StoreError, match=r"x\.db cannot be opened: .* \(SQLITE_[A-Z_]+\)$"):
        schema.check(open_store(f"sqlite:///{tmp_path / 'x.db'}"))


def test_the_file_system_of_a_path_is_known() -> None:
    if not os.path.exists("/proc/self/mounts"):
        pytest.skip("mounts can be read on Linux only")
    assert file_system(Path("/proc/self")) == "proc"


def test_a_file_through_links_is_one_store(tmp_path: Path) -> None:
    """As releases link a shared file: its log and the sidecar lie beside the file itself."""
    shared = tmp_path / "shared"
    shared.mkdir()
    for release in ("first", "second"):
        (tmp_path / release).mkdir()
        (tmp_path / release / "shop.db").symlink_to(shared / "shop.db")  # which does not exist yet
    (tmp_path / "current").symlink_to(tmp_path / "second")
    names = [shared, tmp_path / "first", tmp_path / "second", tmp_path / "current"]
    stores = [SqliteStore(f"sqlite:///{name}/shop.db") for name in names]
    schema.migrate(stores[1])
    assert {store.path for store in stores} == {shared / "shop.db"}
    assert {store.sidecar for store in stores} == {shared / "shop.db-remit"}
    assert [store.schema_version() for store in stores] == [stores[0].schema_version()] * 4


def test_a_file_with_two_names_is_refused(tmp_path: Path) -> None:
    first, second = tmp_path / "first.db", tmp_path / "second.db"
    schema.migrate(SqliteStore(f"sqlite:///{first}"))
    second.hardlink_to(first)
    with pytest.raises(ConfigurationError, match=r"second.db has 2 names \(hard links\).*: keep one name"):
        SqliteStore(f"sqlite:///{second}")


@pytest.mark.parametrize("name", ["a?b.db", "a#b.db", "a%b.db", "a%41.db", "ä ☃.db", "a&b=c.db", "back\\slash.db"])
def test_any_name_of_a_file_can_be_written(name: str, tmp_path: Path) -> None:
    store = SqliteStore(f"sqlite:///{tmp_path}/{quote(name)}?write_pause=0")
    assert store.path == tmp_path / name
    assert SqliteStore(store.url).path == store.path


def test_another_process_finds_the_file_wherever_it_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    stores = [open_store("sqlite:///shop.db?write_pause=0"), open_store("sqlite://")]
    monkeypatch.chdir("/")
    for store in stores:
        assert open_store(store.url).describe() == store.describe()
        assert open_store(store.url).url == store.url


def test_a_network_file_system_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("remit.db.sqlite.place.file_system", lambda path: "nfs4")
    with pytest.raises(ConfigurationError, match=r"lies on a network file system \(nfs4\).*use a local disk"):
        local_path("/shop.db")
