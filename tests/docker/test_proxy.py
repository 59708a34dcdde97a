"""Two server processes behind the real nginx, with `docker/nginx.conf`."""

import json
import re
import socket
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from model.bundle import Bundle
from service.http.lines import NDJSON
from service.settings import Settings
from tests.docker.conftest import Proxy, until
from tests.integration.conftest import Server

Picture = Callable[..., bytes]


def seen(server: Server, method: str, status: int) -> int:
    """Requests that the replica itself counted."""
    text = server.client.get("/metrics").text
    pattern = (
        rf'umzero_request_duration_seconds_count{{method="{method}",route="[^"]*",'
        rf'status="{status}"}} (\S+)'
    )
    return sum(int(float(found)) for found in re.findall(pattern, text))


def test_requests_reach_both_replicas(
    proxy: Proxy, replicas: list[Server], picture: Picture
) -> None:
    before = [seen(server, "POST", 200) for server in replicas]

    for _ in range(20):
        assert proxy.client.post("/classify", content=picture("Robin")).status_code == 200

    after = [seen(server, "POST", 200) for server in replicas]
    gained = [new - old for new, old in zip(after, before, strict=True)]
    assert sum(gained) == 20
    assert min(gained) > 0


def test_a_class_that_one_replica_took_is_known_to_both(
    proxy: Proxy, replicas: list[Server]
) -> None:
    sheet = {"class_id": "shared", "name": "Shared", "attributes": {"has_crown": "red"}}
    assert proxy.client.post("/classes", json=sheet).status_code == 201

    for server in replicas:
        until(lambda server=server: server.client.get("/classes/shared").status_code == 200)
    assert proxy.client.delete("/classes/shared").is_success


@pytest.mark.parametrize("path", ["/metrics", "/admin/bundle", "/admin/anything"])
def test_what_is_for_the_inside_is_not_there_outside(
    proxy: Proxy, replicas: list[Server], path: str
) -> None:
    answer = proxy.client.get(path)

    assert answer.status_code == 404
    assert answer.json() == replicas[0].client.get("/nothing").json()
    assert answer.headers["content-type"] == "application/problem+json"


def pieces(size: int) -> Iterator[bytes]:
    piece = bytes(2**20)
    for _ in range(size // len(piece)):
        yield piece
    yield piece[: size % len(piece)]


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_large_is_refused_in_the_words_of_the_replica(
    proxy: Proxy, replicas: list[Server], chunked: bool
) -> None:
    size = Settings.model_fields["max_body_bytes"].default + 1
    before = sum(server.metric("umzero_requests_rejected_total") for server in replicas)

    answer = proxy.client.post(
        "/classes",
        content=pieces(size) if chunked else bytes(size),
        headers={"Content-Type": "application/json"},
    )

    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    after = sum(server.metric("umzero_requests_rejected_total") for server in replicas)
    assert after == before + 1


def test_a_body_that_even_the_proxy_refuses_is_a_problem_too(proxy: Proxy) -> None:
    answer = proxy.client.post("/classify", content=bytes(65 * 2**20 + 1))

    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("count", [1, 1500])
def test_as_many_candidates_as_the_line_holds_are_asked_for(
    proxy: Proxy, bundle: Bundle, picture: Picture, count: int
) -> None:
    ids = ",".join([bundle.classes[0].class_id] + [str(uuid.UUID(int=n)) for n in range(count - 1)])

    answer = proxy.client.post(f"/classify?classes={ids}", content=picture("Robin"))

    # In either case the replica has read the line.
    expected = (200, None) if count == 1 else (404, "unknown_class")
    assert (answer.status_code, answer.json().get("code")) == expected


def test_a_line_that_is_too_long_is_a_problem_too(proxy: Proxy) -> None:
    longest = 2**16 - len("classes=")  # of the client's own
    answer = proxy.client.post("/classify", params={"classes": "x" * longest})

    problem = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.status_code, problem["status"], problem["code"]) == (414, 414, "uri_too_long")
    assert problem["type"] == "urn:umzero:problem:uri_too_long"


def test_an_import_may_be_of_any_size_and_reaches_the_replica_as_it_comes(
    proxy: Proxy, replicas: list[Server]
) -> None:
    def line(name: str) -> bytes:
        sheet = {"class_id": name, "name": name, "attributes": {"has_crown": "red"}}
        return json.dumps(sheet).encode() + b"\n"

    def lines() -> Iterator[bytes]:
        yield line("first")
        blank = b" " * (2**20 - 1) + b"\n"
        for _ in range(66):
            yield blank
        # The body hasn't ended, and its first line is already written.
        until(lambda: any(s.client.get("/classes/first").is_success for s in replicas))
        yield line("last")

    answer = proxy.client.post("/import", content=lines(), headers={"Content-Type": NDJSON})

    assert answer.status_code == 200, answer.text
    assert (answer.json()["registered"], answer.json()["failed"]) == (2, 0)
    for name in ("first", "last"):
        until(lambda name=name: proxy.client.delete(f"/classes/{name}").is_success)


