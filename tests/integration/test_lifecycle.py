"""What happens under load, at the end of a process, and after it."""

import asyncio
import json
import socket
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.integration.asking import until

Picture = Callable[..., bytes]
Problem = Callable[..., dict[str, Any]]
Start = Callable[..., Any]

KITE = {"has_crown": "blue", "has_breast": "blue", "has_wing": "red"}
POISON = {"has_breast": ["red", "blue"]}  # a magenta middle: the fake server's backend fails


def test_a_burst_beyond_the_queue_gets_answers_and_503s_and_nothing_else(
    start: Start, picture: Picture
) -> None:
    server = start(queue_capacity="8", max_batch="1", fake_delay_s="0.05")
    data = picture("Robin")

    async def burst() -> list[httpx.Response]:
        limits = httpx.Limits(max_connections=60)
        async with httpx.AsyncClient(base_url=server.url, timeout=60, limits=limits) as client:
            return await asyncio.gather(
                *(client.post("/classify", content=data) for _ in range(60))
            )

    responses = asyncio.run(burst())

    statuses = Counter(response.status_code for response in responses)
    assert set(statuses) == {200, 503}
    assert statuses[200] >= 8
    for response in responses:
        if response.status_code == 503:
            assert response.json()["code"] == "overloaded"
            assert int(response.headers["retry-after"]) >= 1
        else:
            assert response.json()["predictions"][0]["name"] == "Robin"
    assert server.metric("umzero_requests_rejected_total") == statuses[503]
    until(lambda: server.metric("umzero_queue_depth") == 0, "all permits are back")


def test_a_full_queue_refuses_before_the_body_has_come(start: Start) -> None:
    server = start(queue_capacity="1", body_timeout_s="20", request_timeout_s="20")
    head = b"POST /classify HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"
    with socket.create_connection(server.address) as slow:
        slow.sendall(head)
        until(lambda: server.metric("umzero_queue_depth") == 1, "the slow body has the permit")
        with socket.create_connection(server.address, timeout=30) as refused:
            refused.sendall(head)
            answer = refused.recv(4096)
        slow.sendall(b"x" * 1000)
        slow.settimeout(30)
        assert b" 422 " in slow.recv(4096)

    assert b" 503 " in answer
    assert b"retry-after" in answer.lower()


def test_a_slow_body_is_a_408_and_frees_its_permit(start: Start, picture: Picture) -> None:
    server = start(queue_capacity="1", body_timeout_s="0.3")
    with socket.create_connection(server.address, timeout=30) as slow:
        slow.sendall(b"POST /classify HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc")
        answer = b""
        while part := slow.recv(4096):  # until the server ends the connection
            answer += part

    assert answer.startswith(b"HTTP/1.1 408")
    assert json.loads(answer.split(b"\r\n\r\n", 1)[1])["code"] == "body_timeout"
    assert server.client.post("/classify", content=picture("Jay")).status_code == 200


def test_a_passed_deadline_is_a_503(start: Start, picture: Picture, problem: Problem) -> None:
    server = start(request_timeout_s="0.3", fake_delay_s="1")

    response = server.client.post("/classify", content=picture("Jay"))

    problem(response, 503, "deadline")
    assert int(response.headers["retry-after"]) >= 1


def test_what_clients_abandoned_is_not_computed(start: Start, picture: Picture) -> None:
    server = start(fake_delay_s="1.5", max_batch="4", lanes="1")
    data = picture("Robin")
    before = server.metric("umzero_images_total")
    head = f"POST /classify HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data)}\r\n\r\n".encode()
    impatient = []
    for _ in range(30):
        connection = socket.create_connection(server.address)
        connection.sendall(head + data)
        impatient.append(connection)
    until(lambda: server.metric("umzero_queue_depth") == 30, "all of them are admitted")
    for connection in impatient:
        connection.close()
    until(lambda: server.metric("umzero_queue_depth") == 0, "all of them have left")

    assert server.client.post("/classify", content=data).status_code == 200

    assert server.metric("umzero_requests_cancelled_total") == 30
    # What a lane had begun before they left, and the last one.
    assert server.metric("umzero_images_total") - before <= 13


def test_a_client_that_leaves_within_its_body_frees_its_permit(
    start: Start, picture: Picture
) -> None:
    server = start(queue_capacity="1")
    with socket.create_connection(server.address) as leaving:
        leaving.sendall(b"POST /classify HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc")
        until(lambda: server.metric("umzero_queue_depth") == 1, "it is admitted")
    until(lambda: server.metric("umzero_queue_depth") == 0, "its permit is back")

    assert server.client.post("/classify", content=picture("Jay")).status_code == 200


