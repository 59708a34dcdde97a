"""What many classes cost: one ranking beside one `numpy.dot`, and one registration more.

    python bench/classes.py [--classes 100000] [--few 1000] [--dims 78 512] [--rounds 41]

Ranking: from an embedding (D,) and a table of C classes to the five best with their probabilities
over all candidates, gamma taken off, as `POST /classify` does it; with scopes, and with a choice
of classes. `dot` is `numpy.dot` of one (C, D) float32 matrix and the same embedding.

Registration: `Registry.register` of one class, whole, on a store in memory and on a SQLite file
(in a temporary folder; a commit waits for its disk), and `PrototypeTable.advance` alone, at `few`
classes and at C. `slowest` is the slowest of C / 2 of the latter, one after the other: the one in
which all prototypes move into more memory.

Measurements take turns; the tables hold medians over the rounds, in milliseconds.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from model.runtime.base import F32
from service.registry.collection import Collection
from service.registry.memory_store import MemoryStore
from service.registry.prototypes import Prototypes
from service.registry.records import DEFAULT_COLLECTION, ClassSummary, NewClass
from service.registry.registry import Registry
from service.registry.sql_store import SqlStore
from service.registry.store import ClassStore
from service.registry.table import PrototypeTable
from service.usecases.ranking import Scope, candidates, rank

SEEN = 79
ATTRIBUTES = 312
TEMPERATURE, GAMMA = 0.05, 3.4
WARM_UP = 3


def medians(work: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Milliseconds of each, one after the other in every round."""
    times: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(WARM_UP + rounds):
        for name, function in work.items():
            started = time.perf_counter()
            function()
            times[name].append((time.perf_counter() - started) * 1000)
    return {name: statistics.median(values[WARM_UP:]) for name, values in times.items()}


def unit_rows(count: int, dim: int) -> F32:
    rows = np.random.default_rng(0).standard_normal((count, dim), np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def table_of(prototypes: F32) -> PrototypeTable:
    def summary(number: int) -> ClassSummary:
        return ClassSummary(f"c{number}", f"class {number}", number < SEEN, ATTRIBUTES, 0, 1)

    rows = {f"c{number}": (summary(number), row) for number, row in enumerate(prototypes)}
    return PrototypeTable().advance(1, rows)


def measure_ranking(count: int, dim: int, rounds: int) -> None:
    prototypes = unit_rows(count, dim)
    table = table_of(prototypes)
    embedding = unit_rows(1, dim)[0]
    some = tuple(f"c{number}" for number in range(0, count, 10))

    def ranking(class_ids: tuple[str, ...] | None, scope: Scope) -> Callable[[], object]:
        def run() -> object:
            chosen = candidates(table, class_ids, scope)
            return rank(embedding, table, chosen, TEMPERATURE, GAMMA, 5)

        return run

    found = medians(
        {
            "dot": lambda: np.dot(prototypes, embedding),
            "all": ranking(None, "all"),
            "unseen": ranking(None, "unseen"),
            "seen": ranking(None, "seen"),
            "10 ids": ranking(some[:10], "all"),
        },
        rounds,
    )
    limit = 1.3 * found["dot"] + 2
    cells = "".join(f"{value:9.2f}" for value in found.values())
    print(f"{dim:5}{cells}{limit:18.2f}")


def register_one(store: ClassStore, count: int, dim: int) -> Callable[[], object]:
    """Registers one class more each time, in a registry of `count` classes."""
    weights = unit_rows(ATTRIBUTES, dim)
    registry = Registry(
        store, (), Prototypes(lambda sheets: sheets @ weights, lambda _: weights[0])
    )
    sheets = np.random.default_rng(1).uniform(0, 100, (count + 1, ATTRIBUTES))

    def new(number: int) -> NewClass:
        return NewClass(f"c{number}", f"class {number}", sheets[number % count], ATTRIBUTES, 0)

    for start in range(0, count, 10_000):
        store.add(
            DEFAULT_COLLECTION, [new(number) for number in range(start, min(count, start + 10_000))]
        )
    registry.load()
    following = iter(range(count, 2 * count))
    classes = Collection(registry, DEFAULT_COLLECTION)
    return lambda: classes.register([new(next(following))])


def advance_one(count: int, dim: int) -> Callable[[], object]:
    table = table_of(unit_rows(count, dim))
    prototype = unit_rows(1, dim)[0]

    def run() -> None:
        nonlocal table
        revision = table.revision + 1
        item = ClassSummary(f"n{revision}", f"new {revision}", False, ATTRIBUTES, 0, revision)
        table = table.advance(revision, {item.class_id: (item, prototype)})

    return run


def measure_registering(few: int, many: int, dim: int, rounds: int) -> None:
    with tempfile.TemporaryDirectory() as folder:

        def sqlite(count: int) -> SqlStore:
            return SqlStore(
                f"sqlite:///{Path(folder) / str(count)}.db",
                [f"attribute-{i}" for i in range(ATTRIBUTES)],
            )

        kinds: dict[str, Callable[[int], Callable[[], object]]] = {
            "advance": lambda count: advance_one(count, dim),
            "memory": lambda count: register_one(MemoryStore(), count, dim),
            "sqlite": lambda count: register_one(sqlite(count), count, dim),
        }
        for kind, make in kinds.items():
            found = medians({str(count): make(count) for count in (few, many)}, rounds)
            cells = "".join(f"{value:9.3f}" for value in found.values())
            print(f"{dim:5} {kind:8}{cells}{found[str(many)] / found[str(few)]:9.2f}")
    advance = advance_one(many, dim)
    times = []
    for _ in range(many // 2 + 1):
        started = time.perf_counter()
        advance()
        times.append((time.perf_counter() - started) * 1000)
    print(f"{dim:5} {'slowest':8}{'':9}{max(times):9.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--classes", type=int, default=100_000)
    parser.add_argument("--few", type=int, default=1000)
    parser.add_argument("--dims", type=int, nargs="+", default=[78, 512])
    parser.add_argument("--rounds", type=int, default=41)
    arguments = parser.parse_args()
    count, few = arguments.classes, arguments.few

    print(f"ranking, {count} classes of which {SEEN} are seen, ms")
    head = "".join(f"{name:>9}" for name in ("dot", "all", "unseen", "seen", "10 ids"))
    print(f"{'D':>5}{head}{'1.3 dot + 2':>18}")
    for dim in arguments.dims:
        measure_ranking(count, dim, arguments.rounds)

    print("\nregistering one more, ms")
    head = "".join(f"{name:>9}" for name in (str(few), str(count), "ratio"))
    print(f"{'D':>5} {'':8}{head}")
    for dim in arguments.dims:
        measure_registering(few, count, dim, arguments.rounds)


if __name__ == "__main__":
    main()
