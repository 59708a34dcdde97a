"""Registered classes in a database: a SQLite file, or PostgreSQL."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from sqlalchemy import ColumnElement, Connection, delete, func, insert, select, update
from sqlalchemy.engine import Row
from sqlalchemy.exc import SQLAlchemyError

from service.errors import ConfigurationError, StoreUnavailable
from service.registry.database import listen, open_database, reason
from service.registry.migration import prepare
from service.registry.once import Added, AddedBefore, Once
from service.registry.records import (
    Changes,
    ClassRecord,
    ClassSummary,
    Expected,
    NewClass,
    PhotographsMean,
)
from service.registry.schema import DEFAULT_COLLECTION, classes, examples, registry
from service.registry.spaces import MIGRATE, difference, fingerprint
from service.registry.sql_once import keep, recalled
from service.registry.store import (
    check_expected,
    class_exists,
    name_taken,
    now,
    record_of,
    unknown_class,
)

TIMEOUT_S = 5.0
_MIGRATION_TIMEOUT_S = 600  # also for the process that migrates before this one
_ROWS_AT_ONCE = 1000
_CHANNEL = "umzero_registry"
_CHUNK = 500  # names in one IN (...), below every database's limit
_BLOB = np.dtype("<f8")  # exactly the numbers that were given

_VECTOR = np.dtype("<f4")
# What a tombstone has not.
_OF_THE_LIVING = (
    "name",
    "attributes",
    "given",
    "metadata",
    "created_at",
    "examples",
    "examples_mean",
    "examples_bundle",
)

_mine = classes.c.collection == DEFAULT_COLLECTION


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

    def changes_since(self, revision: int) -> Changes:
        # One statement sees one state. Every write leaves a row with its revision, and tombstones
        # stay, so the highest revision among the rows is exactly the state that they show.
        query = select(classes).where(_mine, classes.c.revision > revision)
        newest, written, removed = revision, [], []
        with _reported(), self._engine.connect() as connection:
            # A hundred thousand sheets take longer than one statement may.
            for row in connection.execution_options(yield_per=_ROWS_AT_ONCE).execute(query):
                newest = max(newest, row.revision)
                if row.name is None:
                    removed.append(row.class_id)
                else:
                    written.append(self._record(row))
        return Changes(newest, written, removed)

    def get(self, class_id: str) -> ClassRecord | None:
        query = select(classes).where(*_living_row(class_id))
        with _reported(), self._engine.connect() as connection:
            row = connection.execute(query).first()
        return None if row is None else self._record(row)

    def photographs(self, class_id: str) -> list[bytes]:
        query = (
            select(examples.c.photograph)
            .where(examples.c.collection == DEFAULT_COLLECTION, examples.c.class_id == class_id)
            .order_by(examples.c.position)
        )
        with _reported(), self._engine.connect() as connection:
            return list(connection.execute(query).scalars())

    def recall(self, once: Once) -> Added | None:
        with _reported(), self._engine.connect() as connection:
            return recalled(connection, once)

    def add(self, new: Sequence[NewClass], once: Once | None = None) -> int:
        with _reported(), self._engine.begin() as connection:
            revision = self._next_revision(connection)
            if once and (before := recalled(connection, once)):
                raise AddedBefore(before)
            ids = _living(connection, classes.c.class_id, [item.class_id for item in new])
            names = _living(connection, classes.c.name, [item.name for item in new])
            for index, item in enumerate(new):
                if item.class_id in ids:
                    raise class_exists(item.class_id, index)
                if item.name in names:
                    raise name_taken(item.name, index)
            for chunk in _chunks([item.class_id for item in new]):
                connection.execute(delete(classes).where(_mine, classes.c.class_id.in_(chunk)))
            moment = now()
            connection.execute(
                insert(classes),
                [{**_columns(item, revision), "created_at": moment} for item in new],
            )
            _add_photographs(connection, new)
            if once:
                summaries = [record_of(item, revision, moment).summary for item in new]
                keep(connection, once, Added(summaries, revision))
        return revision

    def replace(self, item: NewClass, expected: Expected = None) -> int:
        with _reported(), self._engine.begin() as connection:
            revision = self._next_revision(connection)
            _check_current(connection, item.class_id, expected)
            query = select(classes.c.class_id).where(
                _mine, classes.c.name == item.name, classes.c.class_id != item.class_id
            )
            if connection.execute(query).first() is not None:
                raise name_taken(item.name)
            _change(connection, item.class_id, _columns(item, revision))
            _drop_photographs(connection, item.class_id)
            _add_photographs(connection, [item])
        return revision

    def remove(self, class_id: str, expected: Expected = None) -> int:
        with _reported(), self._engine.begin() as connection:
            revision = self._next_revision(connection)
            _check_current(connection, class_id, expected)
            _change(connection, class_id, {"revision": revision, **dict.fromkeys(_OF_THE_LIVING)})
            _drop_photographs(connection, class_id)
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

    def _record(self, row: Row[Any]) -> ClassRecord:
        attributes = np.frombuffer(row.attributes, _BLOB).astype(np.float64)
        summary = ClassSummary(
            class_id=row.class_id,
            name=row.name,
            seen=False,
            given=row.given,
            filled=len(self._names) - row.given,
            revision=row.revision,
            created_at=row.created_at,
            examples=row.examples or 0,
        )
        mean = None
        if row.examples_mean is not None:
            vector = np.frombuffer(row.examples_mean, _VECTOR).astype(np.float32)
            mean = PhotographsMean(vector, row.examples_bundle)
        return ClassRecord(summary, attributes, json.loads(row.metadata), mean)


def _columns(item: NewClass, revision: int) -> dict[str, Any]:
    return {
        "collection": DEFAULT_COLLECTION,
        "class_id": item.class_id,
        "revision": revision,
        "name": item.name,
        "attributes": item.attributes.astype(_BLOB).tobytes(),
        "given": item.given,
        "metadata": json.dumps(dict(item.metadata)),
        "examples": len(item.photographs),
        "examples_mean": item.mean.vector.astype(_VECTOR).tobytes() if item.mean else None,
        "examples_bundle": item.mean.bundle if item.mean else None,
    }


def _add_photographs(connection: Connection, new: Sequence[NewClass]) -> None:
    rows = [
        {
            "collection": DEFAULT_COLLECTION,
            "class_id": item.class_id,
            "position": position,
            "photograph": photograph,
        }
        for item in new
        for position, photograph in enumerate(item.photographs)
    ]
    if rows:
        connection.execute(insert(examples), rows)


def _drop_photographs(connection: Connection, class_id: str) -> None:
    connection.execute(
        delete(examples).where(
            examples.c.collection == DEFAULT_COLLECTION, examples.c.class_id == class_id
        )
    )


def _check_current(connection: Connection, class_id: str, expected: Expected) -> None:
    """Raises: UnknownClass, PreconditionFailed."""
    query = select(classes.c.revision).where(*_living_row(class_id))
    found = connection.execute(query).scalar()
    if found is None:
        raise unknown_class(class_id)
    check_expected(class_id, found, expected)


def _change(connection: Connection, class_id: str, values: dict[str, Any]) -> None:
    connection.execute(update(classes).where(*_living_row(class_id)).values(values))


def _living_row(class_id: str) -> tuple[ColumnElement[bool], ...]:
    return _mine, classes.c.class_id == class_id, classes.c.name.is_not(None)


def _living(connection: Connection, column: Any, values: Sequence[str]) -> set[str]:
    """Which of these ids or names belong to living classes."""
    found: set[str] = set()
    for chunk in _chunks(values):
        query = select(column).where(_mine, classes.c.name.is_not(None), column.in_(chunk))
        found.update(connection.execute(query).scalars())
    return found


def _chunks(values: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(values), _CHUNK):
        yield values[start : start + _CHUNK]


@contextmanager
def _reported() -> Iterator[None]:
    try:
        yield
    except SQLAlchemyError as error:
        raise StoreUnavailable("the database of classes does not answer; try again") from error
