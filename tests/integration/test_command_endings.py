"""How the command ends where the other side does not play along."""

import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import httpx
import pytest

from model.bundle import Bundle
from umzero.importing import BATCH

Run = Callable[..., CompletedProcess[str]]
Picture = Callable[..., bytes]

READS: tuple[tuple[str, ...], ...] = (
    ("classes", "list"),
    ("classes", "list", "--json"),
    ("classes", "show", "jay"),
    ("classes", "export", "-", "--all"),
    ("classes", "export", "-", "--all", "--format", "ndjson"),
    ("classes", "export", "-", "--all", "--format", "parquet"),
    ("classify", "jay.png"),
    ("classify", "jay.png", "--json"),
    ("explain", "jay.png", "--class", "jay"),
    ("--help",),
)


@pytest.fixture
def photo(tmp_path: Path, picture: Picture) -> Path:
    path = tmp_path / "jay.png"
    path.write_bytes(picture("Jay"))
    return path


TALKS: tuple[tuple[str, ...], ...] = (
    ("classes", "list"),
    ("classes", "remove", "--yes", "jay", "robin"),
    ("classes", "add", "X", "--attributes", "{}"),
    ("classify", "jay.png", "jay.png"),
    ("explain", "jay.png", "--class", "jay"),
)


@pytest.mark.usefixtures("photo")
@pytest.mark.parametrize("words", TALKS)
def test_a_server_that_is_not_there_or_not_ready_is_exit_code_3(
    umzero: Run, answering: Callable[..., str], words: tuple[str, ...]
) -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))  # it does not listen, and nobody else gets the port
        gone = umzero(*words, "--url", f"http://127.0.0.1:{deaf.getsockname()[1]}")
    assert (gone.returncode, gone.stdout) == (3, "")
    assert "Is it running, and is its address right?" in gone.stderr

    problem = {"code": "not_ready", "detail": "the bundle is being loaded"}
    early = umzero(*words, "--url", answering(503, problem))
    assert (early.returncode, early.stdout) == (3, "")
    assert early.stderr == "error: the bundle is being loaded (503 not_ready)\n"


@pytest.mark.usefixtures("photo")
@pytest.mark.parametrize("words", TALKS)
def test_what_is_no_server_of_ours_is_exit_code_1(
    umzero: Run, answering: Callable[..., str], words: tuple[str, ...]
) -> None:
    done = umzero(*words, "--url", answering(200, {"hello": "world"}))
    assert (done.returncode, done.stdout) == (1, "")
    assert "Is this the address of a UMZero server?" in done.stderr
    assert "Traceback" not in done.stderr


@contextmanager
def breaking(http: httpx.Client, page: dict[str, Any]) -> Iterator[str]:
    """A server that knows its attributes and a page of classes, and breaks at everything else."""
    answers = {"/attributes": http.get("/attributes").json(), "/classes": page}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.split("?")[0]
            if path in answers:
                self.send_response(200)
                self.end_headers()
                self.wfile.write(json.dumps(answers[path]).encode())

        def do_POST(self) -> None:
            pass  # and the connection is closed

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(("asked", "advised"), [("fail", "skip"), ("replace", "replace")])
def test_an_import_that_loses_its_server_says_how_to_go_on(
    umzero: Run, tmp_path: Path, http: httpx.Client, asked: str, advised: str
) -> None:
    lines = [f"Kite {number},red\n" for number in range(BATCH + 1)]  # more than is sent at once
    (tmp_path / "x.csv").write_text("name,has_wing\n" + "".join(lines))
    with breaking(http, {"classes": [], "next": None}) as url:
        done = umzero("classes", "import", "x.csv", "--url", url, "--on-conflict", asked)
    assert "Traceback" not in done.stderr
    assert done.returncode == 3
    assert done.stdout == "0 registered, 0 replaced, 0 skipped, 0 failed\n"
    assert f"run this again with --on-conflict {advised} to go on" in done.stderr


@pytest.mark.parametrize("name", ["x.csv", "x.ndjson", "x.parquet"])
def test_an_export_that_loses_its_server_leaves_nothing_behind(
    umzero: Run, tmp_path: Path, http: httpx.Client, name: str
) -> None:
    (first, *_) = http.get("/classes").json()["classes"]
    with breaking(http, {"classes": [first], "next": None}) as url:
        done = umzero("classes", "export", name, "--all", "--url", url)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("error: no answer from the server")
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("photo")
@pytest.mark.parametrize("words", READS)
def test_nobody_who_reads_is_no_mistake(
    environment: dict[str, str], tmp_path: Path, words: tuple[str, ...]
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "umzero.cli", *words],
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.usefixtures("photo")
@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("--help",), 0, ""),
        (("classes", "list"), 0, ""),
        (("classes", "export", "-", "--all"), 0, "written: to stdout, classes: 4\n"),
        (("classify", "jay.png", "jay.png"), 0, ""),
        (("classes", "import", "-"), 1, "error: the file is empty; expected a line with"),
    ],
)
def test_a_closed_stream_is_an_empty_one(
    environment: dict[str, str], tmp_path: Path, words: tuple[str, ...], code: int, told: str
) -> None:
    command = shlex.join([sys.executable, "-m", "umzero.cli", *words])

    def run(closed: str) -> CompletedProcess[bytes]:
        shell = ["sh", "-c", f"{command} {closed}"]
        return subprocess.run(
            shell, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, check=False
        )

    done = run("<&- >&-")
    assert done.stderr.decode()[: len(told) or None] == told
    assert done.returncode == run("<&- >&- 2>&-").returncode == code


@pytest.mark.usefixtures("photo")
def test_a_full_disk_is_told(environment: dict[str, str], tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "umzero.cli", "classes", "list"],
            cwd=tmp_path,
            env=environment,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.usefixtures("photo")
@pytest.mark.parametrize(
    "words", [("classes", "list"), ("classify", "jay.png", "jay.png"), ("classes", "export", "-")]
)
def test_ctrl_c_ends_a_command_that_waits(
    environment: dict[str, str], tmp_path: Path, silent: socket.socket, words: tuple[str, ...]
) -> None:
    url = f"http://127.0.0.1:{silent.getsockname()[1]}"
    process = subprocess.Popen(
        [sys.executable, "-m", "umzero.cli", *words, "--url", url],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    silent.settimeout(60)
    connection, _ = silent.accept()
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=50)
    connection.close()
    assert (process.returncode, out) == (130, "")
    assert "Traceback" not in errors


def test_a_bundle_that_is_damaged_is_told_to_scripts_too(
    umzero: Run, bundle: Bundle, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(bundle.path, copy)
    sound = umzero("verify", "copy", "--json")
    assert (sound.returncode, json.loads(sound.stdout)["problems"]) == (0, [])
    with (copy / "classes.json").open("a") as file:
        file.write(" ")
    damaged = umzero("verify", "copy", "--json")
    assert damaged.returncode == 1
    assert "classes.json" in json.loads(damaged.stdout)["problems"][0]
    assert damaged.stderr.startswith("error: copy is damaged: ")
