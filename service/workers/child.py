"""One worker of several: `python -m service.workers.child FD`, as the supervisor starts it.

FD is a socket to the supervisor. It ends with the supervisor's process, and so does the worker.
"""

import contextlib
import logging
import os
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI

from model.errors import ModelError
from service import logs
from service.app import create_app
from service.errors import ConfigurationError, ServiceError
from service.lifecycle import Service
from service.serving import Server, server_config
from service.settings import Settings
from service.workers.connections import Acceptor, Counts
from service.workers.member import Assignment, Begin, Failed, Member, Ready
from service.workers.supervisor import GRACE_S

log = logging.getLogger(__name__)

Create = Callable[[Settings, Member], FastAPI]


def main(create: Create = lambda settings, member: create_app(settings, member=member)) -> None:
    """Do what the supervisor says, until it says no more."""
    channel = Connection(int(sys.argv[-1]))
    os.set_inheritable(channel.fileno(), False)
    try:
        assignment: Assignment = channel.recv()
    except EOFError:  # the supervisor is gone already
        return
    _work(channel, assignment, create)


def _work(channel: Connection, assignment: Assignment, create: Create) -> None:
    member, settings = assignment.member, assignment.settings
    _name_in_logs(member.slot)
    logs.set_up(settings.log_level, settings.log_format)
    member.share.take()
    # Reserved; one that comes before the service answers to it must not end it.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    line = _Line(channel, member.folder, settings.drain_s + GRACE_S)
    threading.Thread(target=line.hear, name="supervisor", daemon=True).start()
    try:
        app = create(settings, member)
        server = _MemberServer(server_config(app, settings), app.state.service, assignment, line)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, server.handle_exit)
        server.run()
        if server.failed:
            raise ConfigurationError("the service could not start; the log says why")
    except (ServiceError, ModelError, OSError) as error:
        line.say(Failed(str(error)))
        raise SystemExit(1) from None


def _name_in_logs(slot: int) -> None:
    """Put the worker's number into every line."""
    make = logging.getLogRecordFactory()

    def named(*arguments: Any, **fields: Any) -> logging.LogRecord:
        record = make(*arguments, **fields)
        record.worker = slot
        return record

    logging.setLogRecordFactory(named)


class _Line:
    """To the supervisor.

    Args:
        folder: what the supervisor would remove.
        limit_s: for the process to end after the supervisor did.
    """

    def __init__(self, channel: Connection, folder: Path, limit_s: float) -> None:
        self._channel = channel
        self._folder = folder
        self._limit_s = limit_s
        self.begin: Callable[[], object] = lambda: None

    def say(self, what: Ready | Failed) -> None:
        with contextlib.suppress(OSError):  # `hear` finds out
            self._channel.send(what)

    def hear(self) -> None:
        """Runs in a thread of its own: it must be heard whatever the others do."""
        with contextlib.suppress(EOFError, OSError):
            while True:
                if isinstance(self._channel.recv(), Begin):
                    self.begin()
        log.error("the supervisor is gone")
        shutil.rmtree(self._folder, ignore_errors=True)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(self._limit_s)
        os._exit(1)


class _MemberServer(Server):
    """Shares its connections, its counts and its readings with the other workers."""

    def __init__(
        self, config: uvicorn.Config, service: Service, assignment: Assignment, line: _Line
    ) -> None:
        super().__init__(config, service)
        member = assignment.member
        self._limit_s = assignment.settings.drain_s + GRACE_S
        self._line = line
        self._listener = socket.socket(fileno=assignment.listener)
        self._listener.set_inheritable(False)
        self._slot = member.slot
        self._counts = Counts(member.folder)
        self._acceptor: Acceptor | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002
        await super().startup([])

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        # SIGALRM ends the process if nothing has until then: a batch may hang, and who takes no
        # connections any more is not seen to stand still.
        signal.setitimer(signal.ITIMER_REAL, self._limit_s)

    def announce(self) -> None:
        acceptor = self._acceptor = Acceptor(
            self._listener, self._counts, self._slot, self._connections, self._protocol
        )
        self._line.begin = lambda: acceptor.loop.call_soon_threadsafe(acceptor.open)
        self._line.say(Ready(self._service.generation.bundle.name, asdict(self._service.plan)))

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second."""
        if self._acceptor:
            self._service.metrics.show()
            self._give_away(self._acceptor.surplus())
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._acceptor:
            self._acceptor.close()
        self._listener.close()
        await super().shutdown(sockets)

    def _protocol(self) -> Any:
        return self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
        )

    def _connections(self) -> int:
        return sum(not _is_leaving(one) for one in self.server_state.connections)

    def _give_away(self, surplus: int) -> None:
        """Tell so many clients to connect anew, each with the answer that it waits for.

        Connections last; after a worker was replaced, the others would keep all of them.
        """
        busy = (one for one in self.server_state.connections if _is_busy(one))
        for connection, _ in zip(list(busy), range(surplus), strict=False):
            connection.shutdown()


def _is_busy(connection: Any) -> bool:
    """Is a request on it, after whose answer it would stay?"""
    cycle = getattr(connection, "cycle", None)  # a web socket has none
    return cycle is not None and not cycle.response_complete and cycle.keep_alive


def _is_leaving(connection: Any) -> bool:
    """Will it be closed after its answer?"""
    cycle = getattr(connection, "cycle", None)
    return cycle is not None and not cycle.keep_alive


if __name__ == "__main__":
    main()
