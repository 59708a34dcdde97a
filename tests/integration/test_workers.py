"""`--workers 2`: several processes that look like one from outside."""

import os
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from model.bundle import Bundle
from service.engine.cpus import available_cpus
from tests.integration.asking import KITE, until
from tests.integration.conftest import Server
from tests.integration.worker_processes import (
    CLIENTS,
    connected,
    connections,
    counted,
    needs_proc,
    samples,
    value,
    workers_of,
)

Picture = Callable[..., bytes]
Start = Callable[..., Server]

TURNS = 4

pytestmark = needs_proc


@pytest.fixture(scope="module")
def pair(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Two workers that seldom look at the store by themselves."""
    folder = tmp_path_factory.mktemp("pair")
    settings = {
        "UMZERO_BUNDLE": str(bundle.path),
        "UMZERO_STATE_DIR": str(folder / "state"),
        "UMZERO_WORKERS": "2",
        "UMZERO_QUEUE_CAPACITY": "5",
        "UMZERO_REFRESH_S": "2",
    }
    server = Server(settings, folder / "server.log")
    yield server
    server.kill()


def mix(client: httpx.Client, who: str, picture: Picture) -> Counter[tuple[str, str, str]]:
    """Some of everything, and what came of it."""
    seen: Counter[tuple[str, str, str]] = Counter()

    def note(route: str, response: httpx.Response) -> None:
        seen[route, response.request.method, str(response.status_code)] += 1

    good = picture("Robin")
    for turn in range(TURNS):
        note("/classify", client.post("/classify", content=good))
        note("/classify", client.post("/classify?top_k=1", content=good))
        note("/classify", client.post("/classify", content=b"no image"))
        note("/classes/{class_id}", client.get("/classes/nobody"))
        sheet = {"name": f"Bird {who} {turn}", "attributes": KITE}
        created = client.post("/classes", json=sheet)
        note("/classes", created)
        if turn % 2:
            path = f"/classes/{created.json()['classes'][0]['class_id']}"
            note("/classes/{class_id}", client.delete(path))
    return seen


def test_the_sums_are_what_the_clients_counted_also_after_a_worker_died(
    start: Start, picture: Picture
) -> None:
    server = start(workers="2")
    clients = connected(server, CLIENTS)
    expected: Counter[tuple[str, str, str]] = Counter()
    images = value(clients[0], "umzero_images_total")  # of the warm-up

    def run(when: str) -> None:
        def mixed(number: int) -> Counter[tuple[str, str, str]]:
            return mix(clients[number], f"{when} {number}", picture)

        with ThreadPoolExecutor(CLIENTS) as pool:
            for seen in pool.map(mixed, range(CLIENTS)):
                expected.update(seen)

    def check() -> None:
        for client in clients:  # of both workers
            until(lambda client=client: counted(client) == dict(expected), "the sums are right")
            good = expected["/classify", "POST", "200"]
            assert value(client, "umzero_images_total") == images + good
            assert value(client, "umzero_batch_size_sum") == images + good
            assert value(client, "umzero_decode_duration_seconds_count") >= good

    run("first")
    check()
    left = TURNS * CLIENTS / 2
    assert expected["/classify", "POST", "200"] == 2 * TURNS * CLIENTS
    for client in clients:
        until(
            lambda client=client: (
                value(client, "umzero_classes", origin="registered") == TURNS * CLIENTS / 2
            ),
            "every worker's answer tells of the classes that are left",
        )
        assert value(client, "umzero_classes", origin="bundle") == 4
        assert value(client, "umzero_queue_capacity") == 64
        assert value(client, "umzero_registry_revision") == 3 * left
        assert value(client, "umzero_workers") == 2
        assert value(client, "umzero_ready") == 1
        assert all("pid" not in labels for _, labels, _ in samples(client))

    victim = workers_of(server)[0]
    os.kill(victim, signal.SIGKILL)
    until(lambda: "worker replaced" in server.log.read_text(), "the dead one is replaced")
    with httpx.Client(base_url=server.url, timeout=60) as fresh:
        until(lambda: value(fresh, "umzero_workers") == 2, "the new one shows itself")
        assert counted(fresh) == dict(expected)  # nothing that the dead one counted is lost
        images = value(fresh, "umzero_images_total") - expected["/classify", "POST", "200"]
    for client in clients:
        client.close()
    clients = connected(server, CLIENTS)
    run("later")
    check()


def test_prometheus_own_linter_finds_nothing_in_the_sums(
    pair: Server, picture: Picture, promtool: str
) -> None:
    assert pair.client.post("/classify", content=picture("Robin")).status_code == 200
    assert pair.client.post("/classify", content=b"no image").status_code == 422

    told = subprocess.run(
        [promtool, "check", "metrics"],
        input=pair.client.get("/metrics").text,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )

    assert (told.returncode, told.stdout) == (0, "")


def test_a_class_registered_at_one_worker_is_known_at_once_to_who_asks_for_its_revision(
    pair: Server, picture: Picture
) -> None:
    pair.client.close()
    clients = connected(pair, 2)
    assert [connections(pair, pid) for pid in workers_of(pair)] == [1, 1]

    for here, there in (clients, clients[::-1]):
        sheet = {"name": "Kite", "attributes": KITE, "class_id": "kite"}
        revision = here.post("/classes", json=sheet).json()["revision"]
        asked = {"min_revision": revision}
        found = there.post("/classify", params=asked, content=picture(KITE)).json()
        assert (found["predictions"][0]["name"], found["revision"]) == ("Kite", revision)
        asked = {"min_revision": there.delete("/classes/kite").json()["revision"]}
        found = here.post("/classify", params=asked, content=picture(KITE)).json()
        assert "Kite" not in [item["name"] for item in found["predictions"]]


def test_workers_follow_each_other_without_being_asked(pair: Server, picture: Picture) -> None:
    here, there = connected(pair, 2)

    def names() -> list[str]:
        found = there.post("/classify", content=picture(KITE)).json()["predictions"]
        return [item["name"] for item in found]

    here.post("/classes", json={"name": "Kite", "attributes": KITE, "class_id": "kite"})
    until(lambda: "Kite" in names(), "the other one knows it")
    here.delete("/classes/kite").raise_for_status()
    until(lambda: "Kite" not in names(), "the other one has forgotten it")


def test_workers_share_the_cpus_and_what_the_service_takes_on(pair: Server) -> None:
    (client,) = connected(pair, 1)
    cpus = sorted(os.sched_getaffinity(0))

    assert value(client, "umzero_queue_capacity") == 6  # three each
    if available_cpus() == len(cpus) >= 2:  # under a quota nobody has a CPU to himself
        allowed = [os.sched_getaffinity(pid) for pid in workers_of(pair)]
        assert not allowed[0] & allowed[1]
        assert [len(each) for each in allowed] == [len(cpus) // 2] * 2
