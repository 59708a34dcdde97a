"""Attribute spaces: what differs, and what a start with other attributes is told."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from sqlalchemy import select, update

from model.bundle import Bundle
from model.runtime.fake import FAKE_ATTRIBUTES, FakeBackend, write_fake_bundle
from service.bootstrap import build
from service.errors import ConfigurationError
from service.registry.collection import Collection
from service.registry.database import open_database
from service.registry.records import NewClass
from service.registry.schema import registry
from service.registry.spaces import Difference, difference
from service.registry.sql_store import SqlStore
from service.settings import Settings


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        ("abcd", ((), (), ())),
        ("abcde", (("e",), (), ())),
        ("eabcd", (("e",), (), ())),  # what is there already keeps its order
        ("acd", ((), ("b",), ())),
        ("bacd", ((), (), ("b", "a"))),
        ("xbca", (("x",), ("d",), ("b", "c", "a"))),
        ("", ((), tuple("abcd"), ())),
    ],
)
def test_names_are_new_gone_or_elsewhere(
    after: Sequence[str], expected: tuple[tuple[str, ...], ...]
) -> None:
    assert difference("abcd", after) == Difference(*expected)


def test_only_the_first_names_are_told() -> None:
    assert str(difference("ab", "cb")) == "1 added (c), 1 missing (a)"
    assert str(difference("", "abcdefg")) == "7 added (a, b, c, d, e and 2 more)"


@pytest.fixture
def other(tmp_path: Path) -> Bundle:
    groups = {**FAKE_ATTRIBUTES, "has_tail": ("long", "short")}
    return write_fake_bundle(tmp_path / "other", {"Robin": {"has_crown": "green"}}, groups)


def test_a_start_with_other_attributes_says_which_and_how_to_take_the_classes_along(
    bundle: Bundle, other: Bundle, new_class: Callable[..., NewClass], tmp_path: Path
) -> None:
    def start(wanted: Bundle) -> None:
        registry = build(
            Settings(bundle=wanted.path, state_dir=tmp_path), open_backend=FakeBackend.of
        ).generation.registry
        registry.load()
        Collection(registry, "default").register([new_class(f"of-{wanted.name}")])
        registry.close()

    start(bundle)

    with pytest.raises(ConfigurationError) as refused:
        start(other)

    told = refused.value.detail
    assert "2 added (has_tail::long, has_tail::short)" in told
    assert "missing" not in told
    assert "umzero classes export" in told
    assert "umzero classes import" in told


def test_a_database_of_an_earlier_version_learns_the_names_with_its_next_write(
    bundle: Bundle, database_url: str, new_class: Callable[..., NewClass]
) -> None:
    names = bundle.manifest.attributes.names
    old = SqlStore(database_url, names)
    old.add("default", [new_class("before")])
    old.close()
    engine = open_database(database_url, 5)
    with engine.begin() as connection:
        connection.execute(update(registry).values(attribute_names=None))

    store = SqlStore(database_url, names)
    with pytest.raises(ConfigurationError, match=r"this bundle's\. Start"):
        SqlStore(database_url, names[1:])  # nobody knows yet which
    assert store.add("default", [new_class("after")]) == 2
    store.close()

    with engine.connect() as connection:
        kept = connection.execute(select(registry.c.attribute_names)).scalar_one()
    engine.dispose()
    assert json.loads(kept) == list(names)
    with pytest.raises(ConfigurationError, match="1 missing"):
        SqlStore(database_url, names[1:])
