"""Ray Serve with the file of `docker/ray`: two replicas of the committed bundle, one database."""

import itertools
import os
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import pytest
import yaml

from tests.databases import Postgres
from tests.integration.asking import until
from tests.integration.conftest import ADMIN_TOKEN, REPOSITORY
from tests.integration.ray_cluster import Cluster
from tests.pictures import encoded, quarters
from umzero import Client

pytest.importorskip("ray", reason="needs the program ray (the extra scale)")

Problem = Callable[..., dict[str, Any]]

FILE = REPOSITORY / "docker" / "ray" / "serve.yaml"
ADMIN = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
PHOTOGRAPH = encoded(quarters(), "JPEG")
CLASSIFYING, REGISTERING = 6, 2
PAUSE_S = 0.05  # between a client's registrations
START_LIMIT_S = 240  # of replicas, while clients hold the CPUs


@dataclass(frozen=True)
class Sent:
    """A request, and what came of it."""

    begun: float
    answer: httpx.Response | None
    class_id: str = ""

    @property
    def succeeded(self) -> bool:
        return self.answer is not None and self.answer.is_success

    @property
    def replica(self) -> str:
        return replica_of(self.answer) if self.answer is not None else ""


def replica_of(answer: httpx.Response) -> str:
    return answer.headers.get("x-umzero-replica", "")


class Service:
    """What `serve.yaml` describes, with another bundle, database and number of replicas."""

    def __init__(self, cluster: Cluster, **settings: Any) -> None:
        self.cluster, self.client = cluster, cluster.client
        self._configuration = yaml.safe_load(FILE.read_text())
        (self._application,) = self._configuration["applications"]
        self._settings = self._application["args"]
        assert settings.keys() >= self._settings.keys()
        self._settings |= settings

    def deploy(self, replicas: int, **settings: Any) -> None:
        self._settings |= settings
        (deployment,) = self._application["deployments"]
        scaling = deployment["autoscaling_config"]
        scaling["min_replicas"] = scaling["max_replicas"] = replicas
        self.cluster.deploy(self._configuration)

    def answering(self) -> set[str]:
        """The replicas that answered a few requests."""
        answers = [self.client.get("/readyz") for _ in range(16)]
        return {replica_of(answer) for answer in answers if answer.is_success}

    def metric(self, name: str) -> dict[str, float]:
        """What each replica says."""
        found = {}
        for _ in range(16):
            answer = self.client.get("/metrics")
            (line,) = [line for line in answer.text.splitlines() if line.startswith(f"{name} ")]
            found[replica_of(answer)] = float(line.split()[1])
        return found

    def pair(self) -> set[str]:
        """Two replicas, once there are two and no others that end."""
        found: set[str] = set()

        def two() -> bool:
            found.clear()
            found.update(self.answering())
            return len(found) == 2 == len(self.cluster.replicas())

        until(two, "two replicas answer", limit_s=START_LIMIT_S)
        return found

    def registered(self, class_id: str) -> Sent:
        sheet = {"name": class_id, "class_id": class_id, "attributes": {"has_bill_shape": "dagger"}}
        return self._sent(class_id, "/classes", json=sheet)

    def classified(self, **query: Any) -> Sent:
        return self._sent("", "/classify", content=PHOTOGRAPH, params=query)

    def _sent(self, class_id: str, path: str, **body: Any) -> Sent:
        begun = time.monotonic()
        try:
            return Sent(begun, self.client.post(path, **body), class_id)
        except httpx.TransportError:
            return Sent(begun, None, class_id)


class Load:
    """Clients that classify, and some that register, until the block ends."""

    def __init__(self, service: Service) -> None:
        self.sent: list[Sent] = []
        self._service = service
        self._is_over = threading.Event()
        self._pool = ThreadPoolExecutor(CLASSIFYING + REGISTERING)

    def replicas(self) -> set[str]:
        """Those that gave the last answers."""
        return {one.replica for one in self.sent[-50:]}

    def failures(self) -> list[Sent]:
        return [one for one in self.sent if not one.succeeded]

    def _classify(self) -> None:
        while not self._is_over.is_set():
            self.sent.append(self._service.classified())

    def _register(self, client: int) -> None:
        for number in itertools.count():
            if self._is_over.wait(PAUSE_S):
                return
            self.sent.append(self._service.registered(f"load-{id(self)}-{client}-{number}"))

    def __enter__(self) -> Self:
        self._running = [self._pool.submit(self._classify) for _ in range(CLASSIFYING)]
        self._running += [self._pool.submit(self._register, n) for n in range(REGISTERING)]
        until(lambda: len(self.sent) > 200, "requests are answered")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_over.set()
        for each in self._running:
            each.result()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    found = Cluster(tmp_path_factory.mktemp("ray") / "log")
    yield found
    found.stop()


@pytest.fixture(scope="module")
def service(cluster: Cluster, birds_bundle: Path, postgres: Postgres) -> Service:
    """One replica, then a second one beside it."""
    found = Service(
        cluster,
        bundle=str(birds_bundle),
        database_url=postgres.database(),
        admin_token=ADMIN_TOKEN,
        queue_capacity=8,
    )
    found.deploy(replicas=1)
    until(lambda: len(found.answering()) == 1, "a replica answers")
    first = found.answering()
    found.deploy(replicas=2)
    assert found.pair() > first
    return found


