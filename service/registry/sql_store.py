"""Registered classes in a database: a SQLite file, or PostgreSQL."""

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, func, select, update
from sqlalchemy.engine import Row
from sqlalchemy.exc import SQLAlchemyError

from service.errors import ConfigurationError, StoreUnavailable
from service.registry import sql_rows
from service.registry.database import listen, open_database, reason
from service.registry.migration import prepare
from service.registry.once import Added, AddedBefore, Once
from service.registry.records import (
    Changes,
    ClassRecord,
    Expected,
    Key,
    NewClass,
)
from service.registry.schema import classes, examples, registry
from service.registry.spaces import MIGRATE, difference, fingerprint
from service.registry.sql_once import keep, recalled
from service.registry.store import (
    Taken,
    name_taken,
    now,
    record_of,
)

log = logging.getLogger(__name__)

TIMEOUT_S = 5.0
_MIGRATION_TIMEOUT_S = 600  # also for the process that migrates before this one
_ROWS_AT_ONCE = 1000
_CHANNEL = "umzero_registry"


class SqlStore:
    """A `ClassStore` in a database.

    Args:
        url: see `open_database`.
        names: (A,), of the bundle's attributes. Sheets are rows of numbers: under other attributes
            they would mean something else, so a database that has such ones is refused.
        timeout_s: for a lock, a connection, or one statement; then it is StoreUnavailable.

    Raises:
        ConfigurationError: the URL can't be used, the database was written by a later version, or
            its sheets are of other attributes.
    """

    def __init__(self, url: str, names: Sequence[str], timeout_s: float = TIMEOUT_S) -> None:
        self._names = names
        self._space = fingerprint(names)
        self._engine = open_database(url, timeout_s)
        patient = open_database(url, _MIGRATION_TIMEOUT_S)
        try:
            prepare(patient)
            with self._engine.connect() as connection:
                self._check_space(connection.execute(select(registry)).one())
        except SQLAlchemyError as error:
            self._engine.dispose()
            raise ConfigurationError(f"the database can't be used: {reason(error)}") from error
        except ConfigurationError:
            self._engine.dispose()
            raise
        finally:
            patient.dispose()

    def revision(self) -> int:
        with _reported(), self._engine.connect() as connection:
            return int(connection.execute(select(registry.c.revision)).scalar_one())

    def changes_since(self, revision: int, take: Callable[[Changes], None]) -> int:
        # One statement sees one state. Every write leaves a row with its revision, and tombstones
        # stay, so the highest revision among the rows is exactly the state that they show.
        query = select(classes).where(classes.c.revision > revision)
        newest = revision
        with _reported(), self._engine.connect() as connection:
            # A hundred thousand sheets take longer than one statement may.
            rows = connection.execution_options(yield_per=_ROWS_AT_ONCE).execute(query)
            for piece in rows.partitions():
                newest = max(newest, *(row.revision for row in piece))
                take(self._changes(piece))
        return newest

    def get(self, collection: str, class_id: str) -> ClassRecord | None:
        query = select(classes).where(*sql_rows.living_row(collection, class_id))
        with _reported(), self._engine.connect() as connection:
            row = connection.execute(query).first()
        return None if row is None else sql_rows.living_record(row, len(self._names))

    def page(self, collection: str, after: str, limit: int) -> list[ClassRecord]:
        query = (
            select(classes)
            .where(*sql_rows.living(collection), classes.c.class_id > after)
            .order_by(classes.c.class_id)
            .limit(limit)
        )
        with _reported(), self._engine.connect() as connection:
            return [
                sql_rows.living_record(row, len(self._names)) for row in connection.execute(query)
            ]

    def taken(self, collection: str, new: Sequence[NewClass]) -> Taken:
        with _reported(), self._engine.connect() as connection:
            return sql_rows.taken(connection, collection, new)

    def photographs(self, collection: str, class_id: str) -> list[bytes]:
        query = (
            select(examples.c.photograph)
            .where(examples.c.collection == collection, examples.c.class_id == class_id)
            .order_by(examples.c.position)
        )
        with _reported(), self._engine.connect() as connection:
            return list(connection.execute(query).scalars())

    def recall(self, collection: str, once: Once) -> Added | None:
        with _reported(), self._engine.connect() as connection:
            return recalled(connection, collection, once)

    def add(self, collection: str, new: Sequence[NewClass], once: Once | None = None) -> int:
        with _reported(), self._engine.begin() as connection:
            revision = self._next_revision(connection)
            if once and (before := recalled(connection, collection, once)):
                raise AddedBefore(before)
            taken = sql_rows.taken(connection, collection, new)
            for index, item in enumerate(new):
                taken.check(item, index)
            sql_rows.drop_tombstones(connection, collection, [item.class_id for item in new])
            moment = now()
            rows = [
                {**sql_rows.columns(collection, item, revision), "created_at": moment}
                for item in new
            ]
            sql_rows.insert_all(connection, classes, rows)
            sql_rows.add_photographs(connection, collection, new)
            if once:
                summaries = [record_of(item, revision, moment).summary for item in new]
                keep(connection, collection, once, Added(summaries, revision))
        return revision

    def replace(self, collection: str, item: NewClass, expected: Expected = None) -> int:
        with _reported(), self._engine.begin() as connection:
            revision = self._next_revision(connection)
            sql_rows.check_current(connection, collection, item.class_id, expected)
            query = select(classes.c.class_id).where(
                classes.c.collection == collection,
                classes.c.name == item.name,
                classes.c.class_id != item.class_id,
            )
            if connection.execute(query).first() is not None:
                raise name_taken(item.name)
            columns = sql_rows.columns(collection, item, revision)
            sql_rows.change(connection, collection, item.class_id, columns)
            sql_rows.drop_photographs(connection, collection, item.class_id)
            sql_rows.add_photographs(connection, collection, [item])
        return revision

    def remove(self, collection: str, class_id: str, expected: Expected = None) -> int:
        with _reported(), self._engine.begin() as connection:
            revision = self._next_revision(connection)
            sql_rows.check_current(connection, collection, class_id, expected)
            tombstone = {"revision": revision, **dict.fromkeys(sql_rows.OF_THE_LIVING)}
            sql_rows.change(connection, collection, class_id, tombstone)
            sql_rows.drop_photographs(connection, collection, class_id)
        return revision

    def listen(self, wake: Callable[[], None]) -> Callable[[], None]:
        return listen(self._engine, _CHANNEL, wake)

    def close(self) -> None:
        self._engine.dispose()

    def _next_revision(self, connection: Connection) -> int:
        """The first statement of every write: its row lock puts all writers in one line."""
        count = (
            update(registry)
            .values(revision=registry.c.revision + 1)
            .returning(registry.c.revision, registry.c.attribute_space, registry.c.attribute_names)
        )
        if connection.dialect.name == "postgresql":
            # Heard by the others once this transaction is committed.
            count = count.returning(func.pg_notify(_CHANNEL, ""))
        row = connection.execute(count).one()
        self._check_space(row)
        if row.attribute_space is None:
            connection.execute(update(registry).values(attribute_space=self._space))
        if row.attribute_names is None:
            names = json.dumps(self._names)
            connection.execute(update(registry).values(attribute_names=names))
        return int(row.revision)

    def _changes(self, rows: Sequence[Row[Any]]) -> Changes:
        written: dict[Key, ClassRecord] = {}
        removed: list[Key] = []
        for row in rows:
            key = row.collection, row.class_id
            if row.name is None:
                removed.append(key)
                continue
            try:
                written[key] = sql_rows.living_record(row, len(self._names))
            except (ValueError, RecursionError):
                # One row that can't be read must not hold all others up.
                where = {"collection": row.collection, "class_id": row.class_id}
                log.exception("stored class can't be read", extra=where)
                removed.append(key)
        return Changes(written, removed)

    def _check_space(self, stored: Row[Any]) -> None:
        if stored.attribute_space in (None, self._space):
            return
        differ = ""
        if stored.attribute_names:
            found = difference(json.loads(stored.attribute_names), self._names)
            differ = f": {found}"
        raise ConfigurationError(
            f"the database holds sheets of other attributes than this bundle's{differ}. Start with "
            f"the bundle that they were registered with, or give another --database-url. {MIGRATE}"
        )


@contextmanager
def _reported() -> Iterator[None]:
    try:
        yield
    except SQLAlchemyError as error:
        raise StoreUnavailable("the database of classes does not answer; try again") from error
