"""Classes as rows of a database, and what several statements of `SqlStore` share."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from sqlalchemy import ColumnElement, Connection, Table, delete, insert, select, update
from sqlalchemy.engine import Row

from service.registry.records import (
    ClassRecord,
    ClassSummary,
    Expected,
    NewClass,
    PhotographsMean,
)
from service.registry.schema import classes, examples
from service.registry.store import Taken, check_expected, unknown_class

_CHUNK = 500  # names in one IN (...), below every database's limit
_INSERTED_BYTES = 2**20  # at once, about; on a slow line it must not take as long as a write may
_BLOB = np.dtype("<f8")  # exactly the numbers that were given
_VECTOR = np.dtype("<f4")
# What a tombstone has not.
OF_THE_LIVING = (
    "name",
    "attributes",
    "given",
    "metadata",
    "created_at",
    "examples",
    "examples_mean",
    "examples_bundle",
)


def living_record(row: Row[Any], attribute_count: int) -> ClassRecord:
    """What a living class's row says."""
    attributes = np.frombuffer(row.attributes, _BLOB).astype(np.float64)
    summary = ClassSummary(
        class_id=row.class_id,
        name=row.name,
        seen=False,
        given=row.given,
        filled=attribute_count - row.given,
        revision=row.revision,
        created_at=row.created_at,
        examples=row.examples or 0,
    )
    mean = None
    if row.examples_mean is not None:
        vector = np.frombuffer(row.examples_mean, _VECTOR).astype(np.float32)
        mean = PhotographsMean(vector, row.examples_bundle)
    return ClassRecord(summary, attributes, json.loads(row.metadata), mean)


def columns(collection: str, item: NewClass, revision: int) -> dict[str, Any]:
    """What a class's row holds, but for when it was created."""
    return {
        "collection": collection,
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


def insert_all(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """In pieces, for the database has only so long to answer each."""
    piece: list[dict[str, Any]] = []
    size = 0
    for row in rows:
        piece.append(row)
        size += sum(len(value) for value in row.values() if isinstance(value, bytes | str))
        if size >= _INSERTED_BYTES:
            connection.execute(insert(table), piece)
            piece, size = [], 0
    if piece:
        connection.execute(insert(table), piece)


def add_photographs(connection: Connection, collection: str, new: Sequence[NewClass]) -> None:
    rows = [
        {
            "collection": collection,
            "class_id": item.class_id,
            "position": position,
            "photograph": photograph,
        }
        for item in new
        for position, photograph in enumerate(item.photographs)
    ]
    insert_all(connection, examples, rows)


def drop_photographs(connection: Connection, collection: str, class_id: str) -> None:
    connection.execute(
        delete(examples).where(examples.c.collection == collection, examples.c.class_id == class_id)
    )


def check_current(
    connection: Connection, collection: str, class_id: str, expected: Expected
) -> None:
    """Raises: UnknownClass, PreconditionFailed."""
    query = select(classes.c.revision).where(*living_row(collection, class_id))
    found = connection.execute(query).scalar()
    if found is None:
        raise unknown_class(class_id)
    check_expected(class_id, found, expected)


def change(connection: Connection, collection: str, class_id: str, values: dict[str, Any]) -> None:
    row = living_row(collection, class_id)
    connection.execute(update(classes).where(*row).values(values))


def living(collection: str) -> tuple[ColumnElement[bool], ...]:
    return classes.c.collection == collection, classes.c.name.is_not(None)


def living_row(collection: str, class_id: str) -> tuple[ColumnElement[bool], ...]:
    return *living(collection), classes.c.class_id == class_id


def drop_tombstones(connection: Connection, collection: str, class_ids: Sequence[str]) -> None:
    """Of ids that no living class has."""
    for chunk in _chunks(class_ids):
        here = classes.c.collection == collection, classes.c.class_id.in_(chunk)
        connection.execute(delete(classes).where(*here))


def taken(connection: Connection, collection: str, new: Sequence[NewClass]) -> Taken:
    def found(column: ColumnElement[str], values: Sequence[str]) -> frozenset[str]:
        result: set[str] = set()
        for chunk in _chunks(values):
            query = select(column).where(*living(collection), column.in_(chunk))
            result.update(connection.execute(query).scalars())
        return frozenset(result)

    ids = found(classes.c.class_id, [item.class_id for item in new])
    return Taken(ids, found(classes.c.name, [item.name for item in new]))


def _chunks(values: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(values), _CHUNK):
        yield values[start : start + _CHUNK]
