"""Bundles that change while a real server answers: no request fails, none sees both."""

import base64
import json
import os
import shutil
import socket
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from model import bundle as bundles
from model.bundle import Bundle
from model.preprocess import to_input
from model.runtime.fake import FakeBackend
from model.sheets import fill
from tests.integration.asking import until
from tests.integration.conftest import ADMIN_TOKEN, Server
from tests.integration.swapping import CLIENTS, SWAPS, kite, said, swap, without_pause
from tests.pictures import quarters
from tests.twins import KITE

Start = Callable[..., Server]


def test_swaps_under_load_fail_no_request_and_mix_no_answer(
    begin: Start, twins: tuple[Bundle, Bundle], images: list[bytes], tmp_path: Path
) -> None:
    def prepare(server: Server) -> None:
        photograph = base64.b64encode(images[1]).decode()
        seen_once = kite("seen-once") | {"examples": [photograph]}
        for body in (kite(), seen_once):
            server.client.post("/classes", json=body).raise_for_status()

    # Both were registered with the first one: the second one makes their prototypes at its start.
    alone: dict[str, list[dict[str, Any]]] = {}
    for twin in twins:
        server = begin(bundle=str(twin.path), state_dir=str(tmp_path / "alone"))
        if not alone:
            prepare(server)
        query = {"top_k": 6}
        asked = [server.client.post("/classify", content=i, params=query) for i in images]
        alone[twin.name] = [said(response.json()) for response in asked]
    assert len(alone["first"][0]["predictions"]) == 6

    server = begin(fake_delay_s="0.01")
    prepare(server)
    seen: Counter[str] = Counter()

    def classify(client: httpx.Client, number: int) -> None:
        place = sum(seen.values()) % len(images)
        # With a query and without take different ways through the service.
        query = {"top_k": 6} if number % 2 else None
        response = client.post("/classify", content=images[place], params=query)
        assert response.status_code == 200, response.text
        answer = response.json()
        expected = alone[answer["bundle"]][place]
        if not query:
            expected = {**expected, "predictions": expected["predictions"][:5]}
        assert said(answer) == expected
        seen[answer["bundle"]] += 1
        assert number or client.get("/readyz").status_code == 200

    names = [twin.name for twin in twins]
    with without_pause(classify, server.url) as check:
        for wanted in islice(cycle(names[::-1]), SWAPS):
            before = seen[wanted]
            answer = swap(server, wanted)
            assert (answer["bundle"], answer["revision"]) == (wanted, 2)
            assert answer["classes"] == {"first": 6, "second": 5}[wanted]
            until(lambda: seen[wanted] > before + CLIENTS, "it answers", check)  # noqa: B023

    assert set(seen) == set(names)
    assert server.metric("umzero_bundle_swaps_total") == SWAPS
    exposition = server.client.get("/metrics").text
    assert exposition.count("umzero_build_info{") == 1
    assert f'bundle="{wanted}"' in exposition
    until(lambda: server.log.read_text().count("bundle closed") == SWAPS, "all are closed")
    assert "Traceback" not in server.log.read_text()


def test_an_answer_that_mixed_bundles_would_show(
    twins: tuple[Bundle, Bundle], images: list[bytes]
) -> None:
    """What the test above relies on: each part of the answer tells the bundles apart."""
    found = set()
    for embeds in twins:
        pixels = to_input(images[0], embeds.manifest.input_size, 10**6, None)
        embedding = FakeBackend.of(embeds).embed(pixels[None]).embedding[0]
        for compares in twins:
            sheet = fill(KITE, compares.manifest.attributes).values.astype(np.float32)
            prototype = FakeBackend.of(compares).prototypes(sheet[None])[0]
            for divides in twins:
                score = float(embedding @ prototype) / divides.manifest.temperature
                found.add(round(score, 2))
    assert len(found) == 2**3


def test_what_is_registered_and_removed_during_swaps_counts_at_once_and_stays(
    begin: Start, images: list[bytes]
) -> None:
    server = begin()
    there: list[str] = []
    gone: list[str] = []
    counts = [0] * CLIENTS

    def write(client: httpx.Client, number: int) -> None:
        counts[number] += 1
        class_id = f"c{number}-{counts[number]}"
        created = client.post("/classes", json=kite(class_id))
        assert created.status_code == 201, created.text
        query = {"classes": class_id}
        found = client.post("/classify", content=images[0], params=query)
        assert found.status_code == 200, found.text
        assert client.get(f"/classes/{class_id}").status_code == 200
        if counts[number] % 3:
            there.append(class_id)
            return
        assert client.delete(f"/classes/{class_id}").status_code == 200
        found = client.post("/classify", content=images[0], params=query)
        assert (found.status_code, found.json()["code"]) == (404, "unknown_class")
        gone.append(class_id)

    with without_pause(write, server.url) as check:
        for wanted in islice(cycle(("second", "first")), SWAPS):
            before = len(there)
            swap(server, wanted)
            until(lambda: len(there) > before + CLIENTS, "it goes on", check)  # noqa: B023

    for running in (server, begin()):  # also after a start
        listed = running.client.get("/classes", params={"limit": 1000}).json()
        registered = {item["class_id"] for item in listed["classes"] if not item["seen"]}
        assert registered == set(there)
        assert listed["revision"] == len(there) + 2 * len(gone)


