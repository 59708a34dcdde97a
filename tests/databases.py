"""Databases for tests: SQLite files, and a PostgreSQL server of the tests' own.

The server runs from the installed binaries, on a port and in a folder of its own; nothing of a
PostgreSQL that this machine may run is touched.
"""

import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

START_LIMIT_S = 60
# Debian's package, which leaves them outside PATH.
PLACES = ("/usr/lib/postgresql/*/bin",)
USERS = ("postgres", "nobody")  # that it runs as where we are root: it refuses to be root


class Postgres:
    """A server process. `stop`, `kill` and `pause` are what happens to it in the tests."""

    def __init__(self, binaries: Path) -> None:
        self._binaries = binaries
        self.folder = Path(tempfile.mkdtemp(prefix="umzero-postgres-"))
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self._user = {}
        if os.getuid() == 0:
            user = next(u for u in map(_user, USERS) if u)
            os.chown(self.folder, user.pw_uid, user.pw_gid)
            self._user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        self._run("initdb", "-D", "data", "-U", "umzero", "-A", "trust", "-N", "-E", "UTF8")
        self._numbers = itertools.count()
        self.start()

    def start(self) -> None:
        """Returns once it answers."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    # It does not outlive tests that are killed.
                    *(("setpriv", "--pdeathsig", "QUIT") if shutil.which("setpriv") else ()),
                    str(self._binaries / "postgres"),
                    *("-D", "data", "-k", str(self.folder), "-p", str(self.port)),
                    # Its own durability is not what is tested here.
                    *("-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"),
                ],
                cwd=self.folder,
                stdout=log,
                stderr=log,
                **self._user,
            )
        end = time.monotonic() + START_LIMIT_S
        while self._run("pg_isready", "-h", "127.0.0.1", "-p", str(self.port), check=False):
            if self.process.poll() is not None or time.monotonic() > end:
                pytest.fail("PostgreSQL does not start:\n" + (self.folder / "log").read_text())
            time.sleep(0.05)

    def stop(self) -> None:
        """End it in order; whoever is connected is thrown out."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait()

    def pause(self) -> None:
        """Let it hang: connections stay open, and are accepted, but nothing answers."""
        self.process.send_signal(signal.SIGSTOP)  # first: it must start no new ones
        self._signal_children(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal_children(signal.SIGCONT)
        self.process.send_signal(signal.SIGCONT)

    def database(self) -> str:
        """The URL of a new, empty database."""
        name = f"test_{next(self._numbers)}"
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "umzero", name)
        return f"postgresql://umzero@127.0.0.1:{self.port}/{name}"

    def close(self) -> None:
        if self.process.poll() is None:
            self.resume()
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait()
        shutil.rmtree(self.folder)

    def _signal_children(self, number: int) -> None:
        parent = self.process.pid
        for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
            with suppress(ProcessLookupError):  # it has ended
                os.kill(int(child), number)

    def _run(self, program: str, *words: str, check: bool = True) -> int:
        done = subprocess.run(
            [str(self._binaries / program), *words],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            **self._user,
        )
        if check and done.returncode:
            pytest.fail(f"{program} failed: {done.stdout}{done.stderr}")
        return done.returncode


def _user(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def _binaries() -> Path | None:
    """Of the newest version that is installed."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    folders = [path for place in PLACES for path in Path("/").glob(place.lstrip("/"))]
    found = [path for path in folders if (path / "initdb").is_file()]
    return max(found, key=lambda path: int(path.parent.name), default=None)


@pytest.fixture(scope="session")
def postgres_binaries() -> Path:
    binaries = _binaries()
    if binaries is None:
        pytest.skip("needs the program postgres (Debian's package postgresql)")
    return binaries


@pytest.fixture(scope="session")
def postgres(postgres_binaries: Path) -> Iterator[Postgres]:
    """A server that all tests share; each has databases of its own in it."""
    server = Postgres(postgres_binaries)
    yield server
    server.close()


@pytest.fixture
def own_postgres(postgres_binaries: Path) -> Iterator[Postgres]:
    """A server that a test may stop."""
    server = Postgres(postgres_binaries)
    yield server
    server.close()


@pytest.fixture
def sqlite_file(tmp_path: Path) -> Path:
    return tmp_path / "classes.db"


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest, sqlite_file: Path) -> str:
    """An empty database, of each kind in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{sqlite_file}"
    server: Postgres = request.getfixturevalue("postgres")
    return server.database()