def test_all_kinds_of_requests_come_through_rays_proxy_as_they_are(
    service: Service, problem: Problem
) -> None:
    client = service.client
    pieces = [PHOTOGRAPH[i : i + 100] for i in range(0, len(PHOTOGRAPH), 100)]
    one = client.post("/classify", content=PHOTOGRAPH).json()["predictions"]

    streamed = client.post("/classify", content=iter(pieces))
    form = client.post("/classify", files=[("image", PHOTOGRAPH)] * 2)
    assert streamed.json()["predictions"] == one
    assert [each["predictions"] for each in form.json()["results"]] == [one, one]

    problem(client.post("/classify", content=b"no image"), 422, "image_unreadable")
    problem(client.put("/classify"), 405, "method_not_allowed")
    problem(client.get("/classes/nobody"), 404, "unknown_class")
    problem(client.post("/classify", content=bytes(21 * 2**20)), 413, "body_too_large")

    head, get = client.head("/attributes"), client.get("/attributes")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(get.content))

    named = client.get("/livez", headers={"X-Request-ID": "of-the-client"})
    assert named.headers.get_list("x-request-id") == ["of-the-client"]
    assert len(client.get("/livez").headers.get_list("x-request-id")) == 1


def test_clients_that_leave_give_their_permits_back(service: Service) -> None:
    """More of them than all replicas have permits."""
    form = httpx.Request("POST", service.cluster.url, files=[("image", PHOTOGRAPH)] * 200)
    body = form.read()
    lines = ["POST /classify HTTP/1.1", "Host: x", f"Content-Type: {form.headers['content-type']}"]
    head = "\r\n".join([*lines, f"Content-Length: {len(body)}\r\n\r\n"]).encode()

    def cancelled() -> float:
        return sum(service.metric("umzero_requests_cancelled_total").values())

    def leave(sent: bytes) -> None:
        with socket.create_connection(("127.0.0.1", service.cluster.port)) as leaving:
            leaving.sendall(head + sent)
            time.sleep(0.02)  # it may be admitted, or not

    def leave_until_it_counts(sent: bytes) -> None:
        before = cancelled()
        for _ in range(20):
            leave(sent)
        until(lambda: cancelled() > before, "one of them was admitted", lambda: leave(sent))

    for sent in (body, b"not all of it"):
        leave_until_it_counts(sent)
        until(
            lambda: not any(service.metric("umzero_queue_depth").values()), "all permits are back"
        )
    assert service.classified().succeeded


def test_what_one_replica_registers_the_other_one_classifies_by(service: Service) -> None:
    pair = service.pair()
    asked = set()

    for number in itertools.count():
        made = service.registered(f"kite-{number}")
        assert made.answer is not None
        revision = made.answer.json()["revision"]
        found = service.classified(min_revision=revision, classes=made.class_id)
        assert found.answer is not None
        (best,) = found.answer.json()["predictions"]  # 404 where nobody knows the class
        assert best["class_id"] == made.class_id
        asked.add((made.replica, found.replica))
        if asked >= set(itertools.permutations(pair)):
            break
        assert number < 200, f"only {asked}"


def test_a_killed_replica_costs_what_it_had_in_flight_and_is_replaced(service: Service) -> None:
    before = service.pair()
    victim, _ = service.cluster.replicas()

    with Load(service) as load:
        os.kill(victim, signal.SIGKILL)
        killed = time.monotonic()
        until(
            lambda: load.replicas() - before - {""} != set(),
            "another one answers",
            limit_s=START_LIMIT_S,
        )

    after = service.pair()
    assert len(before & after) == 1
    failures = load.failures()
    assert [one.begun - killed for one in failures if one.begun > killed] == []
    assert len(failures) <= CLASSIFYING + REGISTERING  # one in flight each
    acknowledged = {one.class_id for one in load.sent if one.succeeded and one.class_id}
    assert len(acknowledged) > REGISTERING
    with Client(service.cluster.url) as client:
        for _ in range(8):  # of both replicas
            assert acknowledged <= {item.class_id for item in client.classes()}


def test_another_bundle_takes_over_and_no_request_fails(
    service: Service, birds_bundle: Path, tmp_path: Path, problem: Problem
) -> None:
    before = service.pair()
    refused = service.client.post("/admin/bundle", json={"bundle": "x"}, headers=ADMIN)
    assert "Ray" in problem(refused, 409, "several_workers")["detail"]
    other = shutil.copytree(birds_bundle, tmp_path / "other")

    with Load(service) as load:
        service.deploy(replicas=2, bundle=str(other))
        until(
            lambda: len(load.replicas()) == 2 and not load.replicas() & before,
            "they are others",
            limit_s=START_LIMIT_S,
        )

    assert [one.answer for one in load.failures()] == []
    assert {one.replica for one in load.sent} >= before
    served = [service.client.get("/admin/bundle", headers=ADMIN).json() for _ in range(16)]
    assert {each["folder"] for each in served} == {"other"}