def test_a_request_keeps_the_bundle_that_it_began_with_however_many_come_after(
    begin: Start, images: list[bytes]
) -> None:
    server = begin()
    sheet = json.dumps(kite()).encode()

    def half_sent(path: str, body: bytes) -> socket.socket:
        connection = socket.create_connection(server.address, timeout=30)
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
        connection.sendall(f"{head}Connection: close\r\n\r\n".encode() + body[:10])
        return connection

    def answer(connection: socket.socket, rest: bytes) -> bytes:
        connection.sendall(rest)
        with connection, connection.makefile("rb") as file:
            return file.read()

    classifying = half_sent("/classify", images[0])
    registering = half_sent("/classes", sheet)
    until(lambda: server.metric("umzero_queue_depth") == 1, "the image is admitted")
    for name in ("second", "first", "second"):
        swap(server, name)
    assert "bundle closed" not in server.log.read_text()

    assert answer(registering, sheet[10:]).startswith(b"HTTP/1.1 201 ")
    query = {"classes": "kite"}
    now = server.client.post("/classify", content=images[0], params=query)
    assert (now.status_code, now.json()["bundle"]) == (200, "second")
    assert "bundle closed" not in server.log.read_text()

    classified = answer(classifying, images[0][10:])
    assert classified.startswith(b"HTTP/1.1 200 ")
    assert b'"bundle":"first"' in classified
    until(lambda: server.log.read_text().count("bundle closed") == 3, "all are closed")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_the_committed_bundle_is_swapped_for_one_with_another_gamma(
    birds_bundle: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "bundles"
    for name in ("birds", "birds-2"):
        shutil.copytree(birds_bundle, folder / name, copy_function=os.link)
    first = bundles.read(folder / "birds")
    for name in ("README.md", "classes.json", "manifest.json"):  # that are written again
        (folder / "birds-2" / name).unlink()
    gamma = first.manifest.gamma + 1
    changed = replace(first.manifest, name="birds-2", gamma=gamma)
    bundles.write(folder / "birds-2", changed, first.classes)
    settings = {
        "UMZERO_BUNDLE": str(folder / "birds"),
        "UMZERO_STATE_DIR": str(tmp_path / "state"),
        "UMZERO_ADMIN_TOKEN": ADMIN_TOKEN,
        "UMZERO_LANES": "2",
        "UMZERO_THREADS": "1",
        "UMZERO_MAX_BATCH": "4",
    }
    command = (sys.executable, "-m", "umzero.cli", "serve")
    server = Server(settings, tmp_path / "server.log", command)
    try:
        body = {"name": "Kite", "class_id": "kite", "attributes": {"has_size": "small_(5_-_9_in)"}}
        server.client.post("/classes", json=body).raise_for_status()
        file = tmp_path / "photo.jpg"
        quarters(320, 240).save(file)
        photo = file.read_bytes()
        query = {"top_k": 100}

        def asked(**more: Any) -> dict[str, Any]:
            response = server.client.post("/classify", content=photo, params=query | more)
            answer: dict[str, Any] = response.json()
            return said(answer)

        expected = {"birds": asked(), "birds-2": {**asked(gamma=gamma), "bundle": "birds-2"}}
        assert expected["birds"]["predictions"] != expected["birds-2"]["predictions"]
        seen: Counter[str] = Counter()

        def classify(client: httpx.Client, number: int) -> None:
            response = client.post("/classify", content=photo, params=query)
            assert response.status_code == 200, response.text
            answer = said(response.json())
            assert rounded(answer) == rounded(expected[answer["bundle"]])
            seen[answer["bundle"]] += 1

        with without_pause(classify, server.url) as check:
            for wanted in ("birds-2", "birds", "birds-2"):
                before = seen[wanted]
                swap(server, wanted)
                until(lambda: seen[wanted] > before + CLIENTS, "it answers", check)  # noqa: B023
    finally:
        server.kill()


def rounded(answer: dict[str, Any]) -> Any:
    """Batches of other sizes give other last digits."""
    scores = {p["class_id"]: round(p["probability"], 2) for p in answer["predictions"]}
    return answer["bundle"], scores
