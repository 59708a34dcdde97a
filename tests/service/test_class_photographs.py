"""Classes with photographs in the registry: their prototypes, and what they pay of gamma."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from model.bundle import Bundle
from model.photographs import encoded, mean_of
from model.preprocess import to_input
from model.runtime.base import F32, U8, Embedded
from model.runtime.fake import FakeBackend, draw, write_fake_bundle
from service.registry.collection import Collection
from service.registry.memory_store import MemoryStore
from service.registry.prototypes import prototypes_of
from service.registry.records import NewClass, PhotographsMean
from service.registry.registry import Registry
from service.registry.sql_store import SqlStore
from service.registry.store import ClassStore
from service.usecases.ranking import rank

Make = Callable[..., NewClass]

BICUBIC = Image.Resampling.BICUBIC
COUNTS = 4.0  # what a sheet counts for, in photographs


class Rolled(FakeBackend):
    """Another network: what it makes are the fake one's numbers, each in the next one's place."""

    def embed(self, images: U8) -> Embedded:
        found = super().embed(images)
        return found._replace(embedding=np.roll(found.embedding, 1, axis=1))

    def prototypes(self, class_attributes: F32) -> F32:
        return np.roll(super().prototypes(class_attributes), 1, axis=1)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    path = tmp_path_factory.mktemp("bundles") / "fake"
    return write_fake_bundle(path, calibration={"sheet_counts": COUNTS})


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Its network takes larger images."""
    path = tmp_path_factory.mktemp("bundles") / "other"
    return write_fake_bundle(path, input_size=48, calibration={"sheet_counts": COUNTS})


@pytest.fixture
def backend(bundle: Bundle) -> FakeBackend:
    return FakeBackend.of(bundle)


@pytest.fixture(params=["memory", "sqlite"])
def store(
    request: pytest.FixtureRequest, bundle: Bundle, database_url: str
) -> Iterator[ClassStore]:
    opened: ClassStore = (
        MemoryStore()
        if request.param == "memory"
        else SqlStore(database_url, bundle.manifest.attributes.names)
    )
    yield opened
    opened.close()


def registry_of(store: ClassStore, bundle: Bundle, backend: FakeBackend) -> Registry:
    registry = Registry(store, bundle.classes, prototypes_of(bundle, backend))
    registry.load()
    return registry


def pictures(bundle: Bundle, count: int, seed: int = 0) -> U8:
    """(count, S, S, 3), of sheets drawn by chance."""
    random, space = np.random.default_rng(seed), bundle.manifest.attributes
    sheets = random.uniform(0, 100, (count, len(space))).astype(np.float32)
    size = bundle.manifest.input_size
    return np.stack([to_input(draw(sheet, space, size), size, 10**6) for sheet in sheets])


def photographed(
    item: NewClass, bundle: Bundle, backend: FakeBackend, count: int, seed: int = 0
) -> NewClass:
    pixels = pictures(bundle, count, seed)
    mean = PhotographsMean(mean_of(backend.embed(pixels).embedding), bundle.sha256)
    return replace(item, photographs=tuple(map(encoded, pixels)), mean=mean)


def unit(values: Sequence[float]) -> list[float]:
    length = math.sqrt(math.fsum(value * value for value in values))
    return [value / length for value in values]


def expected_row(item: NewClass, backend: FakeBackend, pixels: U8) -> list[float]:
    """The blend, number by number."""
    sheet = backend.prototypes(item.attributes[None].astype(np.float32))[0].tolist()
    columns = zip(*backend.embed(pixels).embedding.tolist(), strict=True)
    mean = unit([math.fsum(column) / len(pixels) for column in columns])
    share = len(pixels) / (len(pixels) + COUNTS)
    return unit([(1 - share) * a + share * b for a, b in zip(sheet, mean, strict=True)])


def row_of(registry: Registry, class_id: str) -> list[float]:
    position = registry.tables.of("default").find(class_id)
    assert position is not None
    row: list[float] = registry.tables.of("default").take([position])[0].tolist()
    return row


def shares(registry: Registry) -> dict[str, float]:
    table = registry.tables.of("default")
    return dict(zip(table.ids, table.familiarity.tolist(), strict=True))


@pytest.mark.parametrize("count", [1, 2, 16])
def test_the_prototype_of_a_class_with_photographs_is_the_blend_of_both(
    store: ClassStore, bundle: Bundle, backend: FakeBackend, new_class: Make, count: int
) -> None:
    registry = registry_of(store, bundle, backend)
    item = photographed(new_class("kite"), bundle, backend, count)

    (summary,) = Collection(registry, "default").register([item]).classes

    assert summary.examples == count
    assert summary.familiarity == pytest.approx(count / (count + COUNTS))
    expected = expected_row(item, backend, pictures(bundle, count))
    np.testing.assert_allclose(row_of(registry, "kite"), expected, atol=1e-6)
    # What explains its score is the same blend, of any sheet.
    under = registry.prototypes_of(Collection(registry, "default").get("kite"))
    np.testing.assert_allclose(under(item.attributes[None].astype(np.float32))[0], expected, 1e-5)


