"""Asking a server until it is so; and what of."""

import time
from collections.abc import Callable
from typing import Any

# Sheets that none of the fake bundle's own classes has.
KITE = {"has_crown": "blue", "has_breast": "blue", "has_wing": "red"}
GULL = {"has_crown": "green", "has_breast": "red", "has_wing": "blue"}


def until(
    condition: Callable[[], bool],
    what: str,
    check: Callable[[], object] = bool,
    limit_s: float = 60,
) -> None:
    """Wait, and see to `check` meanwhile."""
    end = time.monotonic() + limit_s
    while not condition():
        check()
        assert time.monotonic() < end, f"never: {what}"
        time.sleep(0.01)


def best(server: Any, image: bytes, **query: Any) -> str:
    answer = server.client.post("/classify", content=image, params=query)
    assert answer.status_code == 200, answer.text
    name: str = answer.json()["predictions"][0]["name"]
    return name
