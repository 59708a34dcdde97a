"""Bundles that change while a real server answers: no request fails, none sees both."""

import base64
import json
import os
import shutil
import signal
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
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
from model.runtime.fake import FAKE_ATTRIBUTES, FakeBackend, draw, write_fake_bundle
from model.sheets import fill
from tests.integration.conftest import Server
from tests.pictures import quarters
from tests.twins import write_twins

Problem = Callable[..., dict[str, Any]]
Start = Callable[..., Server]
TOKEN = "kept-secret"
ADMIN = {"Authorization": f"Bearer {TOKEN}"}
# In numbers: a choice would be the scale's top, which is another one in each bundle.
KITE = {"has_crown::blue": 100, "has_breast::blue": 100, "has_wing::red": 100}
CLIENTS = 8
SWAPS = 5


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, Bundle]:
    return write_twins(tmp_path_factory.mktemp("twins"))


@pytest.fixture(scope="module")
def images(twins: tuple[Bundle, Bundle]) -> list[bytes]:
    space = twins[0].manifest.attributes
    sheets = [KITE, *({"has_crown": c, "has_wing": w} for c in ("red", "blue") for w in ("green",))]
    return [draw(fill(sheet, space).values, space) for sheet in sheets]


@pytest.fixture
def begin(start: Start, twins: tuple[Bundle, Bundle]) -> Start:
    """Starts servers of the first twin, with an administrator."""

    def run(**settings: str) -> Server:
        return start(**({"bundle": str(twins[0].path), "admin_token": TOKEN} | settings))

    return run


def swap(server: Server, name: str) -> dict[str, Any]:
    response = server.client.post("/admin/bundle", json={"bundle": name}, headers=ADMIN)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def kite(class_id: str = "kite") -> dict[str, Any]:
    return {"class_id": class_id, "name": f"Kite {class_id}", "attributes": KITE}


def register(server: Server, class_id: str = "kite") -> None:
    server.client.post("/classes", json=kite(class_id)).raise_for_status()


def until(condition: Callable[[], bool], what: str, check: Callable[[], object] = bool) -> None:
    end = time.monotonic() + 60
    while not condition():
        check()
        assert time.monotonic() < end, f"never: {what}"
        time.sleep(0.01)


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


def test_a_new_bundle_makes_every_prototype_again_and_one_can_go_back(
    begin: Start, images: list[bytes]
) -> None:
    server = begin()
    register(server)

    def best() -> dict[str, Any]:
        asked = server.client.post("/classify", content=images[0], params={"classes": "kite"})
        found: dict[str, Any] = asked.json()
        return {"bundle": found["bundle"], **found["predictions"][0]}

    before = best()
    got = server.client.get("/admin/bundle", headers=ADMIN).json()
    assert (got["bundle"], got["previous"]) == ("first", None)

    there = swap(server, "second")
    assert (there["previous"]["bundle"], there["folder"]) == ("first", "second")
    assert server.client.get("/v2/models/second").json()["name"] == "second"
    assert server.client.get("/v2/models/first").status_code == 404
    other = best()
    assert (other["bundle"], before["bundle"]) == ("second", "first")
    assert abs(other["score"] - before["score"]) > 0.01

    swap(server, "second")  # the same again takes nothing from the way back
    back = swap(server, "previous")

    assert (back["bundle"], back["previous"]["bundle"]) == ("first", "second")
    assert best() == before
    assert server.client.get("/admin/bundle", headers=ADMIN).json() == {
        key: value for key, value in back.items() if key != "seconds"
    }


