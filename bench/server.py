"""A system that runs: started, good for its first answer, and ended with all its processes."""

import contextlib
import http.client
import json
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from processes import Tree
from systems import System

START_S = 120.0


class Failed(RuntimeError):  # noqa: N818
    """A server that did not answer; the message ends with its log."""


@dataclass
class Server:
    """One that runs."""

    process: subprocess.Popen[bytes]
    port: int
    tree: Tree
    startup_s: float  # to the first good answer
    classes: list[str]  # of that answer, best first


@contextmanager
def served(system: System, python: Path, jpeg: bytes, bundle: Path) -> Iterator[Server]:
    """A server that has given a good answer to one JPEG; all its processes end with the block.

    Raises:
        Failed
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    # Short: Ray puts sockets below it, whose paths have 107 bytes at most.
    with tempfile.TemporaryDirectory(prefix="b", ignore_cleanup_errors=True) as state:
        places = {"bin": python.parent, "port": port, "state": state, "bundle": bundle}
        variables = {
            **os.environ,
            "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}",
            "BENCH_PORT": str(port),
            "BENCH_BUNDLE": str(bundle),
            "BENCH_STATE": state,
            "BENTOML_DO_NOT_TRACK": "1",
            "RAY_USAGE_STATS_ENABLED": "0",
        }
        log = Path(state) / "log"
        with log.open("wb") as output:
            started = time.perf_counter()
            process = subprocess.Popen(
                [word.format(**places) for word in system.command],
                env=variables,
                cwd=state,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        tree = Tree(process.pid)
        try:
            classes = _first_answer(process, port, jpeg, started + START_S)
            if classes is None:
                end = log.read_text(errors="replace").splitlines()[-5:]
                raise Failed(f"{system.title} gave no good answer:\n" + "\n".join(end))
            yield Server(process, port, tree, time.perf_counter() - started, classes)
        finally:
            tree.end()
            process.wait()


def _first_answer(
    process: subprocess.Popen[bytes], port: int, jpeg: bytes, deadline: float
) -> list[str] | None:
    while time.perf_counter() < deadline and process.poll() is None:
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError, KeyError):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            with contextlib.closing(connection):
                connection.request("POST", "/classify", jpeg, {"Content-Type": "image/jpeg"})
                answer = connection.getresponse()
                if answer.status == 200:
                    return [item["class_id"] for item in json.load(answer)["predictions"]]
        time.sleep(0.02)
    return None
