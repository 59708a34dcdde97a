"""What many registered classes cost: registering, starting, and until another replica knows.

    python bench/scale.py [--classes 100 10000 100000] [--database-url postgresql://...]

For each number of classes: how many a second are registered in bulk, by requests of a thousand; how
many one by one, with that many there already; how soon a second replica classifies by one that the
first one registered; how long a replica takes from its start until it is ready, and its memory
then. Without a URL the classes are in a SQLite file; a database that is given must be empty.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import photographs
import running
from replicas import Changes

BULK = 1000
SINGLE = 50


def sheets(attributes: list[dict[str, Any]], first: int, count: int) -> Iterator[dict[str, Any]]:
    """Classes of one attribute each."""
    for i in range(first, first + count):
        item = attributes[i % len(attributes)]
        yield {
            "class_id": f"scale-{i}",
            "name": f"Scale {i}",
            "attributes": {item["name"]: item["max"]},
        }


def register_in_bulk(
    client: httpx.Client, attributes: list[dict[str, Any]], first: int, count: int
) -> float:
    """Classes a second."""
    started = time.perf_counter()
    for start in range(first, first + count, BULK):
        size = min(BULK, first + count - start)
        body = {"classes": list(sheets(attributes, start, size))}
        client.post("/classes", json=body).raise_for_status()
    return count / (time.perf_counter() - started)


def register_singly(client: httpx.Client, attributes: list[dict[str, Any]], first: int) -> float:
    """Classes a second."""
    started = time.perf_counter()
    for body in sheets(attributes, first, SINGLE):
        client.post("/classes", json=body).raise_for_status()
    return SINGLE / (time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--classes", type=int, nargs="+", default=[100, 10_000, 100_000])
    parser.add_argument("--database-url", default="")
    parser.add_argument("--bundle", type=Path, default=Path("weights/birds"))
    given = parser.parse_args()
    there = 0
    print("classes   bulk/s  single/s  other knows (ms)  ready after (s)  its memory (MiB)")
    with tempfile.TemporaryDirectory() as name:
        database = given.database_url or f"sqlite:///{name}/scale.db"
        for count in sorted(given.classes):
            with (
                running.service(given.bundle, database_url=database) as first,
                httpx.Client(base_url=first.url, timeout=600) as client,
            ):
                attributes = client.get("/attributes").json()["attributes"]
                bulk = register_in_bulk(client, attributes, there, count - there)
                single = register_singly(client, attributes, count)
                there = count + SINGLE
                started = time.perf_counter()
                with running.service(given.bundle, database_url=database) as other:
                    ready = time.perf_counter() - started
                    memory = other.rss_mib()
                    changes = Changes([first.url, other.url], photographs.drawn(0))
                    known = []
                    for body in sheets(attributes, there, 2 * SINGLE):
                        number = len(known)
                        changes.write(number, "POST", "/classes", body)
                        known.append(changes.known_after(number, body["class_id"], there=True))
                there += 2 * SINGLE
            middle = 1000 * statistics.median(known)
            row = f"{count:7} {bulk:8.0f} {single:9.0f} {middle:17.0f} {ready:16.2f} {memory:17.0f}"
            print(row, flush=True)


if __name__ == "__main__":
    main()
