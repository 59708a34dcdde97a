"""Two server processes with one database behind nginx, and Prometheus: the files of `docker/` as
they are, but for the addresses."""

import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest

from model.bundle import Bundle
from tests.databases import Postgres
from tests.integration.conftest import REPOSITORY, Server, bundle, picture

__all__ = ["bundle", "picture"]

DOCKER = REPOSITORY / "docker"
REPLICAS = ("replica-1:8000", "replica-2:8000")
PATIENCE_S = 30


def until(what: Callable[[], Any], patience_s: float = PATIENCE_S) -> Any:
    """What it returns, once that is true; a refused connection is not yet."""
    end = time.monotonic() + patience_s
    while True:
        try:
            if found := what():
                return found
        except httpx.TransportError:
            pass
        if time.monotonic() > end:
            pytest.fail(f"not within {patience_s} s")
        time.sleep(0.1)


def addressed(name: str, folder: Path, addresses: Mapping[str, str]) -> Path:
    """A copy of a file of `docker/`, in which each of these stands once and is replaced."""
    text = (DOCKER / name).read_text()
    for given, own in addresses.items():
        assert text.count(given) == 1, f"{name} has {given} {text.count(given)} times"
        text = text.replace(given, own)
    (folder / name).write_text(text)
    return folder / name


def program(name: str, package: str) -> str:
    """Skips where it is missing. Debian keeps some where only root's PATH leads."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found is None:
        pytest.skip(f"needs the program {name} (Debian's package {package})")
    return found


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


class Proxy:
    """nginx, as a user without rights, in a folder that it may write to."""

    def __init__(self, servers: list[str]) -> None:
        nginx = program("nginx", "nginx")
        self.folder = Path(tempfile.mkdtemp(prefix="umzero-nginx-"))
        self.log = self.folder / "log"
        user: dict[str, Any] = {}
        if os.getuid() == 0:
            nobody = pwd.getpwnam("nobody")
            self.log.touch()
            for path in (self.folder, self.log):
                os.chown(path, nobody.pw_uid, nobody.pw_gid)
            user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        self.port = free_port()
        listen = {"listen 8080;": f"listen 127.0.0.1:{self.port};"}
        config = addressed("nginx.conf", self.folder, listen)
        addressed("upstream.conf", self.folder, dict(zip(REPLICAS, servers, strict=True)))
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    nginx,
                    *("-p", f"{self.folder}/", "-c", str(config), "-e", "stderr"),
                    *("-g", "daemon off;"),
                ],
                stdout=log,
                stderr=log,
                **user,
            )
        self.url = f"http://127.0.0.1:{self.port}"
        self.client = httpx.Client(base_url=self.url, timeout=60)
        try:
            until(self._answers)
        except BaseException:
            self.close()
            raise

    def _answers(self) -> bool:
        if self.process.poll() is not None:
            pytest.fail(f"nginx does not start: {self.log.read_text()}")
        return self.client.get("/livez").status_code == 200

    def lines(self) -> list[str]:
        return self.log.read_text().splitlines()

    def close(self) -> None:
        self.client.close()
        self.process.terminate()
        self.process.wait(30)
        shutil.rmtree(self.folder)


@pytest.fixture(scope="module")
def start_replica(
    bundle: Bundle, postgres: Postgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Server]]:
    """Starts servers that share one database."""
    url, servers = postgres.database(), []

    def start(**settings: str) -> Server:
        folder = tmp_path_factory.mktemp("replica")
        fixed = {
            "UMZERO_BUNDLE": str(bundle.path),
            "UMZERO_STATE_DIR": str(folder),
            "UMZERO_DATABASE_URL": url,
            "UMZERO_LANES": "1",
            "UMZERO_BODY_TIMEOUT_S": "1",
        }
        given = {f"UMZERO_{name.upper()}": value for name, value in settings.items()}
        servers.append(Server(fixed | given, folder / "log"))
        return servers[-1]

    yield start
    for server in servers:
        if server.process.poll() is None:
            server.kill()


@pytest.fixture(scope="module")
def replicas(start_replica: Callable[..., Server]) -> list[Server]:
    return [start_replica(), start_replica()]


@pytest.fixture(scope="module")
def proxy(replicas: list[Server]) -> Iterator[Proxy]:
    running = Proxy([f"127.0.0.1:{server.address[1]}" for server in replicas])
    yield running
    running.close()


@dataclass(frozen=True)
class Prometheus:
    """`ask` answers with the samples of a query at this moment."""

    client: httpx.Client

    def ask(self, query: str) -> list[dict[str, Any]]:
        answer = self.client.get("/api/v1/query", params={"query": query})
        assert answer.status_code == 200, answer.text
        return list(answer.json()["data"]["result"])


@pytest.fixture(scope="module")
def prometheus(
    replicas: list[Server], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    folder = tmp_path_factory.mktemp("prometheus")
    port = free_port()
    servers = [f"127.0.0.1:{server.address[1]}" for server in replicas]
    config = addressed("prometheus.yml", folder, dict(zip(REPLICAS, servers, strict=True)))
    addressed("alerts.yml", folder, {})
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                program("prometheus", "prometheus"),
                f"--config.file={config}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=log,
        )
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        until(lambda: client.get("/-/ready").status_code == 200)
        yield Prometheus(client)
    process.terminate()
    process.wait(30)


@pytest.fixture(scope="session")
def dockerfile() -> ModuleType:
    sys.path.insert(0, str(DOCKER))
    import dockerfile

    sys.path.remove(str(DOCKER))
    return dockerfile


@pytest.fixture(scope="session")
def beside_python() -> Callable[[str], str]:
    """A program that a package of the extra `dev` brings."""

    def find(name: str) -> str:
        folder = Path(sys.executable).parent
        found = shutil.which(name, path=f"{folder}:{os.environ.get('PATH', '')}")
        assert found is not None, f"{name} comes with pip install '.[dev]'"
        return found

    return find


class Traffic:
    """Asks over and over, in a thread, until the block ends."""

    def __init__(self, ask: Callable[[], object]) -> None:
        self._ask = ask
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.failure: Exception | None = None

    def _run(self) -> None:
        try:
            while not self._ended.wait(0.02):
                self._ask()
        except Exception as error:  # noqa: BLE001  # raised where the block ends
            self.failure = error

    def __enter__(self) -> "Traffic":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        if self.failure is not None:
            raise self.failure
