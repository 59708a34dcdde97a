"""A worker as its supervisor sees it: a process, and what both say to each other."""

import asyncio
import contextlib
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path

from service.errors import ConfigurationError
from service.workers.folder import counters_in
from service.workers.member import Assignment, Begin, Failed, Ready


class Worker:
    """A process, and the way to talk with it. Its end is the end of what it says."""

    def __init__(self, slot: int, process: subprocess.Popen[bytes], channel: Connection) -> None:
        self.slot = slot
        self.process = process
        self.is_ready = False
        self._missed_reload = False
        self._since = time.monotonic()
        self._channel = channel

    @property
    def age_s(self) -> float:
        return time.monotonic() - self._since

    def tell(self, what: Assignment | Begin) -> None:
        with contextlib.suppress(OSError):  # it is dead already, which its reader finds
            self._channel.send(what)

    def pass_on(self, number: int) -> None:
        """Send it a signal; SIGHUP, which would end one that starts, once it is ready."""
        if number == signal.SIGHUP and not self.is_ready:
            self._missed_reload = True
        else:
            self.process.send_signal(number)

    async def answer(self) -> Ready:
        """Wait until it is ready.

        Raises:
            ConfigurationError: it failed, or ended.
        """
        match await self._heard():
            case Ready() as ready:
                self.is_ready = True
                # It may have read what that was about, or what was there before.
                if self._missed_reload:
                    self.pass_on(signal.SIGHUP)
                return ready
            case Failed(reason):
                raise ConfigurationError(reason)
        code = await self.ended()
        raise ConfigurationError(
            f"a worker ended with code {code} before it was ready; the log says why"
        )

    async def ended(self) -> int:
        """Wait for its end; returns its exit code, below 0 for a signal."""
        while await self._heard():
            pass
        # Not in a thread: there may be no room for one more of these, either.
        while (code := self.process.poll()) is None:
            await asyncio.sleep(0.01)
        return code

    async def _heard(self) -> Ready | Failed | None:
        loop = asyncio.get_running_loop()
        readable = asyncio.Event()
        loop.add_reader(self._channel.fileno(), readable.set)
        try:
            await readable.wait()
        finally:
            loop.remove_reader(self._channel.fileno())
        try:
            told: Ready | Failed = self._channel.recv()
        except (EOFError, OSError):
            return None
        return told

    def close(self) -> None:
        self._channel.close()


def spawned(slot: int, command: Sequence[str], listener: socket.socket, folder: Path) -> Worker:
    """A new process, which waits to be told its assignment.

    Args:
        command: what starts it; it is given the file descriptor of its channel as well.
        listener: it gets this file descriptor, too.
        folder: of `shared_folder`.

    Raises:
        ConfigurationError: the system has no room for it, or the command is not there.
    """
    try:
        own, its = multiprocessing.Pipe()
        with its:
            try:
                process = _started([*command, str(its.fileno())], [its, listener], folder)
            except OSError:
                own.close()
                raise
    except OSError as error:
        raise ConfigurationError(f"can't start a worker: {error}") from error
    return Worker(slot, process, own)


def _started(
    command: Sequence[str], passed: Sequence[Connection | socket.socket], folder: Path
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        pass_fds=[one.fileno() for one in passed],
        # A terminal's Ctrl-C is for the supervisor; it says it once, as one signal.
        process_group=0,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path),
            "PROMETHEUS_MULTIPROC_DIR": str(counters_in(folder)),
        },
    )