def test_two_classes_of_one_sheet_differ_by_their_photographs(
    bundle: Bundle, backend: FakeBackend, new_class: Make
) -> None:
    registry = registry_of(MemoryStore(), bundle, backend)
    sheet = new_class("a").attributes
    plain = new_class("plain", attributes=sheet)
    first = photographed(new_class("first", attributes=sheet), bundle, backend, 2, seed=1)
    second = photographed(new_class("second", attributes=sheet), bundle, backend, 2, seed=2)

    Collection(registry, "default").register([plain, first, second])

    for item, seed in ((first, 1), (second, 2)):
        expected = expected_row(item, backend, pictures(bundle, 2, seed))
        np.testing.assert_allclose(row_of(registry, item.class_id), expected, atol=1e-6)
    by_sheet = backend.prototypes(sheet[None].astype(np.float32))[0]
    np.testing.assert_allclose(row_of(registry, "plain"), by_sheet, atol=1e-6)
    registry.close()


def test_how_much_of_gamma_each_class_pays_follows_it_through_every_write(
    bundle: Bundle, backend: FakeBackend, new_class: Make
) -> None:
    registry = registry_of(MemoryStore(), bundle, backend)
    own = {item.class_id: 1.0 for item in bundle.classes}
    Collection(registry, "default").register(
        [
            new_class("none"),
            photographed(new_class("one"), bundle, backend, 1),
            photographed(new_class("five"), bundle, backend, 5),
        ]
    )
    assert shares(registry) == pytest.approx(own | {"none": 0, "one": 1 / 5, "five": 5 / 9})

    Collection(registry, "default").remove("one")
    Collection(registry, "default").replace(photographed(new_class("none"), bundle, backend, 4))
    Collection(registry, "default").replace(new_class("five"))

    assert shares(registry) == pytest.approx(own | {"none": 4 / 8, "five": 0})
    by_sheet = backend.prototypes(new_class("five").attributes[None].astype(np.float32))[0]
    np.testing.assert_allclose(row_of(registry, "five"), by_sheet, atol=1e-6)
    assert registry.tables.of("default").is_seen.sum() == len(own)
    registry.close()


@pytest.mark.parametrize("gamma", [0, 0.7, 3, -2])
def test_a_class_with_photographs_pays_its_share_of_gamma_and_a_seen_one_all(
    bundle: Bundle, backend: FakeBackend, new_class: Make, gamma: float
) -> None:
    registry = registry_of(MemoryStore(), bundle, backend)
    Collection(registry, "default").register(
        [new_class("none"), photographed(new_class("two"), bundle, backend, 2)]
    )
    embedding = backend.embed(pictures(bundle, 1, seed=9)).embedding[0]

    found = rank(embedding, registry.tables.of("default"), None, 0.1, gamma, 100)

    pays = {item.class_id: 1.0 for item in bundle.classes} | {"none": 0.0, "two": 2 / 6}
    scores = {
        class_id: math.fsum(
            a * b for a, b in zip(embedding.tolist(), row_of(registry, class_id), strict=True)
        )
        / 0.1
        for class_id in pays
    }
    after = {class_id: scores[class_id] - gamma * pays[class_id] for class_id in pays}
    total = math.fsum(map(math.exp, after.values()))
    assert [item.class_id for item in found.predictions] == sorted(after, key=lambda c: -after[c])
    for item in found.predictions:
        assert item.score == pytest.approx(scores[item.class_id], abs=1e-4)
        expected = math.exp(after[item.class_id]) / total
        assert item.probability == pytest.approx(expected, rel=1e-3)
        assert item.seen == (pays[item.class_id] == 1)
    manifest = replace(bundle.manifest, gamma=gamma)
    highest = max(after.values())
    assert found.is_known(manifest) is None
    assert found.is_known(manifest, highest - 0.01) is True
    assert found.is_known(manifest, highest + 0.01) is False
    with_threshold = replace(manifest, calibration={"known_threshold": highest + 0.01})
    assert found.is_known(with_threshold) is False
    assert found.is_known(with_threshold, highest - 0.01) is True
    registry.close()


