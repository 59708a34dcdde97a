"""A database that refuses, hangs, fills up or goes away: an error in time, and nothing written."""

import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.exc import OperationalError

from service.errors import ConfigurationError, ServiceError, StoreUnavailable
from service.registry import sql_rows, sql_store
from service.registry.records import NewClass
from service.registry.sql_store import SqlStore
from tests.databases import Postgres
from tests.stores import NAMES, changes_since

Make = Callable[..., NewClass]
LONG_S = 60  # far beyond every limit here, far below "for ever"


@pytest.fixture
def store(database_url: str) -> Iterator[SqlStore]:
    store = SqlStore(database_url, NAMES, timeout_s=1.5)
    yield store
    store.close()


def test_a_commit_that_fails_writes_nothing(
    store: SqlStore, new_class: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.add("default", [new_class("a")])

    def full_disk(connection: object) -> None:
        raise OperationalError("COMMIT", {}, sqlite3.OperationalError("disk is full"))

    with monkeypatch.context() as patched:
        patched.setattr(store._engine.dialect, "do_commit", full_disk)
        with pytest.raises(StoreUnavailable):
            store.add("default", [new_class("b")])

    assert [record.summary.class_id for record in changes_since(store, 0).written.values()] == ["a"]
    assert store.add("default", [new_class("b")]) == 2


def test_writers_do_not_wait_for_a_lock_for_ever_and_readers_not_at_all(
    store: SqlStore, database_url: str, new_class: Make
) -> None:
    other: sqlite3.Connection | psycopg.Connection
    if database_url.startswith("sqlite"):
        other = sqlite3.connect(database_url.removeprefix("sqlite:///"), isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
    else:
        other = psycopg.connect(database_url)
    other.execute("UPDATE umzero_registry SET revision = revision + 1")
    started = time.monotonic()

    with pytest.raises(StoreUnavailable) as refused:
        store.add("default", [new_class("a")])
    assert time.monotonic() - started < LONG_S
    assert store.revision() == 0
    assert changes_since(store, 0).written == {}
    other.rollback()

    assert refused.value.status == 503
    assert store.add("default", [new_class("a")]) == 1
    other.close()


def test_a_full_sqlite_file_takes_no_more_until_there_is_room(
    sqlite_file: Path, new_class: Make
) -> None:
    store = SqlStore(f"sqlite:///{sqlite_file}", NAMES)
    with store._engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 3}")
    batch = [new_class(f"c{number}") for number in range(200)]

    with pytest.raises(StoreUnavailable) as refused:
        store.add("default", batch)
    assert "full" in str(refused.value.__cause__)
    assert (store.revision(), changes_since(store, 0).written) == (0, {})

    with store._engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 100000")
    assert store.add("default", batch) == 1
    store.close()


def test_a_server_that_hangs_is_given_up_and_found_again(
    own_postgres: Postgres, new_class: Make
) -> None:
    store = SqlStore(own_postgres.database(), NAMES, timeout_s=1.5)
    store.add("default", [new_class("a")])
    own_postgres.pause()
    started = time.monotonic()

    for attempt in range(2):  # on an open connection, and on a new one
        with pytest.raises(StoreUnavailable):
            store.add("default", [new_class(f"b{attempt}")])
        with pytest.raises(StoreUnavailable):
            store.revision()
    assert time.monotonic() - started < LONG_S
    own_postgres.resume()

    assert store.get("default", "a") is not None
    assert store.add("default", [new_class("c")]) > 1
    store.close()


def test_a_server_that_was_started_again_is_found_by_the_first_call(
    own_postgres: Postgres, new_class: Make
) -> None:
    store = SqlStore(own_postgres.database(), NAMES)
    store.add("default", [new_class("a")])
    own_postgres.stop()
    with pytest.raises(StoreUnavailable):
        store.add("default", [new_class("b")])
    own_postgres.start()

    assert store.add("default", [new_class("b")]) == 2
    assert len(changes_since(store, 0).written) == 2
    store.close()


def test_a_load_may_take_longer_than_one_statement(
    postgres: Postgres, new_class: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql_store, "_ROWS_AT_ONCE", 20)
    url = postgres.database()
    store = SqlStore(url, NAMES, timeout_s=2)
    store.add("default", [new_class(f"c{number}") for number in range(400)])
    with psycopg.connect(url) as connection:
        connection.execute("ALTER TABLE umzero_classes RENAME TO quick")
        connection.execute(
            "CREATE VIEW umzero_classes AS SELECT quick.* FROM quick, "
            "LATERAL (SELECT pg_sleep(0.01 + 0 * quick.revision)) AS slow"
        )

    assert len(changes_since(store, 0).written) == 400  # in 4 s
    with store._engine.connect() as found, pytest.raises(OperationalError, match="timeout"):
        found.exec_driver_sql("SELECT count(*) FROM umzero_classes WHERE name > ''")
    store.close()


def test_many_classes_at_once_may_take_longer_than_one_answer(
    postgres: Postgres, new_class: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql_rows, "_INSERTED_BYTES", 2000)
    url = postgres.database()
    store = SqlStore(url, NAMES, timeout_s=1)
    with psycopg.connect(url) as connection:
        connection.execute(
            "CREATE FUNCTION be_slow() RETURNS trigger LANGUAGE plpgsql AS "
            "'BEGIN PERFORM pg_sleep(0.008); RETURN NEW; END'"
        )
        connection.execute(
            "CREATE TRIGGER slow BEFORE INSERT ON umzero_classes "
            "FOR EACH ROW EXECUTE FUNCTION be_slow()"
        )

    store.add("default", [new_class(f"c{number}") for number in range(400)])  # in 3 s

    assert len(changes_since(store, 0).written) == 400
    store.close()


def test_a_server_that_forgets_on_a_crash_is_told_not_to(postgres: Postgres) -> None:
    url = postgres.database()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("ALTER ROLE umzero SET synchronous_commit = off")
        assert _setting(url, "synchronous_commit") == "off"
        store = SqlStore(url, NAMES)
        with store._engine.connect() as found:
            assert found.exec_driver_sql("SHOW synchronous_commit").scalar_one() == "on"
            assert found.exec_driver_sql("SHOW transaction_isolation").scalar_one() == (
                "read committed"
            )
        store.close()
        connection.execute("ALTER ROLE umzero RESET synchronous_commit")


def _setting(url: str, name: str) -> str:
    with psycopg.connect(url) as connection:
        row = connection.execute(f"SHOW {name}").fetchone()  # type: ignore[call-overload]
    return str(row[0])


def test_whoever_listens_is_woken_by_every_commit_until_he_stops(
    postgres: Postgres, new_class: Make
) -> None:
    url = postgres.database()
    heard, writer = SqlStore(url, NAMES), SqlStore(url, NAMES)
    woken = threading.Event()
    stop = heard.listen(woken.set)
    assert woken.wait(LONG_S)  # it listens
    for number in range(3):
        woken.clear()
        writer.add("default", [new_class(f"c{number}")])
        assert woken.wait(LONG_S)

    stop()
    with psycopg.connect(url, autocommit=True) as connection:
        listening = (
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE datname = current_database() AND query LIKE 'LISTEN%'"
        )
        end = time.monotonic() + LONG_S
        while connection.execute(listening).fetchone() != (0,):
            assert time.monotonic() < end
    woken.clear()
    writer.remove("default", "c0")
    assert not woken.is_set()
    for store in (heard, writer):
        store.close()


def test_commits_to_sqlite_survive_power_cuts(sqlite_file: Path) -> None:
    store = SqlStore(f"sqlite:///{sqlite_file}", NAMES)
    with store._engine.connect() as connection:
        cursor = connection.connection.cursor()
        assert cursor.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert cursor.execute("PRAGMA synchronous").fetchone() == (2,)
    store.close()


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("not a url", "none that SQLAlchemy knows"),
        ("nosuchdatabase://x", "none that SQLAlchemy knows"),
        ("oracle://x", "SQLite or PostgreSQL"),
        ("sqlite://:memory:", "a port that is no number"),
        ("postgresql://user:hidden", "a port that is no number"),
        ("sqlite://", "needs a file"),
        ("sqlite:///:memory:", "needs a file"),
        ("sqlite:///file:x?mode=memory&uri=true", "needs a file"),
        ("sqlite:///file::memory:?cache=shared&uri=true", "needs a file"),
        ("sqlite:////proc/no/such/folder/x.db", "can't be made"),
        ("postgresql://user:hidden@127.0.0.1:1/x", "can't be used"),
    ],
)
def test_a_url_that_can_not_be_used_is_told(url: str, told: str) -> None:
    with pytest.raises(ServiceError, match=told) as refused:
        SqlStore(url, NAMES)
    assert "hidden" not in refused.value.detail


def test_without_psycopg_it_is_told_how_to_install_it() -> None:
    program = """
import sys
sys.modules["psycopg"] = None
from service.registry.sql_store import SqlStore
SqlStore("postgresql://x/y", ["a"])
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )

    assert "pip install 'umzero[postgres]'" in done.stderr


def test_a_file_that_is_no_database_is_told(sqlite_file: Path) -> None:
    sqlite_file.write_bytes(b"something else entirely" * 100)

    with pytest.raises(ConfigurationError, match="can't be used"):
        SqlStore(f"sqlite:///{sqlite_file}", NAMES)
