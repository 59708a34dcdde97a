"""Servers that share a database: what one writes, all of them classify by.

Every test asks `/classify`, not the list: the list could know what scoring doesn't.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from tests.databases import Postgres
from tests.integration.asking import GULL, KITE, best, until

Picture = Callable[..., bytes]
Problem = Callable[..., dict[str, Any]]
Start = Callable[..., Any]

NEVER = "3600"  # seconds until the next look by itself


@pytest.fixture
def kite(picture: Picture) -> bytes:
    return picture(KITE)


@pytest.fixture
def gull(picture: Picture) -> bytes:
    return picture(GULL)


def test_what_one_registers_replaces_or_removes_the_other_classifies_by(
    start: Start, database_url: str, kite: bytes, gull: bytes
) -> None:
    first, second = (start(database_url=database_url) for _ in range(2))
    without = best(second, kite)
    body = {"name": "Kite", "attributes": KITE, "class_id": "kite"}

    first.client.post("/classes", json=body).raise_for_status()
    until(lambda: best(second, kite) == "Kite", "it knows the class")

    changed = {"name": "Gull", "attributes": GULL}
    second.client.put("/classes/kite", json=changed).raise_for_status()
    until(lambda: best(first, gull) == "Gull", "it knows the other sheet")
    assert best(first, kite) != "Kite"

    first.client.delete("/classes/kite").raise_for_status()
    until(lambda: best(second, gull) != "Gull", "it doesn't know the class any more")
    assert best(second, kite) == without


def test_whoever_names_a_revision_gets_what_it_holds_at_once(
    start: Start, database_url: str, kite: bytes, gull: bytes
) -> None:
    first, second = (start(database_url=database_url, refresh_s=NEVER) for _ in range(2))

    for step in range(5):
        body = {"name": "Kite", "attributes": KITE, "class_id": f"kite-{step}"}
        made = first.client.post("/classes", json=body).json()["revision"]
        assert best(second, kite, min_revision=made) == "Kite"
        changed = {"name": "Gull", "attributes": GULL}
        put = first.client.put(f"/classes/kite-{step}", json=changed).json()["revision"]
        assert best(second, gull, min_revision=put) == "Gull"
        gone = second.client.delete(f"/classes/kite-{step}").json()["revision"]
        assert best(first, gull, min_revision=gone) != "Gull"


def test_a_revision_that_nobody_wrote_is_not_waited_for_for_ever(
    start: Start, database_url: str, kite: bytes, problem: Problem
) -> None:
    server = start(database_url=database_url)

    response = server.client.post("/classify", content=kite, params={"min_revision": 7})

    problem(response, 503, "revision_unavailable")
    assert int(response.headers["retry-after"]) >= 1


def test_postgresql_wakes_those_that_would_look_much_later(
    start: Start, postgres: Postgres, kite: bytes
) -> None:
    url = postgres.database()
    first, second = (start(database_url=url, refresh_s=NEVER) for _ in range(2))

    first.client.post("/classes", json={"name": "Kite", "attributes": KITE}).raise_for_status()
    until(lambda: best(second, kite) == "Kite", "it was woken")

    lose_listeners(url)
    body = {"name": "Other", "attributes": KITE, "class_id": "other"}
    revision = first.client.post("/classes", json=body).json()["revision"]
    # It may have been missed; with the next connection it looks by itself.
    until(lambda: second.client.get("/classes").json()["revision"] == revision, "it listens again")


def test_who_is_not_woken_looks_by_itself(start: Start, postgres: Postgres, kite: bytes) -> None:
    url = postgres.database()
    first, second = (start(database_url=url) for _ in range(2))
    with psycopg.connect(url, autocommit=True) as connection:
        # Nothing is heard from now on, although everything is connected.
        connection.execute(
            "CREATE FUNCTION public.pg_notify(text, text) RETURNS void AS '' LANGUAGE sql"
        )
        name = connection.info.dbname
        connection.execute(f"ALTER DATABASE {name} SET search_path = public, pg_catalog")  # type: ignore[call-overload]
    lose_listeners(url, everyone=True)
    until(lambda: listeners(url) == 2, "both listen again")

    first.client.post("/classes", json={"name": "Kite", "attributes": KITE}).raise_for_status()

    until(lambda: best(second, kite) == "Kite", "it has looked")


def listeners(url: str) -> int:
    with psycopg.connect(url) as connection:
        found = connection.execute(
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE datname = current_database() AND state = 'idle' AND query LIKE 'LISTEN%'"
        ).fetchone()
    assert found is not None
    return int(found[0])


def lose_listeners(url: str, everyone: bool = False) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        ended = connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid() "
            "AND (query LIKE 'LISTEN%%' OR %s)",
            [everyone],
        ).fetchall()
    assert len(ended) >= 2


def test_four_servers_that_start_at_once_on_an_empty_database_are_all_ready(
    start: Start, database_url: str, kite: bytes
) -> None:
    with ThreadPoolExecutor(4) as pool:
        servers = list(pool.map(lambda _: start(database_url=database_url), range(4)))

    answer = servers[0].client.post("/classes", json={"name": "Kite", "attributes": KITE}).json()
    for server in servers:
        assert server.client.get("/readyz").status_code == 200
        assert best(server, kite, min_revision=answer["revision"]) == "Kite"
