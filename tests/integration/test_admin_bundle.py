"""`/admin/bundle` and SIGHUP: who may swap what, and how it is told."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import httpx
import pytest

from model import bundle as bundles
from model.bundle import Bundle
from model.runtime.fake import FAKE_ATTRIBUTES, write_fake_bundle
from tests.integration.asking import until
from tests.integration.conftest import ADMIN_TOKEN, LAUNCHER, REPOSITORY, Server
from tests.integration.swapping import ADMIN, register, swap

Problem = Callable[..., dict[str, Any]]
Start = Callable[..., Server]


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


def test_a_hangup_while_the_service_starts_is_answered_once_it_can_be(
    twins: tuple[Bundle, Bundle], tmp_path: Path
) -> None:
    configured, following = tmp_path / "current", tmp_path / "next"
    shutil.copytree(twins[0].path, configured)
    shutil.copytree(twins[1].path, following)
    last = configured / bundles.CLASSES  # of what a start reads
    kept = last.read_bytes()
    last.unlink()
    os.mkfifo(last)
    environment = {
        "PYTHONPATH": str(REPOSITORY),
        "UMZERO_BUNDLE": str(configured),
        "UMZERO_STATE_DIR": str(tmp_path / "state"),
        "UMZERO_PORT": "0",
    }
    log = tmp_path / "server.log"

    with (
        log.open("wb") as errors,
        subprocess.Popen(
            [sys.executable, str(LAUNCHER)], env=os.environ | environment, stderr=errors
        ) as server,
    ):
        with last.open("wb") as read:  # once it has come so far
            configured.rename(tmp_path / "before")
            following.rename(configured)
            server.send_signal(signal.SIGHUP)
            read.write(kept)
        try:
            until(lambda: "bundle swapped" in log.read_text() or server.poll(), "it has swapped")
        finally:
            server.terminate()

    assert server.returncode == 0


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
        {"Authorization": f"Bearer {ADMIN_TOKEN[:-1]}"},
        {"Authorization": f"Bearer {ADMIN_TOKEN}2"},
        {"Authorization": f"Basic {ADMIN_TOKEN}"},
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
        "UMZERO_ADMIN_TOKEN": ADMIN_TOKEN,
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
    server = start(admin_token=ADMIN_TOKEN, bundles_dir=str(twins[1].path.parent))

    assert swap(server, str(twins[1].path))["bundle"] == "second"
    assert swap(server, bundle.path.name)["bundle"] == bundle.name


def test_several_workers_swap_by_the_signal_and_one_alone_refuses_to(
    begin: Start,
    problem: Problem,
    twins: tuple[Bundle, Bundle],
    images: list[bytes],
    tmp_path: Path,
) -> None:
    link = tmp_path / "current"
    link.symlink_to(twins[0].path)
    server = begin(bundle=str(link), workers="2")
    body = {"bundle": "second"}
    refused = server.client.post("/admin/bundle", json=body, headers=ADMIN)
    assert "SIGHUP" in problem(refused, 409, "several_workers")["detail"]

    link.unlink()
    link.symlink_to(twins[1].path)
    server.process.send_signal(signal.SIGHUP)

    until(lambda: server.metric("umzero_bundle_swaps_total") == 2, "both have swapped")
    until(lambda: server.metric("umzero_build_info") == 1, "both say so")
    for _ in range(8):  # connections, which the workers share
        answer = httpx.post(f"{server.url}/classify", content=images[0])
        assert answer.json()["bundle"] == "second"


def test_a_second_swap_is_refused_while_one_goes_on(begin: Start, problem: Problem) -> None:
    server = begin(fake_delay_s="5")  # warming up is one image
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