def test_a_failing_batch_is_a_500_that_shows_nothing_and_the_engine_lives_on(
    start: Start, picture: Picture, problem: Problem
) -> None:
    server = start(max_batch="1")

    for _ in range(3):
        response = server.client.post("/classify", content=picture(POISON))
        problem(response, 500, "internal")
        assert "secret" not in response.text
        assert server.client.post("/classify", content=picture("Jay")).status_code == 200
    request_id = response.headers["x-request-id"]
    log = server.log.read_text()
    assert request_id in log
    assert "secret-of-the-backend" in log


def test_one_bad_image_harms_no_neighbour(start: Start, picture: Picture) -> None:
    server = start(fake_delay_s="0.02")
    good, bad = picture("Robin"), picture("Robin", "JPEG", 400)[:700]

    def send(number: int) -> tuple[int, int]:
        data = bad if number % 12 == 0 else good
        return number, httpx.post(f"{server.url}/classify", content=data, timeout=60).status_code

    with ThreadPoolExecutor(12) as pool:
        results = dict(pool.map(send, range(60)))

    assert all(results[number] == (422 if number % 12 == 0 else 200) for number in range(60))


def test_registering_and_classifying_at_the_same_time_stay_consistent(
    start: Start, picture: Picture
) -> None:
    server = start()
    sheets = [
        {"has_crown": crown, "has_breast": "blue", "has_wing": wing}
        for crown in ("red", "green", "blue")
        for wing in ("red", "green", "blue")
    ]

    def live(number: int) -> None:
        sheet = sheets[number]
        name = f"Bird {number}"
        with httpx.Client(base_url=server.url, timeout=60) as client:
            for _ in range(4):
                body = {"name": name, "attributes": sheet, "class_id": f"b{number}"}
                created = client.post("/classes", json=body)
                assert created.status_code == 201, created.text
                query = {"min_revision": created.json()["revision"]}
                found = client.post("/classify", params=query, content=picture(sheet)).json()
                assert found["predictions"][0]["name"] == name
                removed = client.delete(f"/classes/b{number}")
                query = {"min_revision": removed.json()["revision"], "top_k": 20}
                found = client.post("/classify", params=query, content=picture(sheet)).json()
                assert name not in [item["name"] for item in found["predictions"]]

    with ThreadPoolExecutor(len(sheets)) as pool:
        list(pool.map(live, range(len(sheets))))

    listed = server.client.get("/classes").json()
    assert (len(listed["classes"]), listed["revision"]) == (4, 2 * 4 * len(sheets))


@pytest.mark.parametrize("in_flight", [0, 6])
def test_a_terminated_server_answers_what_is_in_flight_and_ends_cleanly(
    start: Start, picture: Picture, in_flight: int
) -> None:
    server = start(fake_delay_s="1", max_batch="2", drain_s="20")
    data = picture("Jay")

    def send(_: int) -> int:
        return httpx.post(f"{server.url}/classify", content=data, timeout=60).status_code

    with ThreadPoolExecutor(max(1, in_flight)) as pool:
        answers = [pool.submit(send, number) for number in range(in_flight)]
        until(lambda: server.metric("umzero_queue_depth") == in_flight, "all are admitted")
        server.terminate()
        assert [answer.result() for answer in answers] == [200] * in_flight

    assert server.process.wait(timeout=30) == 0
    assert "Traceback" not in server.log.read_text()


def test_what_the_drain_is_too_short_for_is_a_503_to_be_sent_again(
    start: Start, picture: Picture, problem: Problem
) -> None:
    server = start(fake_delay_s="4", drain_s="1")

    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(server.client.post, "/classify", content=picture("Jay"))
        until(lambda: server.metric("umzero_queue_depth") == 1, "it is admitted")
        server.terminate()
        response = answer.result()

    problem(response, 503, "not_ready")
    assert int(response.headers["retry-after"]) >= 1
    assert server.process.wait(timeout=30) == 0
    assert "Traceback" not in server.log.read_text()


def test_metrics_name_routes_and_never_what_a_client_chose(start: Start, picture: Picture) -> None:
    server = start()
    server.client.post("/classes", json={"name": "Kite", "attributes": KITE, "class_id": "kite"})
    server.client.get("/classes/kite")
    server.client.get("/classes/dodo")
    server.client.get("/wp-login.php")
    server.client.request("BREW", "/livez")
    server.client.post("/classify", content=picture("Jay"))

    text = server.client.get("/metrics").text

    assert 'route="/classes/{class_id}"' in text
    assert 'route="unmatched"' in text
    for word in ("kite", "Kite", "dodo", "wp-login", "BREW"):
        assert word not in text
    assert server.metric("umzero_ready") == 1
    assert server.metric("umzero_classes") == 5
