"""Runs the blocks of one page as a reader would: in a folder, in their order, beside a server."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from itertools import zip_longest
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.docs.blocks import PLACEHOLDER, REPOSITORY, Block

START_LIMIT_S = 120


def variables(**more: str) -> dict[str, str]:
    """A reader's environment, with this environment's programs first."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("UMZERO_")}
    path = os.pathsep.join((str(Path(sys.executable).parent), kept.get("PATH", "")))
    return {**kept, "PATH": path, "PYTHONPATH": str(REPOSITORY), "COLUMNS": "100", **more}


class Served:
    """A server that `command` starts, on any free port."""

    def __init__(self, command: str, folder: Path, **more: str) -> None:
        self.process = subprocess.Popen(
            ["bash", "-c", f"exec env {command}"],
            cwd=folder,
            env=variables(UMZERO_PORT="0", **more),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        watchdog = threading.Timer(START_LIMIT_S, self.process.kill)
        watchdog.start()
        assert self.process.stdout is not None
        line = next((text for text in self.process.stdout if " at http://" in text), "")
        watchdog.cancel()
        if not line:
            self.process.wait()
        assert line, f"{command}: the service ended before it was ready"
        self.url = line.rsplit(" ", 1)[1].strip()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


class Reader:
    """Follows a page in `folder`; `said` keeps what each block printed.

    A block that is `umzero serve` starts a server, which the blocks after it then ask.
    """

    def __init__(self, folder: Path, url: str) -> None:
        self.folder, self.url = folder, url
        # Where a page shows an error on purpose, curl may get one; else it must not.
        self._curl_fails = True
        self._curl_home = folder / ".curl"
        self._curl_home.mkdir()
        (self._curl_home / ".curlrc").write_text("fail-with-body\n")
        self.said: list[tuple[Block, str]] = []
        self.served: Served | None = None
        self._python: subprocess.Popen[str] | None = None

    def follow(self, blocks: list[Block]) -> None:
        for block, after in zip_longest(blocks, blocks[1:]):
            self._curl_fails = after is None or not after.shows_problem
            if block.left_out is None and (run := self._way_of(block)):
                self.said.append((block, run(block)))

    @property
    def text(self) -> str:
        return "".join(text for _, text in self.said)

    def _way_of(self, block: Block) -> Callable[[Block], str] | None:
        if block.serves:
            return self._serve
        return {"bash": self._run, "python": self._execute}.get(block.language)

    def _serve(self, block: Block) -> str:
        if self.served is not None:
            self.served.stop()
        self.served = Served(block.text.strip(), self.folder)
        self.url = self.served.url
        return ""

    def _run(self, block: Block) -> str:
        home = self._curl_home if self._curl_fails else self.folder
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", self._addressed(block)],
            cwd=self.folder,
            env=variables(UMZERO_URL=self.url, CURL_HOME=str(home)),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{block}\n{block.text}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def _execute(self, block: Block) -> str:
        if self._python is None:
            self._python = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("session.py"))],
                cwd=self.folder,
                env=variables(UMZERO_URL=self.url),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        process = self._python
        assert process.stdin is not None
        assert process.stdout is not None
        print(json.dumps(self._addressed(block)), file=process.stdin, flush=True)
        printed, failed = json.loads(process.stdout.readline())
        assert not failed, f"{block}\n{block.text}\n{printed}\n{failed}"
        return str(printed)

    def _addressed(self, block: Block) -> str:
        """The block as it stands there, but for the server's address."""
        host = PLACEHOLDER.removeprefix("http://")  # some clients want no scheme
        return block.text.replace(host, self.url.removeprefix("http://"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._python is not None:
            self._python.communicate()
        if self.served is not None:
            self.served.process.kill()
            self.served.process.wait()
