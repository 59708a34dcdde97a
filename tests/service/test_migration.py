"""The schema: made, migrated and refused, by one process at a time."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, inspect, text

from service.errors import ConfigurationError
from service.registry import migration
from service.registry.database import open_database
from service.registry.records import NewClass
from service.registry.schema import metadata
from service.registry.spaces import fingerprint
from service.registry.sql_store import SqlStore
from tests.stores import NAMES, changes_since

Make = Callable[..., NewClass]
REPOSITORY = Path(__file__).resolve().parents[2]

# What version 1 of the service executed, before there were migrations.
VERSION_1 = """
CREATE TABLE umzero_registry (
    id INTEGER NOT NULL,
    schema_version INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    attribute_space VARCHAR(64),
    PRIMARY KEY (id)
);
CREATE TABLE umzero_classes (
    collection VARCHAR(100) NOT NULL,
    class_id VARCHAR(100) NOT NULL,
    revision INTEGER NOT NULL,
    name VARCHAR(200),
    attributes {blob},
    given INTEGER,
    metadata TEXT,
    created_at VARCHAR(30),
    PRIMARY KEY (collection, class_id),
    CONSTRAINT umzero_classes_name UNIQUE (collection, name)
);
CREATE INDEX umzero_classes_revision ON umzero_classes (collection, revision);
INSERT INTO umzero_registry VALUES (1, 1, 3, :space);
INSERT INTO umzero_classes VALUES
    ('default', 'kite', 1, 'Kite', :sheet, 6, '{{"pages"\\: [1, 2.5]}}',
     '2026-01-02T03:04:05.678Z');
INSERT INTO umzero_classes VALUES ('default', 'gone', 3, NULL, NULL, NULL, NULL, NULL);
"""


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = open_database(database_url, 10)
    yield engine
    engine.dispose()


def execute(engine: Engine, script: str, **values: object) -> None:
    """Statements, one after the other; each takes what it names of the values."""
    with engine.begin() as connection:
        for statement in filter(str.strip, script.split(";\n")):
            named = {key: value for key, value in values.items() if f":{key}" in statement}
            connection.execute(text(statement), named)


def versions(engine: Engine) -> tuple[str, int]:
    with engine.connect() as connection:
        return (
            connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one(),
            connection.execute(text("SELECT schema_version FROM umzero_registry")).scalar_one(),
        )


def test_the_newest_migration_leaves_the_tables_that_the_store_reads(
    database_url: str, engine: Engine
) -> None:
    SqlStore(database_url, NAMES).close()

    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    name, number = versions(engine)
    assert name.startswith(f"{number:04d}_")


def test_a_database_of_version_1_keeps_its_classes(
    database_url: str, engine: Engine, new_class: Make
) -> None:
    sheet = np.linspace(0, 100, 9)
    blob = "BLOB" if engine.dialect.name == "sqlite" else "BYTEA"
    execute(
        engine,
        VERSION_1.format(blob=blob),
        space=fingerprint(NAMES),
        sheet=sheet.astype("<f8").tobytes(),
    )

    for _ in range(2):  # the second one finds it ready
        store = SqlStore(database_url, NAMES)
        changes = changes_since(store, 0)
        assert (changes.revision, changes.removed) == (3, [("default", "gone")])
        (kite,) = changes.written.values()
        assert kite.attributes.tolist() == sheet.tolist()
        assert kite.metadata == {"pages": [1, 2.5]}
        summary = kite.summary
        assert (summary.class_id, summary.name, summary.revision) == ("kite", "Kite", 1)
        assert summary.created_at == "2026-01-02T03:04:05.678Z"
        store.close()

    assert versions(engine)[1] > 1
    store = SqlStore(database_url, NAMES)
    assert store.add("default", [new_class("gone")]) == 4
    store.close()


def test_a_database_whose_making_was_cut_short_is_completed(
    database_url: str, engine: Engine, new_class: Make
) -> None:
    execute(engine, VERSION_1[: VERSION_1.index("CREATE TABLE umzero_classes")])

    store = SqlStore(database_url, NAMES)

    assert store.add("default", [new_class("a")]) == 1
    store.close()


def test_a_migration_that_fails_leaves_nothing_behind(
    database_url: str, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("the last step of all")

    with monkeypatch.context() as patched:
        patched.setattr(migration, "update", fails)
        with pytest.raises(RuntimeError, match="last step"):
            SqlStore(database_url, NAMES)
    assert inspect(engine).get_table_names() == []

    SqlStore(database_url, NAMES).close()


def test_a_database_of_a_later_version_is_refused(database_url: str, engine: Engine) -> None:
    SqlStore(database_url, NAMES).close()
    execute(engine, "UPDATE umzero_registry SET schema_version = 99")

    with pytest.raises(ConfigurationError, match="version 99"):
        SqlStore(database_url, NAMES)


def test_four_processes_that_start_at_once_make_one_schema(
    database_url: str, engine: Engine
) -> None:
    program = f"""
import sys
from service.registry.sql_store import SqlStore
print("here", flush=True)
sys.stdin.readline()
store = SqlStore({database_url!r}, {NAMES!r})
print(store.revision(), flush=True)
"""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()

    answers = [process.communicate() for process in processes]

    assert [answer[0] for answer in answers] == ["0\n"] * 4, answers
    with engine.connect() as connection:
        assert len(connection.execute(text("SELECT * FROM umzero_registry")).all()) == 1
        assert len(connection.execute(text("SELECT * FROM alembic_version")).all()) == 1


def test_the_migrations_are_one_line_of_numbers() -> None:
    script = ScriptDirectory(str(REPOSITORY / "service" / "registry" / "migrations"))
    names = [step.revision for step in script.walk_revisions()][::-1]

    assert [int(name[:4]) for name in names] == list(range(1, len(names) + 1))
    assert all(len(name) <= 32 for name in names)  # what Alembic's own table holds
