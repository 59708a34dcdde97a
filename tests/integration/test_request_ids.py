"""`X-Request-ID`: from the client, in every line that is logged for its request, and back."""

import asyncio
import json
import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.integration.conftest import Server
from tests.integration.test_lifecycle import KITE, POISON

OWN = re.compile("[0-9a-f]{32}")
PATHS = ("/classify", "/livez", "/classes/nobody", "/nothing")


def lines(server: Server) -> list[dict[str, Any]]:
    """What the log says, as JSON."""
    return [json.loads(line) for line in server.log.read_text().splitlines() if line[0] == "{"]


def asked(client: httpx.Client, path: str, *ids: bytes) -> str:
    """The id that an answer has, where the request had these."""
    method = "POST" if path == "/classify" else "GET"
    headers = [(b"X-Request-ID", value) for value in ids]
    answer = client.request(method, path, headers=headers)
    (found,) = answer.headers.get_list("x-request-id")
    return str(found)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "given", ["a", "order-17", "x" * 128, "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"]
)
def test_a_request_keeps_its_id(http: httpx.Client, path: str, given: str) -> None:
    assert asked(http, path, given.encode()) == given


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    # Other control characters are refused by the server's parser.
    "given",
    [b"", b"x" * 129, b"two words", b"tab\there", b"\xc3\xa9", b"\xff"],
)
def test_an_id_that_is_not_fit_for_a_header_or_a_log_is_replaced(
    http: httpx.Client, path: str, given: bytes
) -> None:
    assert OWN.fullmatch(asked(http, path, given))


def test_requests_without_an_id_get_different_ones(http: httpx.Client) -> None:
    found = {asked(http, path) for path in PATHS for _ in range(10)}

    assert len(found) == 10 * len(PATHS)
    assert all(map(OWN.fullmatch, found))


def test_of_several_ids_the_first_that_is_fit_is_taken(http: httpx.Client) -> None:
    assert asked(http, "/classify", b"not fit", b"first", b"second") == "first"


def test_each_line_has_the_id_of_its_request_whichever_thread_writes_it(
    start: Callable[..., Server], picture: Callable[..., bytes]
) -> None:
    server = start(log_format="json", max_batch="1")
    kites = [{"name": f"Kite {n}", "class_id": f"kite-{n}", "attributes": KITE} for n in range(20)]

    async def at_once() -> None:
        async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
            await asyncio.gather(
                *(
                    client.put(
                        f"/classes/{kite['class_id']}", json=kite, headers=named("put", kite)
                    )
                    for kite in kites
                )
            )

    for kite in kites:
        server.client.post("/classes", json=kite, headers=named("post", kite)).raise_for_status()
    asyncio.run(at_once())
    poison = picture(POISON)
    assert server.client.post("/classify", content=poison, headers=named("fail")).status_code == 500
    assert server.client.post("/explain?class_id=robin", content=poison).status_code == 500

    found = lines(server)
    registered = [line["request_id"] for line in found if line["event"] == "classes registered"]
    assert registered == [f"post-kite-{n}" for n in range(20)]
    replaced = {
        line["class_id"]: line["request_id"] for line in found if line["event"] == "class replaced"
    }
    assert replaced == {f"kite-{n}": f"put-kite-{n}" for n in range(20)}
    failed = [line["request_id"] for line in found if line["event"] == "request failed"]
    assert failed[0] == "fail"
    assert OWN.fullmatch(failed[1])
    ready = next(line for line in found if line["event"] == "ready")
    assert "request_id" not in ready  # it is no request's


def named(what: str, kite: dict[str, Any] | None = None) -> dict[str, str]:
    return {"X-Request-ID": f"{what}-{kite['class_id']}" if kite else what}


def test_a_line_of_text_has_the_id_too(start: Callable[..., Server]) -> None:
    server = start()
    forged = {"X-Request-ID": "level=error,revision=9"}

    kite = {"name": "Kite", "attributes": KITE}
    server.client.post("/classes", json=kite, headers=forged).raise_for_status()

    (line,) = [
        text for text in server.log.read_text().splitlines() if " classes registered " in text
    ]
    event, fields = line.split(" classes registered ")
    assert event.endswith(" info")
    said = ["collection=default", "revision=1", "count=1"]
    assert fields.split(" ") == [*said, "request_id=level=error,revision=9"]