def test_a_body_that_never_ends_is_answered_408_by_the_replica(proxy: Proxy) -> None:
    head = "POST /classify HTTP/1.1\r\nHost: a\r\nContent-Type: image/png\r\nContent-Length: 1000"
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=30) as connection:
        connection.sendall(f"{head}\r\n\r\nstart".encode())
        answer = connection.recv(65536).decode()

    assert answer.startswith("HTTP/1.1 408 ")
    assert '"code":"body_timeout"' in answer.replace('": "', '":"')


LARGE = 2**25


class Recorder(ThreadingHTTPServer):
    """A replica that keeps what it was sent. It hangs up on a request to /lost, unanswered, and
    answers `LARGE` zeros to a GET of /export or /large."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Recording)
        self.requests: list[tuple[str, str, str | None]] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_port}"

    def close(self) -> None:
        self.shutdown()
        self.server_close()


class _Recording(BaseHTTPRequestHandler):
    server: Recorder

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        if self.path == "/livez":
            self._answer(b"")
            return
        self.server.requests.append((self.command, self.path, self.headers["X-Request-ID"]))
        if self.path != "/lost":
            self._answer(bytes(LARGE) if self.path in ("/export", "/large") else body)

    do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def recorders() -> Iterator[list[Recorder]]:
    servers = [Recorder(), Recorder()]
    yield servers
    for server in servers:
        server.close()


@pytest.fixture
def recorded(recorders: list[Recorder]) -> Iterator[Proxy]:
    proxy = Proxy([server.address for server in recorders])
    yield proxy
    proxy.close()


def test_the_id_of_a_request_is_passed_on_where_it_is_fit_for_logs(
    recorded: Proxy, recorders: list[Recorder]
) -> None:
    given = ("abc-1.2_3", "two words", "x" * 129, 'quote"')

    for request_id in given:
        recorded.client.get("/x", headers={"X-Request-ID": request_id})
    recorded.client.get("/x")

    ids = {found for server in recorders for _, _, found in server.requests}
    assert ids & set(given) == {"abc-1.2_3"}
    made = ids - set(given)
    assert len(made) == 4
    assert all(found and re.fullmatch("[0-9a-f]{32}", found) for found in made)
    until(lambda: logged_ids(recorded) == ids)  # nginx writes a line once it has answered


def test_an_export_goes_as_fast_as_it_is_read_and_is_kept_in_no_file(recorded: Proxy) -> None:
    def is_kept(path: str) -> bool:
        kept = [line for line in recorded.lines() if "buffered to a temporary file" in line]
        return any(f'"GET {path} ' in line for line in kept)

    with recorded.client.stream("GET", "/export") as export:
        # Nobody reads on, and of what comes later the proxy has made a file by now.
        with recorded.client.stream("GET", "/large"):
            until(lambda: is_kept("/large"))
        assert sum(map(len, export.iter_raw())) == LARGE

    assert not is_kept("/export")


def logged_ids(proxy: Proxy) -> set[str]:
    lines = [json.loads(line) for line in proxy.lines() if line.startswith("{")]
    return {line["request_id"] for line in lines if line["uri"] == "/x"}


@pytest.mark.parametrize(
    ("method", "body", "times"),
    [
        ("GET", None, 2),
        ("DELETE", None, 2),
        ("POST", b"{}", 1),
        ("POST", b"", 1),
    ],
)
def test_what_a_replica_took_and_lost_is_sent_again_only_where_that_is_safe(
    recorded: Proxy, recorders: list[Recorder], method: str, body: bytes | None, times: int
) -> None:
    answer = recorded.client.request(method, "/lost", content=body)

    assert (answer.status_code, answer.json()["code"]) == (502, "unreachable")
    assert answer.headers["content-type"] == "application/problem+json"
    took = Counter(request[0] for server in recorders for request in server.requests)
    assert took == {method: times}


def test_nothing_is_lost_while_a_replica_is_gone(
    recorded: Proxy, recorders: list[Recorder]
) -> None:
    recorders[0].close()

    bodies = [f"body {number}".encode() for number in range(20)]
    answers = [recorded.client.post("/x", content=body) for body in bodies]

    assert [(answer.status_code, answer.content) for answer in answers] == [
        (200, body) for body in bodies
    ]
    assert len(recorders[1].requests) == len(bodies)


def test_a_replica_that_is_killed_is_left_out_and_taken_back(
    replicas: list[Server], start_replica: Callable[..., Server], picture: Picture
) -> None:
    dies = start_replica()
    addresses = [f"127.0.0.1:{server.address[1]}" for server in (replicas[0], dies)]
    proxy = Proxy(addresses)
    try:
        dies.kill()
        statuses = {
            proxy.client.post("/classify", content=picture("Robin")).status_code for _ in range(10)
        }
        assert statuses == {200}

        back = start_replica(port=str(dies.address[1]))
        until(
            lambda: (
                proxy.client.post("/classify", content=picture("Robin")).is_success
                and seen(back, "POST", 200) > 0
            )
        )
    finally:
        proxy.close()
