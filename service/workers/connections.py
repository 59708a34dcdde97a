"""Which of several workers takes a new connection: whoever has the fewest.

All of them accept from one socket. A worker's death so costs the connections that it had, and none
of those that still wait. But whoever asks first would take them all.
"""

import asyncio
import logging
import mmap
import socket
import time
from array import array
from collections.abc import Callable
from functools import partial
from pathlib import Path

log = logging.getLogger(__name__)

PATIENCE_S = 0.005  # how long a worker lets the others go first
_PAUSE_S = 1.0  # after the system had no file descriptor left
_NOBODY = -1
_FILE = "connections"


class Counts:
    """How many connections each worker has, and when it said so, in memory that all of them share.

    Args:
        folder: where `create` was called.
    """

    def __init__(self, folder: Path) -> None:
        with (folder / _FILE).open("r+b") as file:
            shared = memoryview(mmap.mmap(file.fileno(), 0)).cast("q")
        workers = len(shared) // 2
        self._counts, self._times_ns = shared[:workers], shared[workers:]

    @staticmethod
    def create(folder: Path, workers: int) -> None:
        (folder / _FILE).write_bytes(array("q", [_NOBODY] * workers + [0] * workers))

    def note(self, slot: int, connections: int) -> None:
        self._times_ns[slot] = time.monotonic_ns()
        self._counts[slot] = connections

    def silence_s(self, slot: int) -> float:
        """How long ago this worker noted anything; 0 if it takes no connections."""
        if self._counts[slot] == _NOBODY:
            return 0.0
        return (time.monotonic_ns() - self._times_ns[slot]) / 1e9

    def forget(self, slot: int) -> None:
        """This worker takes no connections."""
        self._counts[slot] = _NOBODY

    def fewest_of_others(self, slot: int) -> int | None:
        """None: nobody else takes any."""
        others = [
            count for other, count in enumerate(self._counts) if other != slot and count != _NOBODY
        ]
        return min(others, default=None)


class Acceptor:
    """Takes connections from a socket that others take them from, too.

    Args:
        listener: the socket, which doesn't block.
        counts: of all workers.
        slot: our own in it.
        connections: how many there are, without those that are about to be closed.
        protocol: makes what serves a connection.
    """

    def __init__(
        self,
        listener: socket.socket,
        counts: Counts,
        slot: int,
        connections: Callable[[], int],
        protocol: Callable[[], asyncio.Protocol],
    ) -> None:
        self._listener = listener
        self._counts = counts
        self._slot = slot
        self._connections = connections
        self._protocol = protocol
        self.loop = asyncio.get_running_loop()
        self._opening = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._pause: asyncio.TimerHandle | None = None
        self._is_open = False

    def open(self) -> None:
        if self._listener.fileno() < 0:  # closed meanwhile
            return
        self._is_open = True
        self.note()
        self._wait()

    def close(self) -> None:
        """Take no more; the listener is its owner's to close."""
        if self._is_open:
            self._is_open = False
            self._counts.forget(self._slot)
            if self._pause:
                self._pause.cancel()
            self.loop.remove_reader(self._listener.fileno())

    def note(self) -> int:
        """Tell the others how many connections we have."""
        own = self._connections() + self._opening
        if self._is_open:
            self._counts.note(self._slot, own)
        return own

    def surplus(self) -> int:
        """How many connections another worker should have instead of us; tells how many we have."""
        own = self.note()
        fewest = self._counts.fewest_of_others(self._slot)
        return 0 if fewest is None or not self._is_open else max(0, (own - fewest) // 2)

    def _wait(self) -> None:
        self._pause = None
        self.loop.add_reader(self._listener.fileno(), self._come)

    def _come(self, seen: int = _NOBODY) -> None:
        """Take a connection, or let the others go first.

        Args:
            seen: the fewest that one of the others had before it was let go first.
        """
        fewest = self._counts.fewest_of_others(self._slot)
        if fewest in (None, seen) or self.note() <= fewest:
            self._take()
        else:
            self._rest(PATIENCE_S, partial(self._come_again, fewest))

    def _come_again(self, seen: int) -> None:
        self._wait()
        self._come(seen)

    def _take(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return  # another one has it, or its client is gone
        except OSError:
            log.exception("can't accept connections")
            self._rest(_PAUSE_S, self._wait)
            return
        self._opening += 1
        task = self.loop.create_task(self._serve(connection))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.note()

    async def _serve(self, connection: socket.socket) -> None:
        try:
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self.loop.connect_accepted_socket(self._protocol, connection)
        except OSError:  # the client has left again
            connection.close()
        finally:
            self._opening -= 1

    def _rest(self, seconds: float, then: Callable[[], None]) -> None:
        self.loop.remove_reader(self._listener.fileno())
        self._pause = self.loop.call_later(seconds, then)
