"""A server process on a real socket, with the fake backend."""

import functools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from docs.generate.http import openapi
from model.bundle import Bundle
from model.runtime.fake import draw, write_fake_bundle
from model.sheets import fill
from tests.integration.conformance import Document

LAUNCHER = Path(__file__).parent / "fake_server.py"
REPOSITORY = LAUNCHER.parents[2]
START_LIMIT_S = 60
ADMIN_TOKEN = "of-the-tests"


@functools.cache
def document_of(folder: str) -> Document:
    """What the service of a bundle says of itself."""
    return Document(openapi(Path(folder)))


class Server:
    """One process. `client` talks to it; it answers problems as they are.

    Every answer that the client gets is held against the OpenAPI document.

    Args:
        command: instead of the one with the fake backend.
    """

    def __init__(
        self,
        settings: Mapping[str, str],
        log: Path,
        command: Sequence[str] = (sys.executable, str(LAUNCHER)),
    ) -> None:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("UMZERO_")}
        environment |= {"UMZERO_PORT": "0", "PYTHONPATH": str(REPOSITORY), **settings}
        self.log = log
        with log.open("ab") as errors:
            self.process = subprocess.Popen(
                command,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        assert self.process.stdout is not None
        watchdog = threading.Timer(START_LIMIT_S, self.process.kill)
        watchdog.start()
        line = self.process.stdout.readline()
        watchdog.cancel()
        if " at http://" not in line:
            self.process.kill()
            self.process.wait()
            pytest.fail(f"the server did not start: {line}\n{log.read_text()}")
        self.url = line.rsplit(" ", 1)[1].strip()
        self.document = document_of(settings["UMZERO_BUNDLE"])
        self.client = httpx.Client(
            base_url=self.url,
            timeout=60,
            event_hooks={"response": [self.document.check]},
            # Before the server closes an idle connection, not while it does.
            limits=httpx.Limits(keepalive_expiry=2),
        )

    @property
    def address(self) -> tuple[str, int]:
        host, port = self.url.removeprefix("http://").split(":")
        return host, int(port)

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL: nothing is told to the process."""
        self.process.kill()
        self.process.wait()
        self.client.close()

    def metric(self, name: str) -> float:
        """The sum over a metric's labels."""
        text = self.client.get("/metrics").text
        lines = [line for line in text.splitlines() if line.split("{")[0].split(" ")[0] == name]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_fake_bundle(tmp_path_factory.mktemp("bundles") / "fake")


@pytest.fixture(scope="session")
def document(bundle: Bundle) -> Document:
    return document_of(str(bundle.path))


@pytest.fixture(scope="session")
def picture(bundle: Bundle) -> Callable[..., bytes]:
    """Draws one of the bundle's classes by its name, or a sheet."""

    def paint(what: str | dict[str, Any], image_format: str = "PNG", size: int = 96) -> bytes:
        space = bundle.manifest.attributes
        if isinstance(what, str):
            own = next(item for item in bundle.classes if item.name == what)
            return draw(np.array(own.attributes, np.float32), space, size, image_format)
        return draw(fill(what, space).values, space, size, image_format)

    return paint


@pytest.fixture
def start(bundle: Bundle, tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Starts servers of a test's own; all of them keep their classes in one folder."""
    servers: list[Server] = []

    def run(**settings: str) -> Server:
        given = {f"UMZERO_{key.upper()}": value for key, value in settings.items()}
        if "UMZERO_FAKE_DELAY_S" in given:
            given["FAKE_DELAY_S"] = given.pop("UMZERO_FAKE_DELAY_S")
        fixed = {"UMZERO_BUNDLE": str(bundle.path), "UMZERO_STATE_DIR": str(tmp_path / "state")}
        servers.append(Server(fixed | given, tmp_path / "server.log"))
        return servers[-1]

    yield run
    for server in servers:
        server.kill()


@pytest.fixture
def begin(start: Callable[..., Server], twins: tuple[Bundle, Bundle]) -> Callable[..., Server]:
    """Starts servers of the first twin, with an administrator."""

    def run(**settings: str) -> Server:
        return start(**({"bundle": str(twins[0].path), "admin_token": ADMIN_TOKEN} | settings))

    return run


@pytest.fixture(scope="module")
def shared_server(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    settings = {
        "UMZERO_BUNDLE": str(bundle.path),
        "UMZERO_STATE_DIR": str(folder / "state"),
        "UMZERO_ADMIN_TOKEN": ADMIN_TOKEN,
    }
    server = Server(settings, folder / "server.log")
    yield server
    assert server.process.poll() is None, server.log.read_text()
    server.kill()


@pytest.fixture
def http(shared_server: Server) -> Iterator[httpx.Client]:
    """A client of a server that has the bundle's classes alone, before and after a test."""
    client = shared_server.client
    yield client
    listed = client.get("/classes", params={"limit": 1000}).json()["classes"]
    for item in listed:
        if not item["seen"]:
            client.delete(f"/classes/{item['class_id']}").raise_for_status()
    assert client.get("/readyz").status_code == 200


@pytest.fixture(scope="session")
def problem() -> Callable[..., dict[str, Any]]:
    """Checks that a response is a problem with this status and code, and returns it."""

    def check(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
        assert (response.status_code, response.json().get("code")) == (status, code), response.text
        assert response.headers["content-type"] == "application/problem+json"
        body: dict[str, Any] = response.json()
        assert body["status"] == status
        assert {"type", "title", "detail"} <= body.keys()
        return body

    return check


@pytest.fixture
def environment(shared_server: Server) -> dict[str, str]:
    """Of a command that talks to the shared server."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("UMZERO_")}
    own = {"UMZERO_URL": shared_server.url, "PYTHONPATH": str(REPOSITORY), "COLUMNS": "100"}
    return kept | own


@pytest.fixture
def umzero(
    environment: dict[str, str], tmp_path: Path
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the command in a folder of the test's own."""

    def run(*words: object, told: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "umzero.cli", *map(str, words)],
            cwd=tmp_path,
            env=environment | variables,
            input=told,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.fixture
def answering() -> Iterator[Callable[[int, dict[str, Any]], str]]:
    """Starts a server that answers everything with one status and body; returns its address."""
    servers: list[ThreadingHTTPServer] = []

    def start(status: int, body: dict[str, Any]) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.send_header("Retry-After", "0")
                self.end_headers()
                self.wfile.write(json.dumps(body).encode())

            do_POST = do_DELETE = do_GET  # noqa: N815

            def log_message(self, *_: Any) -> None:
                pass

        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """A server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server
