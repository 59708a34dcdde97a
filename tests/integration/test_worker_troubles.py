"""Workers that die, hang, drain, or can't start: the service goes on, or ends in words."""

import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from model import bundle as bundles
from model.bundle import Bundle
from model.errors import ModelError
from model.runtime.fake import write_fake_bundle
from tests.integration.asking import until
from tests.integration.conftest import Server
from tests.integration.worker_processes import (
    CLIENTS,
    connected,
    connections,
    counted,
    is_alive,
    needs_proc,
    workers_of,
)

Picture = Callable[..., bytes]
Start = Callable[..., Server]

ENDLESS = {"has_breast": ["red", "green"]}  # a yellow middle: the fake server's backend hangs

pytestmark = needs_proc


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