def test_a_registry_that_starts_again_does_not_look_at_the_photographs_again(
    store: ClassStore, bundle: Bundle, backend: FakeBackend, new_class: Make
) -> None:
    item = photographed(new_class("kite"), bundle, backend, 3)
    before = registry_of(store, bundle, backend)
    Collection(before, "default").register([item])
    again = FakeBackend.of(bundle)

    after = registry_of(store, bundle, again)

    assert row_of(after, "kite") == row_of(before, "kite")
    assert shares(after) == shares(before)
    assert again.batch_sizes == []


def test_another_bundle_s_network_looks_at_the_photographs_again(
    store: ClassStore, bundle: Bundle, other: Bundle, backend: FakeBackend, new_class: Make
) -> None:
    item = photographed(new_class("kite"), bundle, backend, 3)
    registry = registry_of(store, bundle, backend)
    Collection(registry, "default").register([item, new_class("plain")])
    assert other.sha256 != bundle.sha256
    network = Rolled.of(other)

    under_other = registry_of(store, other, network)

    assert network.batch_sizes == [3]
    larger = [Image.fromarray(p).resize((48, 48), BICUBIC) for p in pictures(bundle, 3)]
    expected = expected_row(item, Rolled.of(other), np.stack([np.asarray(p) for p in larger]))
    np.testing.assert_allclose(row_of(under_other, "kite"), expected, atol=1e-6)
    assert not np.allclose(row_of(registry, "kite"), expected, atol=0.1)
    assert shares(under_other)["kite"] == pytest.approx(3 / 7)
    under = under_other.prototypes_of(Collection(under_other, "default").get("kite"))
    sheet = item.attributes[None].astype(np.float32)
    np.testing.assert_allclose(under(sheet)[0], expected, atol=1e-6)
    assert network.batch_sizes == [3]  # once, however often the class is looked at
    # The first bundle's own mean is still what is stored.
    back = FakeBackend.of(bundle)
    assert row_of(registry_of(store, bundle, back), "kite") == row_of(registry, "kite")
    assert back.batch_sizes == []


def test_without_its_photographs_a_class_falls_back_to_its_sheet_under_another_bundle(
    bundle: Bundle,
    other: Bundle,
    backend: FakeBackend,
    new_class: Make,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = MemoryStore()
    item = photographed(new_class("kite"), bundle, backend, 3)
    Collection(registry_of(store, bundle, backend), "default").register([item])
    monkeypatch.setattr(store, "photographs", lambda *_: [])
    network = Rolled.of(other)

    registry = registry_of(store, other, network)

    sheet = item.attributes[None].astype(np.float32)
    by_sheet = network.prototypes(sheet)[0]
    assert network.batch_sizes == []
    np.testing.assert_allclose(row_of(registry, "kite"), by_sheet, atol=1e-6)
    assert shares(registry)["kite"] == 0
    under = registry.prototypes_of(Collection(registry, "default").get("kite"))
    np.testing.assert_allclose(under(sheet)[0], by_sheet, atol=1e-6)
    registry.close()


def test_a_replica_that_follows_has_the_same_prototypes(
    bundle: Bundle, database_url: str, new_class: Make
) -> None:
    networks = [FakeBackend.of(bundle) for _ in range(2)]
    first, second = (
        registry_of(SqlStore(database_url, bundle.manifest.attributes.names), bundle, network)
        for network in networks
    )
    Collection(first, "default").register(
        [photographed(new_class("a"), bundle, networks[0], 2), new_class("b")]
    )
    second.refresh()
    assert row_of(second, "a") == row_of(first, "a")
    Collection(first, "default").replace(
        photographed(new_class("b"), bundle, networks[0], 5, seed=3)
    )
    Collection(first, "default").remove("a")
    second.refresh()

    assert second.tables.of("default").find("a") is None
    assert row_of(second, "b") == row_of(first, "b")
    assert shares(second) == shares(first)
    assert networks[1].batch_sizes == []
    for registry in (first, second):
        registry.close()


def test_a_database_keeps_no_photograph_of_a_class_that_is_gone(
    bundle: Bundle, backend: FakeBackend, database_url: str, new_class: Make
) -> None:
    registry = registry_of(
        SqlStore(database_url, bundle.manifest.attributes.names), bundle, backend
    )
    item = photographed(new_class("kite"), bundle, backend, 2)
    Collection(registry, "default").register([item])
    Collection(registry, "default").remove("kite")
    Collection(registry, "default").register([new_class("kite")])

    again = registry_of(SqlStore(database_url, bundle.manifest.attributes.names), bundle, backend)

    by_sheet = backend.prototypes(item.attributes[None].astype(np.float32))[0]
    for one in (registry, again):
        np.testing.assert_allclose(row_of(one, "kite"), by_sheet, atol=1e-6)
        assert Collection(one, "default").get("kite").summary.examples == 0
        one.close()
