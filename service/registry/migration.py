"""`prepare`: a database gets the schema that this version of the service knows.

The steps lie in `migrations/versions`, one file each, and are Alembic's. There is no way back: who
needs the old schema needs the backup that was made before.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, func, inspect, select, update

from service.errors import ConfigurationError
from service.registry.schema import registry

_MIGRATIONS = Path(__file__).parent / "migrations"
_ADVISORY_LOCK = 0x756D7A65726F  # "umzero"
# Alembic keeps what it works on in globals.
_one_at_a_time = threading.Lock()


def prepare(engine: Engine) -> None:
    """Take the schema to its newest version, unless it is there; processes wait for each other.

    Raises:
        ConfigurationError: a later version of the service wrote this database.
        SQLAlchemyError: it can't be read or written; nothing has changed.
    """
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    newest = _number(ScriptDirectory.from_config(config).get_current_head())
    with engine.connect() as connection:
        # What is ready needs no lock: a start does not wait for writers.
        if _checked(connection, newest) == newest:
            return
    with _one_at_a_time, _alone(engine) as connection:
        if _checked(connection, newest) == newest:
            return
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        connection.execute(update(registry).values(schema_version=newest))


def _checked(connection: Connection, newest: int) -> int:
    """The version of the schema that is there; 0 for none."""
    if not inspect(connection).has_table(registry.name):
        return 0
    found = connection.execute(select(registry.c.schema_version)).scalar() or 0
    if found > newest:
        raise ConfigurationError(
            f"the database has schema version {found}; this version of the service reads "
            f"{newest}. Start a newer service, or give another --database-url"
        )
    return found


def _number(revision: str | None) -> int:
    """ "0002_examples" -> 2."""
    assert revision is not None, "there are no migrations"
    return int(revision.partition("_")[0])


@contextmanager
def _alone(engine: Engine) -> Iterator[Connection]:
    """A transaction that no other process migrates in at the same time."""
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            connection.execute(select(func.pg_advisory_xact_lock(_ADVISORY_LOCK)))
        yield connection
