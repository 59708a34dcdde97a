"""`--workers 2`: several processes that look like one from outside."""

import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from model import bundle as bundles
from model.bundle import Bundle
from model.errors import ModelError
from model.runtime.fake import write_fake_bundle
from service.engine.cpus import available_cpus
from tests.integration.conftest import Server
from tests.integration.test_lifecycle import until

Picture = Callable[..., bytes]
Start = Callable[..., Server]

KITE = {"has_crown": "blue", "has_breast": "blue", "has_wing": "red"}
ENDLESS = {"has_breast": ["red", "green"]}  # a yellow middle: the fake server's backend hangs
CLIENTS = 8
TURNS = 4

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/task").is_dir(), reason="needs Linux's /proc to look into processes"
)


def workers_of(server: Server) -> list[int]:
    """The processes that live, without the supervisor."""
    pid = server.process.pid
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


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


def is_alive(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def connections(server: Server, pid: int) -> int:
    """How many clients are connected to this process."""
    port = f":{server.address[1]:04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    ours = {f"socket:[{row[9]}]" for row in rows if row[1].endswith(port) and row[3] == "01"}
    found = 0
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found += str(descriptor.readlink()) in ours
        except OSError:  # closed meanwhile
            continue
    return found


def counted(client: httpx.Client) -> dict[tuple[str, str, str], float]:
    """Requests by route, method and status, without those that ask for this."""
    return {
        (labels["route"], labels["method"], labels["status"]): value
        for name, labels, value in samples(client)
        if name == "umzero_request_duration_seconds_count" and labels["route"] != "/metrics"
    }


def samples(client: httpx.Client) -> list[tuple[str, dict[str, str], float]]:
    families = text_string_to_metric_families(client.get("/metrics").text)
    return [(item.name, item.labels, item.value) for family in families for item in family.samples]


def value(client: httpx.Client, name: str, **labels: str) -> float:
    (found,) = [v for n, ls, v in samples(client) if n == name and ls == labels]
    return found


def connected(server: Server, clients: int) -> list[httpx.Client]:
    """Clients with a connection each that lasts; every worker has some of them."""
    opened: list[httpx.Client] = []

    def are_shared() -> bool:
        # A worker that stood still for a moment may have left all of them to the other one.
        while opened:
            opened.pop().close()
        opened.extend(httpx.Client(base_url=server.url, timeout=60) for _ in range(clients))
        for client in opened:
            assert client.get("/metrics").status_code == 200
        return clients == 1 or all(connections(server, pid) for pid in workers_of(server))

    until(are_shared, "every worker has some")
    return opened


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


def test_a_killed_worker_costs_what_it_had_in_flight_and_is_replaced(
    start: Start, picture: Picture
) -> None:
    server = start(workers="2", fake_delay_s="0.01")
    data = picture("Robin")
    clients = connected(server, CLIENTS)
    results: list[str] = []
    is_over = threading.Event()

    def load(client: httpx.Client) -> None:
        while not is_over.is_set():
            try:
                results.append(str(client.post("/classify", content=data).status_code))
            except httpx.TransportError as error:  # counted, never tried again
                results.append(type(error).__name__)

    with ThreadPoolExecutor(CLIENTS) as pool:
        running = [pool.submit(load, client) for client in clients]
        until(lambda: len(results) > 50, "requests are answered")
        victim, other = workers_of(server)
        at_most = connections(server, victim)  # each has one request in flight, at most
        os.kill(victim, signal.SIGKILL)
        until(lambda: "worker replaced" in server.log.read_text(), "the dead one is replaced")
        until(lambda: all(connections(server, pid) for pid in workers_of(server)), "both work")
        before = len(results)
        until(lambda: len(results) > before + 50, "answers go on")
        is_over.set()
        for each in running:
            each.result()

    outcomes = Counter(results)
    failures = len(results) - outcomes["200"]
    assert failures <= at_most < CLIENTS
    assert set(results[before:]) == {"200"}
    assert other in workers_of(server)
    assert len(workers_of(server)) == 2
    # A request that the dead one answered may be uncounted, and the other way round.
    answered = counted(server.client)["/classify", "POST", "200"]
    assert abs(answered - outcomes["200"]) <= failures


def test_a_worker_that_stands_still_is_replaced_and_who_waits_for_it_is_not_left_waiting(
    start: Start, picture: Picture
) -> None:
    server = start(workers="2", worker_timeout_s="6")
    clients = connected(server, CLIENTS)
    still, other = workers_of(server)
    waiting = connections(server, still)
    os.kill(still, signal.SIGSTOP)

    def ask(client: httpx.Client) -> str:
        try:
            return str(client.post("/classify", content=picture("Jay")).status_code)
        except httpx.TransportError:
            return "closed"

    with ThreadPoolExecutor(CLIENTS) as pool:
        outcomes = Counter(pool.map(ask, clients))

    assert outcomes == {"200": CLIENTS - waiting, "closed": waiting}
    until(lambda: "worker replaced" in server.log.read_text(), "it is replaced")
    assert "worker killed, it stood still" in server.log.read_text()
    assert other in workers_of(server)
    assert still not in workers_of(server)
    assert not is_alive(still)


def test_the_last_worker_is_not_taken_for_one_that_stands_still(
    start: Start, tmp_path: Path, picture: Picture
) -> None:
    bundle = write_fake_bundle(tmp_path / "own")
    server = start(workers="2", worker_timeout_s="2", bundle=str(bundle.path))
    (bundle.path / "manifest.json").write_bytes(b"{")
    dead, last = workers_of(server)
    os.kill(dead, signal.SIGKILL)
    until(lambda: not is_alive(dead), "it ends")

    def is_tried_for_longer_than_the_limit() -> bool:
        assert client.post("/classify", content=picture("Jay")).status_code == 200
        # The pauses before them are 3 s together.
        return server.log.read_text().count("worker can't be replaced") >= 5

    with httpx.Client(base_url=server.url, timeout=60) as client:
        until(is_tried_for_longer_than_the_limit, "it is tried again and again")

    assert last in workers_of(server)


def test_a_worker_that_drains_for_longer_than_one_may_stand_still_is_left_to_it(
    start: Start, picture: Picture
) -> None:
    slow = {"fake_delay_s": "1", "max_batch": "1", "lanes": "1"}
    server = start(workers="2", worker_timeout_s="2", drain_s="20", **slow)
    data = picture("Jay")
    clients = connected(server, CLIENTS)
    drained = workers_of(server)

    with ThreadPoolExecutor(len(clients)) as pool:
        answers = [pool.submit(client.post, "/classify", content=data) for client in clients]
        until(lambda: server.metric("umzero_queue_depth") == len(clients), "all are admitted")
        for pid in drained:
            os.kill(pid, signal.SIGTERM)
        assert {answer.result().status_code for answer in answers} == {200}

    assert "it stood still" not in server.log.read_text()


def test_a_worker_that_can_not_end_its_drain_is_replaced(start: Start, picture: Picture) -> None:
    server = start(workers="2", drain_s="1")
    workers = workers_of(server)

    with httpx.Client(base_url=server.url, timeout=60) as client, ThreadPoolExecutor(1) as pool:
        answer = pool.submit(client.post, "/classify", content=picture(ENDLESS))
        until(lambda: any(connections(server, pid) for pid in workers), "one of them has it")
        (hanging,) = [pid for pid in workers if connections(server, pid)]
        until(lambda: server.metric("umzero_queue_depth") == 1, "it is admitted")
        os.kill(hanging, signal.SIGTERM)
        assert answer.result().status_code == 503

    until(lambda: "worker replaced" in server.log.read_text(), "it is replaced")
    assert f"code={-signal.SIGALRM}" in server.log.read_text()
    assert not is_alive(hanging)


def test_terminated_workers_answer_what_is_in_flight_and_nothing_is_left(
    start: Start, picture: Picture
) -> None:
    server = start(workers="2", fake_delay_s="1", max_batch="2", drain_s="20")
    data = picture("Jay")
    clients, workers = connected(server, CLIENTS), workers_of(server)

    def send(client: httpx.Client) -> int:
        return client.post("/classify", content=data).status_code

    with ThreadPoolExecutor(CLIENTS) as pool:
        answers = [pool.submit(send, client) for client in clients]
        until(lambda: server.metric("umzero_queue_depth") == CLIENTS, "all are admitted")
        server.terminate()
        assert [answer.result() for answer in answers] == [200] * CLIENTS

    assert server.process.wait(timeout=30) == 0
    assert not any(map(is_alive, workers))
    assert "Traceback" not in server.log.read_text()
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{server.url}/livez")


def test_nothing_outlives_a_supervisor_that_was_killed(start: Start) -> None:
    server = start(workers="2")
    workers = workers_of(server)
    assert len(workers) == 2
    variables = Path(f"/proc/{workers[0]}/environ").read_text().split("\0")
    (counters,) = [v.partition("=")[2] for v in variables if "PROMETHEUS_MULTIPROC_DIR" in v]
    folder = Path(counters).parent
    assert folder.is_dir()

    server.kill()

    until(lambda: not any(map(is_alive, workers)), "the workers end")
    assert not folder.exists()


def test_a_start_that_fails_ends_the_service_with_the_words_of_one_worker(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as refused:
        bundles.read(tmp_path / "nowhere")
    given = {"workers": 2, "bundle": tmp_path / "nowhere", "port": 0}
    options = [word for key, value in given.items() for word in (f"--{key}", str(value))]

    done = subprocess.run(
        [sys.executable, "-m", "umzero.cli", "serve", *options],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert (done.returncode, done.stdout) == (1, "")
    assert " ".join(done.stderr.split()) == f"error: {refused.value}"


def test_workers_that_can_not_use_their_database_are_not_started_again_and_again(
    start: Start, tmp_path: Path
) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "umzero.db").write_bytes(b"something else entirely" * 100)

    with pytest.raises(pytest.fail.Exception, match="can't be used"):
        start(workers="2")

    assert "worker ended" not in (tmp_path / "server.log").read_text()


def test_what_can_not_be_replaced_is_tried_again_while_another_worker_answers(
    start: Start, tmp_path: Path, picture: Picture
) -> None:
    bundle = write_fake_bundle(tmp_path / "own")
    manifest = bundle.path / "manifest.json"
    kept = manifest.read_bytes()
    server = start(workers="2", bundle=str(bundle.path))
    manifest.write_bytes(b"{")

    os.kill(workers_of(server)[0], signal.SIGTERM)  # it has not to be a crash
    until(lambda: "worker can't be replaced" in server.log.read_text(), "it is tried")
    assert server.client.post("/classify", content=picture("Jay")).status_code == 200
    manifest.write_bytes(kept)
    until(lambda: "worker replaced" in server.log.read_text(), "it works again")

    manifest.write_bytes(b"{")
    for pid in workers_of(server):
        os.kill(pid, signal.SIGKILL)
    assert server.process.wait(timeout=30) != 0  # nobody is left, and nobody can come


def test_a_worker_that_the_system_has_no_room_for_is_tried_again_while_another_one_answers(
    start: Start, picture: Picture
) -> None:
    server = start(workers="2")
    pid = server.process.pid
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, before[1]))  # no file more than it has

    os.kill(workers_of(server)[0], signal.SIGKILL)
    until(lambda: "worker can't be replaced" in server.log.read_text(), "it is tried")
    assert server.client.post("/classify", content=picture("Jay")).status_code == 200
    resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
    until(lambda: "worker replaced" in server.log.read_text(), "it works again")


def test_a_worker_that_is_starting_when_the_signal_comes_swaps_too(
    begin: Start, twins: tuple[Bundle, Bundle], images: list[bytes], tmp_path: Path
) -> None:
    configured, following = tmp_path / "current", tmp_path / "next"
    shutil.copytree(twins[0].path, configured)
    shutil.copytree(twins[1].path, following)
    server = begin(bundle=str(configured), workers="2")
    last = configured / bundles.CLASSES  # of what a start reads
    kept = last.read_bytes()
    last.unlink()
    os.mkfifo(last)

    os.kill(workers_of(server)[0], signal.SIGKILL)
    with last.open("wb") as read:  # once the new one has come so far
        configured.rename(tmp_path / "before")
        following.rename(configured)
        server.process.send_signal(signal.SIGHUP)
        until(lambda: "bundle swapped" in server.log.read_text(), "the other one has swapped")
        read.write(kept)

    until(lambda: server.log.read_text().count("bundle swapped") == 2, "the new one has, too")
    for _ in range(8):  # connections, which the workers share
        answer = httpx.post(f"{server.url}/classify", content=images[0])
        assert answer.json()["bundle"] == "second"


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
