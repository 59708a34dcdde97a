"""Collections: what is said of one touches no other, in every store and in the registry."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from model.bundle import Bundle
from model.runtime.fake import FakeBackend
from service.errors import BundleClassError, ClassExists, NameTaken, UnknownClass
from service.registry.collection import Collection
from service.registry.once import AddedBefore, Once
from service.registry.prototypes import prototypes_of
from service.registry.records import ClassSummary, NewClass
from service.registry.registry import Registry
from service.registry.store import ClassStore, record_of
from service.registry.table import PrototypeTable
from service.registry.tables import Tables
from tests.stores import PHOTOGRAPHS, changes_since, photographed

Make = Callable[..., NewClass]


@pytest.fixture
def registry(store: ClassStore, bundle: Bundle) -> Iterator[Registry]:
    registry = Registry(store, bundle.classes, prototypes_of(bundle, FakeBackend.of(bundle)))
    registry.load()
    yield registry
    registry.close(keep_store=True)


def test_an_id_and_a_name_are_free_in_every_collection_of_a_store(
    store: ClassStore, new_class: Make
) -> None:
    first, second = (new_class("kite", name="Kite", attributes=np.full(9, n)) for n in (10, 20))
    store.add("a", [photographed(first)])
    store.add("b", [second])

    with pytest.raises(ClassExists):
        store.add("b", [new_class("kite", name="Other")])
    with pytest.raises(NameTaken):
        store.add("a", [new_class("other", name="Kite")])
    store.replace("b", new_class("kite", name="Kite", attributes=np.full(9, 30)))
    with pytest.raises(UnknownClass):
        store.replace("c", first)

    sheets = {key: record.attributes[0] for key, record in changes_since(store, 0).written.items()}
    assert sheets == {("a", "kite"): 10, ("b", "kite"): 30}
    assert store.photographs("a", "kite") == list(PHOTOGRAPHS)
    assert store.photographs("b", "kite") == []

    assert store.remove("a", "kite") == 4
    assert changes_since(store, 3).removed == [("a", "kite")]
    assert store.get("a", "kite") is None
    assert store.photographs("a", "kite") == []
    assert store.get("b", "kite") is not None


def test_a_clients_key_means_another_request_in_another_collection(
    store: ClassStore, new_class: Make
) -> None:
    once = Once("key", "0" * 64)
    store.add("a", [new_class("kite")], once)

    assert store.recall("b", once) is None
    assert store.add("b", [new_class("kite")], once) == 2
    with pytest.raises(AddedBefore) as before:
        store.add("a", [new_class("kite")], once)
    assert before.value.added.revision == 1


def test_pages_go_through_the_living_classes_of_one_collection(
    store: ClassStore, new_class: Make
) -> None:
    store.add("a", [new_class(class_id) for class_id in "dbeac"])
    store.add("b", [new_class(class_id) for class_id in "bx"])
    store.remove("a", "c")

    pages = [store.page("a", "", 2), store.page("a", "b", 2), store.page("a", "e", 2)]

    assert [[r.summary.class_id for r in page] for page in pages] == [["a", "b"], ["d", "e"], []]
    assert pages[0][0].attributes.tolist() == new_class("a").attributes.tolist()


def test_what_is_taken_is_said_of_ids_and_names_apart(store: ClassStore, new_class: Make) -> None:
    store.add("a", [new_class("kite", name="Kite"), new_class("gone", name="Gone")])
    store.remove("a", "gone")

    asked = [new_class("kite", name="Gull"), new_class("x", name="Kite"), new_class("gone")]
    assert store.taken("a", asked) == ({"kite"}, {"Kite"})
    assert store.taken("b", asked) == (set(), set())


def test_a_collection_has_the_bundles_own_classes_and_those_registered_in_it(
    registry: Registry, bundle: Bundle, new_class: Make
) -> None:
    own = {item.class_id for item in bundle.classes}
    a, b, c = (Collection(registry, name) for name in "abc")

    a.register([new_class("kite"), new_class("gull")])
    b.register([new_class("kite", name="another kite")])
    a.remove("gull")

    assert set(a.table.ids) == set(b.table.ids) == own | {"kite"}
    assert set(c.table.ids) == own
    places = [(table, table.find("kite") or 0) for table in (a.table, b.table)]
    assert [table.at(place).name for table, place in places] == ["name of kite", "another kite"]
    assert {x.table.revision for x in (a, b, c)} == {3}
    with pytest.raises(UnknownClass):
        c.get("kite")
    with pytest.raises(BundleClassError):
        c.register([new_class("robin")])


def test_a_registry_that_starts_later_knows_all_collections(
    registry: Registry, store: ClassStore, bundle: Bundle, new_class: Make
) -> None:
    for number in range(20):
        Collection(registry, f"c{number}").register([new_class("kite"), new_class(f"n{number}")])
    Collection(registry, "c3").remove("kite")
    other = Registry(store, bundle.classes, prototypes_of(bundle, FakeBackend.of(bundle)))
    other.load()

    for number in range(20):
        before, after = (r.tables.of(f"c{number}") for r in (registry, other))
        assert sorted(before.ids) == sorted(after.ids)
        assert len(after) == len(bundle.classes) + (1 if number == 3 else 2)
        for class_id in after.ids:
            rows = [t.take([t.find(class_id) or 0])[0].tolist() for t in (before, after)]
            assert rows[0] == rows[1]
    other.close(keep_store=True)


def test_of_several_classes_those_are_added_that_can_be(
    registry: Registry, new_class: Make
) -> None:
    a = Collection(registry, "a")
    a.register([new_class("kite", name="Kite")])
    asked = [new_class("kite"), new_class("new"), new_class("robin"), new_class("y", name="Kite")]

    added, refused = a.register_each(asked)

    assert [item.class_id for item in added.classes] == ["new"]
    kinds = {index: type(error) for index, error in refused.items()}
    assert kinds == {0: ClassExists, 2: BundleClassError, 3: NameTaken}
    assert a.register_each(asked[:1])[0].classes == []
    assert registry.tables.revision == 2


def test_of_several_classes_one_that_another_process_writes_meanwhile_is_refused(
    registry: Registry, store: ClassStore, new_class: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = store.taken

    def taken(collection: str, classes: list[NewClass]) -> object:
        found = looked(collection, classes)
        monkeypatch.undo()
        store.add(collection, [new_class("b")])
        return found

    monkeypatch.setattr(store, "taken", taken)
    added, refused = Collection(registry, "a").register_each([new_class(i) for i in "abc"])

    assert [item.class_id for item in added.classes] == ["a", "c"]
    assert {index: type(error) for index, error in refused.items()} == {1: ClassExists}


def test_a_collection_without_classes_is_forgotten(registry: Registry, new_class: Make) -> None:
    Collection(registry, "a").register([new_class("kite")])
    Collection(registry, "b").register([new_class("kite"), new_class("gull")])
    assert registry.tables.registered_counts() == {"a": 1, "b": 2}

    Collection(registry, "a").remove("kite")

    assert registry.tables.registered_counts() == {"b": 2}


def test_a_snapshot_of_all_collections_stays_as_it_is(bundle: Bundle, new_class: Make) -> None:
    def summary(class_id: str) -> ClassSummary:
        return record_of(new_class(class_id), 1).summary

    row = np.ones(4, np.float32) / 2
    own = PrototypeTable().advance(0, {"robin": (summary("robin"), row)})
    first = Tables(own=own)
    second = first.advance(1, {("a", "kite"): (summary("kite"), row)})
    third = second.advance(2, {("b", "kite"): (summary("kite"), -row)}, [("a", "no")])

    assert [set(tables.of("a").ids) for tables in (first, second, third)] == [
        {"robin"},
        {"robin", "kite"},
        {"robin", "kite"},
    ]
    assert [tables.of("a").revision for tables in (first, second, third)] == [0, 1, 2]
    assert [len(tables.of("b")) for tables in (first, second, third)] == [1, 1, 2]
    assert third.of("b").prototypes[1].tolist() == (-row).tolist()
    assert third.of("a").prototypes[1].tolist() == row.tolist()
