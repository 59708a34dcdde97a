"""How the command ends where the other side does not play along, and what it completes."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import httpx
import pytest

from model.bundle import Bundle

Run = Callable[..., CompletedProcess[str]]
Picture = Callable[..., bytes]

REPOSITORY = Path(__file__).resolve().parents[2]
READS: tuple[tuple[str, ...], ...] = (
    ("classes", "list"),
    ("classes", "list", "--json"),
    ("classes", "show", "jay"),
    ("classes", "export", "-", "--all"),
    ("classes", "export", "-", "--all", "--format", "ndjson"),
    ("classify", "jay.png"),
    ("classify", "jay.png", "--json"),
    ("explain", "jay.png", "--class", "jay"),
    ("--help",),
)


@pytest.fixture
def environment(shared_server: Any) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("UMZERO_")}
    return kept | {"UMZERO_URL": shared_server.url, "PYTHONPATH": str(REPOSITORY)}


@pytest.fixture
def photo(tmp_path: Path, picture: Picture) -> Path:
    path = tmp_path / "jay.png"
    path.write_bytes(picture("Jay"))
    return path


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


@pytest.mark.usefixtures("photo")
def test_an_import_that_loses_its_server_says_how_to_go_on(
    umzero: Run, tmp_path: Path, http: httpx.Client
) -> None:
    attributes = http.get("/attributes").json()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.path.startswith("/attributes")
            page = {"classes": [], "next": None}
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(attributes if known else page).encode())

        def do_POST(self) -> None:
            self.close_connection = True  # in the middle of everything

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        (tmp_path / "x.csv").write_text("name,has_wing\nKite,red\n")
        url = f"http://127.0.0.1:{server.server_port}"
        done = umzero("classes", "import", "x.csv", "--url", url)
        server.shutdown()
    assert done.returncode == 3
    assert done.stdout == "0 registered, 0 replaced, 0 skipped, 0 failed\n"
    assert "run this again with --on-conflict skip to go on" in done.stderr


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


@pytest.fixture
def on_path(environment: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """A shell's variables, in which `umzero` is a program; its home is the test's folder."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    return environment | {"PATH": path, "HOME": str(tmp_path)}


# What each shell does when the tab key is pressed behind `words`; a line an answer.
BASH = """
source ~/.bashrc
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_umzero_completion umzero
printf '%s\\n' "${COMPREPLY[@]}"
"""
ZSH = """
compdef() { }
_arguments() { print -r -- "$@" }
_files() { }
eval "$(umzero --show-completion)"
words=("$@")
CURRENT=$#
_umzero_completion
"""
FISH = """
umzero --show-completion | source
complete --do-complete "$argv"
"""


def complete(shell: str, words: tuple[str, ...], environment: dict[str, str]) -> str:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"needs the program {shell}")
    command = {
        "bash": [program, "--norc", "-c", BASH, "bash"],
        "zsh": [program, "-f", "-c", ZSH, "zsh"],
        "fish": [program, "--no-config", "-c", FISH],
    }[shell]
    if shell == "bash":
        subprocess.run(
            [program, "--norc", "-c", "umzero --install-completion; true"],
            env=environment,
            capture_output=True,
            check=True,
        )
    done = subprocess.run(
        [*command, *words] if shell != "fish" else [*command, " ".join(words)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_commands_options_and_the_servers_classes(
    shell: str, on_path: dict[str, str], http: httpx.Client
) -> None:
    body = {"name": "Kite", "class_id": "ja.kite", "attributes": {"has_wing": "red"}}
    http.post("/classes", json=body).raise_for_status()

    def offered(*words: str) -> set[str]:
        text = complete(shell, ("umzero", *words), on_path)
        if shell == "zsh":  # *: :(("value":"help" "value":"help"))
            return set(re.findall(r'(?:\(\(| )"([^"]+)"', text))
        return {line.split("\t")[0] for line in text.splitlines()}

    assert offered("cla") == {"classes", "classify"}
    assert offered("classes", "ex") == {"export"}
    assert offered("classes", "remove", "--y") == {"--yes"}
    assert offered("classes", "show", "ja") == {"jay", "ja.kite"}
    assert offered("classes", "remove", "ja") == {"ja.kite"}
    assert offered("explain", "x.png", "--class", "ro") == {"robin"}
    assert offered("classes", "add", "X", "--like", "jay") == {"jay"}


def test_no_class_is_offered_where_no_server_answers_in_time(
    on_path: dict[str, str], silent: socket.socket, answering: Callable[..., str]
) -> None:
    asked = ("umzero", "classes", "show", "ja")
    for url in (
        f"http://127.0.0.1:{silent.getsockname()[1]}",
        answering(200, {"hello": "world"}),
        "http://127.0.0.1:1",
        "nowhere",
    ):
        assert complete("bash", asked, on_path | {"UMZERO_URL": url}).split() == []
    # What is typed counts, as for the command itself.
    typed = ("umzero", "classes", "show", "--url", on_path["UMZERO_URL"], "ja")
    assert complete("bash", typed, on_path | {"UMZERO_URL": "http://127.0.0.1:1"}).split() == [
        "jay"
    ]


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
