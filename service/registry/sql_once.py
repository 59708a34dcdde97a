"""What registrations answered, in a database; see `once`."""

import json
import time
from dataclasses import asdict

from sqlalchemy import Connection, delete, insert, select

from service.registry.once import KEPT_S, Added, Once, check_same
from service.registry.records import ClassSummary
from service.registry.schema import idempotency


def recalled(connection: Connection, collection: str, once: Once) -> Added | None:
    """The answer to the first request with this key, if there was one within `KEPT_S`.

    Raises:
        IdempotencyKeyReused
    """
    query = select(idempotency).where(
        idempotency.c.collection == collection,
        idempotency.c.idempotency_key == once.key,
        idempotency.c.expires > time.time(),
    )
    row = connection.execute(query).first()
    if row is None:
        return None
    check_same(once, row.fingerprint)
    classes = [ClassSummary(**item) for item in json.loads(row.classes)]
    return Added(classes, row.revision, again=True)


def keep(connection: Connection, collection: str, once: Once, added: Added) -> None:
    """Keep an answer, in the transaction that writes its classes; and forget what is too old."""
    now = time.time()
    connection.execute(delete(idempotency).where(idempotency.c.expires <= now))
    connection.execute(
        insert(idempotency).values(
            collection=collection,
            idempotency_key=once.key,
            fingerprint=once.fingerprint,
            revision=added.revision,
            classes=json.dumps([asdict(item) for item in added.classes]),
            expires=int(now + KEPT_S),
        )
    )