def test_a_hangup_loads_what_lies_there_now_and_keeps_the_old_one_where_that_fails(
    begin: Start, twins: tuple[Bundle, Bundle], images: list[bytes], tmp_path: Path
) -> None:
    link = tmp_path / "current"

    def deploy(target: Path) -> None:
        (tmp_path / "next").symlink_to(target)
        (tmp_path / "next").rename(link)
        server.process.send_signal(signal.SIGHUP)

    link.symlink_to(twins[0].path)
    server = begin(bundle=str(link))

    def answering() -> str:
        name: str = server.client.post("/classify", content=images[0]).json()["bundle"]
        return name

    assert answering() == "first"
    deploy(twins[1].path)
    until(lambda: answering() == "second", "the other one answers")

    deploy(tmp_path / "nowhere")
    until(lambda: "bundle not swapped" in server.log.read_text(), "it says that it could not")
    assert answering() == "second"
    assert server.metric("umzero_bundle_swaps_total") == 2

    # What the link led to is still there, wherever it leads now.
    assert swap(server, "previous")["bundle"] == "first"
    assert server.client.get("/readyz").status_code == 200


def test_without_a_token_of_its_own_the_service_has_no_such_path(
    start: Start, problem: Problem
) -> None:
    server = start()

    for method in ("GET", "POST"):
        problem(server.client.request(method, "/admin/bundle", headers=ADMIN), 404, "not_found")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer kept-secre"},
        {"Authorization": "Bearer kept-secret2"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": b"Bearer \xff\xfe"},
    ],
)
def test_nobody_without_the_token_sees_or_swaps_anything(
    administered: Server, problem: Problem, headers: dict[str, Any]
) -> None:
    body = {"bundle": "second"}
    asked = [
        administered.client.get("/admin/bundle", headers=headers),
        administered.client.post("/admin/bundle", headers=headers, json=body),
    ]
    for response in asked:
        problem(response, 401, "unauthorized")
        assert response.headers["www-authenticate"] == "Bearer"
        assert "first" not in response.text
    got = administered.client.get("/admin/bundle", headers=ADMIN).json()
    assert got["bundle"] == "first"


