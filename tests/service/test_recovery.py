"""What a registry lives through: a row that can't be read, a database that went back in time."""

import logging
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import text

from model.bundle import Bundle
from model.runtime.fake import FakeBackend
from service.registry.collection import Collection
from service.registry.prototypes import Prototypes
from service.registry.records import NewClass
from service.registry.registry import Registry
from service.registry.sql_store import SqlStore
from tests.stores import OTHERS

Make = Callable[..., NewClass]
Start = Callable[[], tuple[Registry, Collection]]


@pytest.fixture
def start(bundle: Bundle, database_url: str) -> Iterator[Start]:
    """Starts one more registry on the same database."""
    registries: list[Registry] = []

    def begin() -> tuple[Registry, Collection]:
        prototypes = Prototypes(FakeBackend.of(bundle).prototypes, lambda _: pytest.fail("no such"))
        registry = Registry(SqlStore(database_url, OTHERS), bundle.classes, prototypes)
        registry.load()
        registries.append(registry)
        return registry, Collection(registry, "default")

    yield begin
    for registry in registries:
        registry.close()


def execute(registry: Registry, *statements: str) -> None:
    assert isinstance(registry.store, SqlStore)
    with registry.store._engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))


def test_a_class_that_can_not_be_read_back_holds_no_other_up(
    start: Start, new_class: Make, caplog: pytest.LogCaptureFixture
) -> None:
    follower, followed = start()
    registry, collection = start()
    collection.register([new_class("good"), new_class("spoilt")])
    follower.refresh()
    spoil = "UPDATE umzero_classes SET metadata = '{', revision = 2 WHERE class_id = 'spoilt'"
    execute(registry, spoil, "UPDATE umzero_registry SET revision = 2")

    for table in (followed, collection):
        table.registry.refresh()
        assert table.table.find("good") is not None
        assert table.table.find("spoilt") is None
        assert table.table.revision == 2
    _, fresh = start()
    assert fresh.table.find("good") is not None
    said = [item for item in caplog.records if "can't be read" in item.message]
    assert [item.__dict__["class_id"] for item in said] == ["spoilt"] * 3

    collection.remove("spoilt")
    collection.register([new_class("spoilt")])
    follower.refresh()
    assert {"good", "spoilt"} <= set(followed.table.ids)


def test_of_a_database_that_went_back_everything_is_read_again(
    start: Start, new_class: Make, caplog: pytest.LogCaptureFixture
) -> None:
    registry, collection = start()
    collection.register([new_class("kept")])
    collection.register([new_class("lost")])
    collection.replace(new_class("kept", name="renamed"))
    assert collection.table.revision == 3
    # A backup of the time of the first write.
    execute(
        registry,
        "DELETE FROM umzero_classes WHERE class_id = 'lost'",
        "UPDATE umzero_classes SET name = 'name of kept', revision = 1",
        "UPDATE umzero_registry SET revision = 1",
    )

    with caplog.at_level(logging.ERROR):
        registry.refresh()

    assert "went back" in caplog.text
    assert set(collection.table.ids) == {"kept", *registry.own.records}
    assert "name of kept" in collection.table.names
    assert collection.table.revision == 1
    assert collection.register([new_class("new")]).revision == 2
    assert collection.table.find("new") is not None


def test_who_is_overtaken_by_another_replica_is_told_of_his_own_write(
    start: Start, new_class: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry, ours = start()
    _, theirs = start()
    created = ours.register([new_class("a")]).classes[0].created_at
    follow = registry.follow_write

    def overtaken(*arguments: object) -> None:
        theirs.replace(new_class("a", name="theirs"))
        follow(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(registry, "follow_write", overtaken)

    summary, revision = ours.replace(new_class("a", name="ours"))

    assert (summary.name, summary.revision, revision) == ("ours", 2, 2)
    assert summary.created_at == created
    assert "theirs" in ours.table.names
