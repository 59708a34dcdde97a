"""A service that is killed, and databases that are full, gone or hanging, under real servers.

Classification goes on with the classes in memory; writes are a 503 in time, and work again later.
"""

import itertools
import random
import resource
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.databases import Postgres
from tests.integration.asking import best, until

Picture = Callable[..., bytes]
Problem = Callable[..., dict[str, Any]]
Start = Callable[..., Any]

KITE = {"has_crown": "blue", "has_breast": "blue", "has_wing": "red"}
GULL = {"has_crown": "green", "has_breast": "red", "has_wing": "blue"}
CLIENTS = 4


def register(server: Any, name: str, sheet: dict[str, str] = KITE) -> httpx.Response:
    response: httpx.Response = server.client.post(
        "/classes", json={"name": name, "attributes": sheet}
    )
    return response


def batch_of(name: str, size: int) -> list[dict[str, Any]]:
    ids = [f"{name}-{number}" for number in range(size)]
    return [{"name": f"N {i}", "attributes": KITE, "class_id": i} for i in ids]


def write_until_killed(url: str, name: str, acknowledged: list[str]) -> None:
    """Register batches of 1, 2, 3, 1, ... classes."""
    with httpx.Client(base_url=url) as http:
        for number in range(1000):
            new = batch_of(f"{name}-{number}", 1 + number % 3)
            try:
                response = http.post("/classes", json={"classes": new})
            except httpx.TransportError:
                return
            assert response.status_code == 201, response.text
            acknowledged.extend(item["class_id"] for item in new)


def all_registered(http: httpx.Client) -> set[str]:
    found, after = set(), ""
    while after is not None:
        page = http.get("/classes", params={"limit": 1000, "after": after}).json()
        found |= {item["class_id"] for item in page["classes"] if not item["seen"]}
        after = page["next"]
    return found


def test_a_killed_server_loses_nothing_that_it_acknowledged(
    start: Start, picture: Picture, database_url: str
) -> None:
    seed = random.randrange(2**32)
    moments = random.Random(seed)
    acknowledged: list[str] = []
    for number in range(3):
        server = start(database_url=database_url)
        clients = [f"r{number}-c{client}" for client in range(CLIENTS)]
        enough = len(acknowledged) + 4
        with ThreadPoolExecutor(CLIENTS) as pool:
            writers = [
                pool.submit(write_until_killed, server.url, name, acknowledged) for name in clients
            ]
            while len(acknowledged) < enough and not any(writer.done() for writer in writers):
                time.sleep(0.01)
            time.sleep(moments.uniform(0, 0.5))
            kept = server.client.get(f"/classes/{acknowledged[-1]}").json()
            server.kill()
            for writer in writers:
                writer.result()

    server = start(database_url=database_url)
    found = all_registered(server.client)
    assert set(acknowledged) <= found, f"seed {seed}"
    for class_id in found:
        batch = class_id.rpartition("-")[0]
        size = 1 + int(batch.rpartition("-")[2]) % 3
        assert {item["class_id"] for item in batch_of(batch, size)} <= found, f"seed {seed}"
    assert server.client.get(f"/classes/{kept['class_id']}").json() == kept
    assert best(server, picture(KITE)) in {f"N {class_id}" for class_id in found}


def test_while_the_database_is_gone_classification_goes_on_and_afterwards_everything(
    start: Start, picture: Picture, problem: Problem, own_postgres: Postgres
) -> None:
    url = own_postgres.database()
    first, second = start(database_url=url), start(database_url=url)
    class_id = register(first, "Kite").json()["classes"][0]["class_id"]
    until(lambda: best(second, picture(KITE)) == "Kite", "the other one follows")

    own_postgres.stop()

    for server in (first, second):
        refused = [
            register(server, "Gull", GULL),
            server.client.put(f"/classes/{class_id}", json={"name": "K", "attributes": GULL}),
            server.client.delete(f"/classes/{class_id}"),
            server.client.get(f"/classes/{class_id}"),
        ]
        for response in refused:
            problem(response, 503, "store_unavailable")
            assert int(response.headers["retry-after"]) >= 1
        assert best(server, picture(KITE)) == "Kite"
        assert server.client.get("/classes/robin").status_code == 200
        assert server.client.get("/readyz").status_code == 200
        assert len(server.client.get("/classes").json()["classes"]) == 5

    def told(event: str) -> int:
        """How often the log of both has it."""
        count: int = first.log.read_text().count(event)
        return count

    until(lambda: told("registry can't follow") == 2, "both of them say so")
    own_postgres.start()

    revision = register(first, "Gull", GULL).json()["revision"]
    assert best(first, picture(GULL)) == "Gull"
    assert best(second, picture(GULL), min_revision=revision) == "Gull"
    until(lambda: told("registry follows again") == 2, "both of them follow again")
    # Not five times a second.
    assert told("registry can't follow") == 2


def test_while_the_database_hangs_classification_goes_on_and_writes_are_503s(
    start: Start, picture: Picture, problem: Problem, own_postgres: Postgres
) -> None:
    server = start(database_url=own_postgres.database(), database_timeout_s="1.5")
    register(server, "Kite").raise_for_status()
    image = picture(KITE)
    own_postgres.pause()
    over = threading.Event()

    def classify() -> int:
        count = 0
        while not over.is_set():
            assert best(server, image) == "Kite"
            count += 1
        return count

    with ThreadPoolExecutor(9) as pool:
        classifying = pool.submit(classify)
        refused = [pool.submit(register, server, f"Gull {number}") for number in range(6)]
        refused += [pool.submit(server.client.get, "/classes/none") for _ in range(2)]
        for response in refused:
            problem(response.result(), 503, "store_unavailable")
        query = {"min_revision": 1000}
        late = server.client.post("/classify", content=image, params=query)
        assert (late.status_code, late.json()["code"]) in (
            (503, "revision_unavailable"),
            (503, "store_unavailable"),
        )
        over.set()
        assert classifying.result() > len(refused)
    own_postgres.resume()

    # One that timed out may be there all the same, and its name taken.
    names = map("Gull again {}".format, itertools.count())
    until(lambda: register(server, next(names), GULL).status_code == 201, "it is there again")
    assert best(server, picture(GULL)).startswith("Gull again")


def test_a_full_disk_refuses_writes_and_nothing_else(
    start: Start, picture: Picture, problem: Problem
) -> None:
    server = start()
    register(server, "Kite").raise_for_status()
    limits = (256 * 1024, resource.RLIM_INFINITY)  # no file of the server's may grow beyond this
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, limits)
    metadata = {"text": "x" * 15_000}
    written = 0

    def fill() -> httpx.Response:
        body = {"name": f"N {written}", "attributes": GULL, "metadata": metadata}
        return server.client.post("/classes", json=body)

    while (response := fill()).status_code == 201:
        written += 1
        assert written < 100
    for _ in range(3):
        problem(response, 503, "store_unavailable")
        response = fill()
    assert written > 0
    assert best(server, picture(KITE)) == "Kite"
    assert len(server.client.get("/classes").json()["classes"]) == 5 + written

    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)

    assert fill().status_code == 201
    server.kill()
    assert len(start().client.get("/classes").json()["classes"]) == 6 + written


def test_a_server_that_can_not_use_its_database_does_not_start(start: Start, tmp_path: Any) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "umzero.db").write_bytes(b"something else entirely" * 100)

    with pytest.raises(pytest.fail.Exception, match="can't be used"):
        start()
