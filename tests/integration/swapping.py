"""What tests of swaps share: the administrator, and clients that never pause."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx

from tests.integration.conftest import ADMIN_TOKEN, Server
from tests.twins import KITE

ADMIN = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
CLIENTS = 8
SWAPS = 5


def swap(server: Server, name: str) -> dict[str, Any]:
    response = server.client.post("/admin/bundle", json={"bundle": name}, headers=ADMIN)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def kite(class_id: str = "kite") -> dict[str, Any]:
    return {"class_id": class_id, "name": f"Kite {class_id}", "attributes": KITE}


def register(server: Server, class_id: str = "kite") -> None:
    server.client.post("/classes", json=kite(class_id)).raise_for_status()


@contextmanager
def without_pause(
    work: Callable[[httpx.Client, int], None], url: str
) -> Iterator[Callable[[], object]]:
    """Clients that work again and again until the end; what is given raises what one has raised."""
    over = threading.Event()

    def client(number: int) -> int:
        rounds = 0
        with httpx.Client(base_url=url, timeout=60) as connection:
            while not over.is_set():
                work(connection, number)
                rounds += 1
        return rounds

    with ThreadPoolExecutor(CLIENTS) as pool:
        clients = [pool.submit(client, number) for number in range(CLIENTS)]
        try:
            yield lambda: [done.result() for done in clients if done.done()]
        finally:
            over.set()
        assert all(done.result() > SWAPS for done in clients)


def said(answer: dict[str, Any]) -> dict[str, Any]:
    """An answer without what is of its moment."""
    return {k: v for k, v in answer.items() if k not in ("timings_ms", "revision")}
