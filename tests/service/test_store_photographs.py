"""Photographs in the stores, and their mean."""

from collections.abc import Callable

import numpy as np
import pytest
from sqlalchemy import text

from service.errors import (
    ClassExists,
    NameTaken,
    UnknownClass,
)
from service.registry.records import NewClass
from service.registry.sql_store import SqlStore
from service.registry.store import ClassStore
from tests.stores import MEAN, NAMES, PHOTOGRAPHS, changes_since, photographed

Make = Callable[..., NewClass]


def examples_of(store: ClassStore, class_id: str) -> tuple[int, list[float] | None, list[bytes]]:
    """How many a class has by its record, their mean, and what is there of them."""
    record = store.get("default", class_id)
    if record is None:
        return 0, None, store.photographs("default", class_id)
    mean = None if record.mean is None else record.mean.vector.tolist()
    return record.summary.examples, mean, store.photographs("default", class_id)


def test_photographs_and_their_mean_are_read_back_in_their_order(
    store: ClassStore, new_class: Make
) -> None:
    store.add("default", [new_class("plain"), photographed(new_class("kite"))])

    assert examples_of(store, "kite") == (3, MEAN.vector.tolist(), list(PHOTOGRAPHS))
    assert examples_of(store, "plain") == (0, None, [])
    assert examples_of(store, "nobody") == (0, None, [])
    told_of = {
        record.summary.class_id: record for record in changes_since(store, 0).written.values()
    }
    mean = told_of["kite"].mean
    assert mean is not None
    assert (mean.vector.dtype, mean.bundle) == (np.float32, "c" * 64)
    assert (told_of["kite"].summary.examples, told_of["plain"].summary.examples) == (3, 0)


def test_photographs_go_with_their_class_and_with_what_replaces_it(
    store: ClassStore, new_class: Make
) -> None:
    store.add("default", [photographed(new_class(class_id)) for class_id in ("a", "b", "c", "d")])

    store.remove("default", "a")
    store.replace("default", new_class("b"))
    store.replace("default", photographed(new_class("c"), (b"another",)))

    assert examples_of(store, "a") == (0, None, [])
    assert examples_of(store, "b") == (0, None, [])
    assert examples_of(store, "c") == (1, MEAN.vector.tolist(), [b"another"])
    assert examples_of(store, "d") == (3, MEAN.vector.tolist(), list(PHOTOGRAPHS))
    store.add("default", [new_class("a")])
    assert examples_of(store, "a") == (0, None, [])


def test_a_write_that_is_refused_leaves_the_photographs_alone(
    store: ClassStore, new_class: Make
) -> None:
    store.add("default", [photographed(new_class("a")), new_class("b", name="Kite")])

    with pytest.raises(ClassExists):
        store.add("default", [photographed(new_class("x")), photographed(new_class("a"), (b"no",))])
    with pytest.raises(NameTaken):
        store.replace("default", photographed(new_class("a", name="Kite"), (b"no",)))
    with pytest.raises(UnknownClass):
        store.replace("default", photographed(new_class("y"), (b"no",)))

    assert examples_of(store, "a") == (3, MEAN.vector.tolist(), list(PHOTOGRAPHS))
    assert store.photographs("default", "x") == store.photographs("default", "y") == []


def test_photographs_outlive_the_store(database_url: str, new_class: Make) -> None:
    first = SqlStore(database_url, NAMES)
    first.add("default", [photographed(new_class("a")), photographed(new_class("gone"))])
    first.remove("default", "gone")
    first.close()

    second = SqlStore(database_url, NAMES)

    assert examples_of(second, "a") == (3, MEAN.vector.tolist(), list(PHOTOGRAPHS))
    record = second.get("default", "a")
    assert record is not None
    assert record.mean is not None
    assert record.mean.bundle == "c" * 64
    with second._engine.connect() as connection:
        rows = connection.execute(text("SELECT class_id FROM umzero_examples")).scalars()
        assert list(rows) == ["a"] * 3
    second.close()