@pytest.fixture(scope="module")
def administered(
    twins: tuple[Bundle, Bundle], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server of the first twin, beside which lie others that nothing can swap in."""
    folder = tmp_path_factory.mktemp("administered")
    places = folder / "bundles"
    shutil.copytree(twins[0].path, places / "first")
    shutil.copytree(twins[1].path, places / "cut")
    (places / "cut" / "classes.json").write_text('{"classes": []}')
    shutil.copytree(twins[1].path, places / "half")
    (places / "half" / "README.md").unlink()
    (places / "torn").mkdir()
    (places / "torn" / "manifest.json").write_text('{"format": 1,')
    (places / "empty").mkdir()
    groups = dict(FAKE_ATTRIBUTES)
    groups["has_tail"] = groups.pop("has_wing")
    classes = {"Robin": {"has_crown": "green", "has_tail": "red"}}
    write_fake_bundle(places / "tailed", classes, groups)
    turned = dict(reversed(list(FAKE_ATTRIBUTES.items())))
    write_fake_bundle(places / "turned", {"Robin": {"has_crown": "green"}}, turned)
    shutil.copytree(twins[1].path, folder / "outside")
    settings = {
        "UMZERO_BUNDLE": str(places / "first"),
        "UMZERO_STATE_DIR": str(folder / "state"),
        "UMZERO_ADMIN_TOKEN": TOKEN,
    }
    server = Server(settings, folder / "server.log")
    yield server
    server.kill()


@pytest.mark.parametrize(
    ("wanted", "status", "code"),
    [
        ("nowhere", 404, "unknown_bundle"),
        ("previous", 404, "unknown_bundle"),
        ("empty", 404, "unknown_bundle"),
        (".", 404, "unknown_bundle"),
        ("..", 404, "unknown_bundle"),
        ("../outside", 404, "unknown_bundle"),
        ("first/../../outside", 404, "unknown_bundle"),
        ("{root}/outside", 404, "unknown_bundle"),
        ("/etc", 404, "unknown_bundle"),
        ("a\0b", 404, "unknown_bundle"),
        ("\ud800", 422, "validation"),
        ("x" * 999, 404, "unknown_bundle"),
        ("cut", 422, "bundle_damaged"),
        ("half", 422, "bundle_damaged"),
        ("torn", 422, "bundle_damaged"),
        ("tailed", 409, "attribute_space"),
        ("turned", 409, "attribute_space"),
        ("", 422, "validation"),
        (7, 422, "validation"),
    ],
)
def test_a_bundle_that_can_not_be_used_leaves_the_old_one_in_its_place(
    administered: Server, problem: Problem, images: list[bytes], wanted: Any, status: int, code: str
) -> None:
    if isinstance(wanted, str):
        wanted = wanted.replace("{root}", str(administered.log.parent))
    content = json.dumps({"bundle": wanted})

    response = administered.client.post("/admin/bundle", content=content, headers=ADMIN)

    problem(response, status, code)
    answer = administered.client.post("/classify", content=images[0])
    assert (answer.status_code, answer.json()["bundle"]) == (200, "first")
    assert administered.client.get("/readyz").status_code == 200


def test_other_attributes_are_named_with_the_way_to_take_the_classes_along(
    administered: Server, problem: Problem
) -> None:
    def refused(name: str) -> dict[str, Any]:
        body = {"bundle": name}
        response = administered.client.post("/admin/bundle", json=body, headers=ADMIN)
        return problem(response, 409, "attribute_space")

    tailed, turned = refused("tailed"), refused("turned")

    colours = ("red", "green", "blue")
    assert tailed["added"] == [f"has_tail::{colour}" for colour in colours]
    assert tailed["missing"] == [f"has_wing::{colour}" for colour in colours]
    assert tailed["moved"] == []
    assert "has_tail::red" in tailed["detail"]
    assert "umzero classes export" in tailed["detail"]
    assert (turned["added"], turned["missing"]) == ([], [])
    assert set(turned["moved"]) == {
        f"{group}::{colour}" for group in ("has_crown", "has_wing") for colour in colours
    }


def test_a_folder_of_the_settings_may_hold_bundles_too(
    start: Start, bundle: Bundle, twins: tuple[Bundle, Bundle]
) -> None:
    server = start(admin_token=TOKEN, bundles_dir=str(twins[1].path.parent))

    assert swap(server, str(twins[1].path))["bundle"] == "second"
    assert swap(server, bundle.path.name)["bundle"] == bundle.name


def test_a_second_swap_is_refused_while_one_goes_on(
    begin: Start, problem: Problem, images: list[bytes]
) -> None:
    server = begin(fake_delay_s="1")  # warming up is one image
    loading = "bundle loading"

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(swap, server, "second")
        until(lambda: loading in server.log.read_text(), "the first one loads")
        body = {"bundle": "first"}
        second = server.client.post("/admin/bundle", json=body, headers=ADMIN)
        asked = server.client.get("/admin/bundle", headers=ADMIN).json()["bundle"]

    problem(second, 409, "swap_in_progress")
    assert asked == "first"
    assert first.result()["bundle"] == "second"
    assert swap(server, "first")["bundle"] == "first"


def test_twenty_swaps_leave_no_threads_and_no_memory_behind(
    begin: Start, images: list[bytes]
) -> None:
    server = begin()

    def resources() -> dict[str, int]:
        lines = Path(f"/proc/{server.process.pid}/status").read_text().splitlines()
        words = [line.split() for line in lines]
        return {w[0]: int(w[1]) for w in words if w[0] in ("Threads:", "VmRSS:")}

    def swaps(count: int) -> dict[str, int]:
        closed = server.log.read_text().count("bundle closed") + count
        for wanted in islice(cycle(("second", "first")), count):
            swap(server, wanted)
            server.client.post("/classify", content=images[0]).raise_for_status()
        until(lambda: server.log.read_text().count("bundle closed") == closed, "all are closed")
        return resources()

    early = swaps(4)
    late = swaps(20)

    # What executors keep is not of a generation: a worker or two may come with time.
    assert late["Threads:"] <= early["Threads:"] + 3
    assert late["VmRSS:"] <= early["VmRSS:"] + 20_000  # kB; Python's own pieces come and go


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
        "UMZERO_ADMIN_TOKEN": TOKEN,
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
